"""``model: auto``: the order is the entries' own, and what is taken is here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from depth_retrofit_ros.coarse.auto import CPU_PARAMETERS, choose, order
from depth_retrofit_ros.coarse.catalogue import BUILT_IN
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.info import ModelInfo
from depth_retrofit_ros.coarse.input_size import long_side
from depth_retrofit_ros.coarse.registry import choose_auto, how_to_use, load_coarse
from depth_retrofit_ros.errors import ModelError

ANY_CAMERA, RELATIVE = ScaleClaim("metric", "camera"), ScaleClaim("disparity", "never")


def entry(name: str, rank: int | None, claim: ScaleClaim = ANY_CAMERA, parameters: int = 30_000_000) -> ModelInfo:
    return ModelInfo(
        name=name,
        loader="nowhere:load",
        license="MIT",
        parameters=parameters,
        size_mb=1.0,
        claim=claim,
        description="",
        how_to_get=f"get {name}",
        files=("of_a_test.pt",),
        input=long_side(256, 16),
        auto_rank=rank,
    )


LARGE = entry("large", 1, parameters=CPU_PARAMETERS + 1)
SMALL = entry("small", 3)
RELATIVE_SMALL = entry("relative-small", 2, RELATIVE)
BOTTOM = replace(entry("bottom", 9, ScaleClaim("metric", "domain", "rooms")), bundled=True)
OTHERS = (entry("not-ranked", None), replace(entry("not-for-products", 0), commercial=False))
ALL = (BOTTOM, RELATIVE_SMALL, *OTHERS, SMALL, LARGE)


def test_metres_for_any_camera_come_first_and_a_cpu_takes_small_ones() -> None:
    assert [info.name for info in order(ALL, "cuda")] == ["large", "small", "relative-small", "bottom"]
    assert [info.name for info in order(ALL, "cpu")] == ["small", "relative-small", "bottom"]


def test_the_first_that_is_here_is_taken_and_the_best_is_named() -> None:
    choice = choose(ALL, "cuda", lambda info: info.name in ("relative-small", "bottom", "not-for-products"))
    assert choice.taken is RELATIVE_SMALL and choice.better == (LARGE, SMALL)
    assert choice.line(how_to_use) == (
        "model auto: taking relative-small; better here: large (metric for any camera with a known focal length): get large"
    )


def test_with_nothing_else_here_it_is_the_bundled_one_and_says_so() -> None:
    line = choose(ALL, "cpu", lambda info: info.bundled).line(how_to_use)
    assert line.startswith("model auto: taking bottom, as no other is here; better here: small (")


def test_the_best_of_all_asks_for_nothing() -> None:
    assert choose(ALL, "cuda", lambda info: True).line(how_to_use) == "model auto: taking large, the best there is for cuda"


def test_software_that_is_missing_is_part_of_what_to_do() -> None:
    needing = replace(SMALL, needs=("a_module_that_is_not_there", "torch"))
    assert how_to_use(needing) == "get small; and pip install a_module_that_is_not_there"
    assert how_to_use(replace(needing, files=())) == "pip install a_module_that_is_not_there"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_our_own_order_ends_with_what_is_bundled_and_has_no_ties(device: str) -> None:
    ordered = order(BUILT_IN.values(), device)
    assert ordered[-1].bundled and all(info.commercial for info in ordered)
    ranks = [info.auto_rank for info in BUILT_IN.values() if info.auto_rank is not None]
    assert len(set(ranks)) == len(ranks)
    assert not [info.name for info in ordered[:-1] if info.claim.needs_trust], "nobody knows that the scene is like theirs"
    assert not [info.name for info in ordered if info.uses & {"sparse depth", "several views"}], "an image is all there is"


def test_the_library_takes_it_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert load_coarse("auto", weights=None, device="cpu").name == "compact"
    (line,) = [line for line in caplog.messages if line.startswith("model auto: ")]
    assert line == choose_auto("cpu").line(how_to_use) and "taking compact, as no other is here; better here: " in line
    assert "depth-retrofit models fetch " in line


def test_a_checkpoint_is_one_models() -> None:
    with pytest.raises(ModelError, match="weights x are of one model, and model is auto: name it"):
        load_coarse("auto", weights=Path("x"), device="cpu")
