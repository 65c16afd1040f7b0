"""What the page begins with: the measured figures in words, and its pictures in the page itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from depth_retrofit_ros.evaluation.report.lead import Lead, gain_remark, gain_sentence


def accuracy(before: dict[str, float | None], after: dict[str, float | None], evaluated: int = 4) -> dict[str, Any]:
    return {"evaluated": evaluated, "methods": {"bilinear": before, "refined": after}}


def figures(f1: float | None, edge: float | None, flat: float | None) -> dict[str, float | None]:
    return {"boundary_f1": f1, "edge_abs_rel": edge, "flat_abs_rel": flat}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            (0.0, 0.2, 0.15),
            (0.1559, 0.15, 0.149),
            "raises the boundary F1 from 0.000 to 0.156 and lowers the error (AbsRel) from 0.200 to 0.150 (−25.0␣%)",
        ),
        (
            (0.3, 0.2, 0.1),
            (0.3, 0.21, 0.1),
            "leaves the boundary F1 at 0.300 and raises the error (AbsRel) from 0.200 to 0.210 (+5.0␣%)",
        ),
        ((None, 0.2, 0.1), (0.3, 0.1, 0.1), "refinement lowers the error (AbsRel) from 0.200 to 0.100 (−50.0␣%):"),
    ],
)
def test_the_sentence_says_what_was_measured(before: tuple[Any, ...], after: tuple[Any, ...], told: str) -> None:
    sentence = gain_sentence(accuracy(figures(*before), figures(*after)))
    assert told.replace("␣", "\N{NO-BREAK SPACE}") in sentence and sentence.endswith("the mean of 4 answered frames.")


def test_without_an_edge_nothing_is_claimed() -> None:
    nothing = figures(None, None, None)
    assert "no edge" in gain_sentence(accuracy(nothing, nothing))
    assert gain_remark(accuracy(nothing, nothing)).startswith("Refinement puts")


def test_the_remark_says_what_became_of_the_rest() -> None:
    remark = gain_remark(accuracy(figures(0, 0, 0.1539), figures(0, 0, 0.153)))
    assert remark.startswith("Elsewhere AbsRel is 0.154 before and 0.153 after it: refinement")


@pytest.mark.parametrize("has_video", [True, False])
def test_the_page_needs_nothing_beside_it(tmp_path: Path, has_video: bool) -> None:
    for name in ("a.mp4", "a.webp", "a.png"):
        (tmp_path / name).write_bytes(name.encode())
    video = tmp_path / "a.mp4" if has_video else None
    lead = Lead("<gain>", "rest", "moving", video, tmp_path / "a.webp", tmp_path / "a.png", "still")
    page = lead.html()
    assert "&lt;gain&gt;" in page and str(tmp_path) not in page
    assert ("<video autoplay loop muted playsinline" in page) == has_video
    assert ("data:video/mp4;base64,YS5tcDQ=" in page) == has_video and ("data:image/webp;base64,YS53ZWJw" in page) != has_video
    assert "data:image/png;base64,YS5wbmc=" in page
    assert lead.markdown(tmp_path) == ["**<gain>**", "", "rest", "", "![moving](a.webp)\n", "![still](a.png)\n"]
