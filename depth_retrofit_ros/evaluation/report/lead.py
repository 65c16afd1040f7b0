"""What the page of a run begins with: one sentence of what refinement gained, and pictures of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

from depth_retrofit_ros.evaluation.report.results import Entry
from depth_retrofit_ros.evaluation.report.zoomable import embedded

STYLE = """
.lead { font-size: 20px; line-height: 1.4; margin: .4em 0 } .lead + p { color: #555; margin-top: 0 }
video, img.moving { display: block; width: 100%; max-width: 960px; height: auto }
"""


@dataclass(frozen=True, slots=True)
class Lead:
    """sentence: what was gained; remark: what was not; caption: of the moving picture. video: an MP4, None where none could be
    written; animation: the same as an animated WebP; comparison: a still picture, and its caption."""

    sentence: str
    remark: str
    caption: str
    video: Path | None
    animation: Path
    comparison: Path
    comparison_caption: str

    def html(self) -> str:
        """A fragment without references to anything outside of it."""
        told = f'<p class="lead">{escape(self.sentence)}</p><p>{escape(self.remark)}</p>'
        if self.video is not None:
            source = f'<source src="{embedded("video/mp4", self.video.read_bytes())}" type="video/mp4">'
            moving = f"<video autoplay loop muted playsinline controls>{source}</video>"
        else:
            animation = embedded("image/webp", self.animation.read_bytes())
            moving = f'<img class="moving" alt="{escape(self.caption, quote=True)}" src="{animation}">'
        comparison = embedded("image/png", self.comparison.read_bytes())
        still = f'<img alt="{escape(self.comparison_caption, quote=True)}" src="{comparison}">'
        return (
            f"{told}<p>{moving}{escape(self.caption)}</p><h2>Where refinement matters most</h2>"
            f"<p>{still}{escape(self.comparison_caption)}</p>"
        )

    def markdown(self, folder: Path) -> list[str]:
        """Lines; pictures by their path in the folder."""
        shown = {self.animation: self.caption, self.comparison: self.comparison_caption}
        return [
            f"**{self.sentence}**",
            "",
            self.remark,
            "",
            *(f"![{text}]({path.relative_to(folder).as_posix()})\n" for path, text in shown.items()),
        ]


def gain_sentence(accuracy: Entry) -> str:
    """What became of the coarse depth, stretched, at the edges; accuracy: as of ``SequenceEvaluator``."""
    before, after = (accuracy["methods"][name] for name in ("bilinear", "refined"))
    parts = [
        _change("the boundary F1", before["boundary_f1"], after["boundary_f1"]),
        _change("the error (AbsRel)", before["edge_abs_rel"], after["edge_abs_rel"], as_share=True),
    ]
    told = " and ".join(part for part in parts if part)
    if not told:
        return "The reference shows no edge of depth in the evaluated frames, so that nothing can be said of them."
    frames = accuracy["evaluated"]
    return f"At the edges of depth, refinement {told}: the mean of {frames} answered frame{'s' * (frames != 1)}."


def gain_remark(accuracy: Entry) -> str:
    """What refinement did elsewhere, and where to expect how much."""
    before, after = (accuracy["methods"][name]["flat_abs_rel"] for name in ("bilinear", "refined"))
    elsewhere = "" if before is None or after is None else f"Elsewhere AbsRel is {before:.3f} before and {after:.3f} after it: "
    told = (
        "refinement puts edges where they are and gives back thin things; a surface that the coarse model puts at a wrong distance "
        "stays there. On photographs it gains as much as the coarse model sees: with one as small as compact, real frames stay "
        "nearly as they are (docs/evaluation.md)."
    )
    return elsewhere + (told if elsewhere else told[0].upper() + told[1:])


def _change(name: str, before: float | None, after: float | None, as_share: bool = False) -> str:
    """In words; empty where one of the two is not known."""
    if before is None or after is None:
        return ""
    old, new = f"{before:.3f}", f"{after:.3f}"
    if old == new:
        return f"leaves {name} at {old}"
    share = f" ({100 * (after - before) / before:+.1f}\N{NO-BREAK SPACE}%)".replace("-", "−") if as_share and before else ""
    return f"{'raises' if after > before else 'lowers'} {name} from {old} to {new}{share}"


def lead_files(lead: Lead, folder: Path) -> Mapping[str, str]:
    """The files of a lead that are no other pictures of the run, and what they hold."""
    files = {lead.animation.relative_to(folder).as_posix(): "the moving picture as an animated WebP, for where no video plays"}
    if lead.video is not None:
        files = {lead.video.relative_to(folder).as_posix(): f"the moving picture: {lead.caption}"} | files
    return files
