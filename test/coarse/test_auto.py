"""``model: auto``: the order is the entries' own, and what is taken is here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from depth_retrofit_ros import loading
from depth_retrofit_ros.coarse.auto import choose, order
from depth_retrofit_ros.coarse.catalogue import BUILT_IN
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.info import ModelInfo
from depth_retrofit_ros.coarse.input_size import long_side
from depth_retrofit_ros.coarse.registry import choose_auto, find_model, how_to_use, load_coarse
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.io.checkpoints import SEARCH_PATH_VARIABLE
from test.coarse.plugin_package import forget_plugins, use_plugins, write_plugin

ANY_CAMERA, RELATIVE = ScaleClaim("metric", "camera"), ScaleClaim("disparity", "never")


def entry(name: str, rank: int | None, claim: ScaleClaim = ANY_CAMERA, for_cpu: bool = False, parameters: int = 1) -> ModelInfo:
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
        for_cpu=for_cpu,
    )


LARGE, SMALL = entry("large", 1, parameters=9), entry("small", 3, parameters=5)
RELATIVE_SMALL = entry("relative-small", 4, RELATIVE, for_cpu=True)
BOTTOM = replace(entry("bottom", 9, ScaleClaim("metric", "domain", "rooms"), for_cpu=True), bundled=True)
OTHERS = (entry("not-ranked", None), replace(entry("not-for-products", 0), commercial=False))
ALL = (BOTTOM, RELATIVE_SMALL, *OTHERS, SMALL, LARGE)


def test_the_rank_is_the_order_and_a_cpu_takes_what_is_made_for_it() -> None:
    """However many parameters another has."""
    assert [info.name for info in order(ALL, "cuda")] == ["large", "small", "relative-small", "bottom"]
    assert [info.name for info in order(ALL, "cpu")] == ["relative-small", "bottom"]
    first = replace(RELATIVE_SMALL, auto_rank=0)
    assert order((LARGE, first), "cuda") == [first, LARGE], "of a package that knows better"


def test_the_first_that_is_here_is_taken_and_the_best_is_named() -> None:
    choice = choose(ALL, "cuda", lambda info: info.name in ("relative-small", "bottom", "not-for-products"))
    assert choice.taken is RELATIVE_SMALL and choice.better == (LARGE, SMALL)
    assert choice.line(how_to_use) == (
        "model auto: taking relative-small; better here: large (metric for any camera with a known focal length): get large"
    )


def test_with_nothing_else_here_it_is_the_bundled_one_and_says_so() -> None:
    line = choose(ALL, "cuda", lambda info: info.bundled).line(how_to_use)
    assert line.startswith("model auto: taking bottom, as no other is here; better here: large (")


def test_the_best_of_all_asks_for_nothing() -> None:
    assert choose(ALL, "cuda", lambda info: True).line(how_to_use) == "model auto: taking large, the best there is for cuda"


def test_on_a_cpu_what_is_better_and_slower_is_named_and_not_taken() -> None:
    """The smallest of those that are metric for any camera: it must be named to be run."""
    line = choose(ALL, "cpu", lambda info: True).line(lambda info: "")
    assert line == (
        "model auto: taking relative-small, the best there is for cpu; better, but seconds per image: small (metric for any camera "
        "with a known focal length): set model to small"
    )
    assert choose(ALL, "cpu", lambda info: True).line(how_to_use).endswith(": get small, and set model to small")


def test_what_cannot_serve_is_passed_over_and_named() -> None:
    """A model that came with its files must not break what ran without."""
    choice = choose(ALL, "cuda", lambda info: True, lambda info: "no trust" if info.claim.inverse or info is LARGE else None)
    assert choice.taken is SMALL and choice.line(how_to_use) == "model auto: taking small; not large: no trust"
    choice = choose(ALL, "cpu", lambda info: True, lambda info: "no trust" if info.claim.inverse or info is SMALL else None)
    assert choice.taken is BOTTOM and choice.slower is LARGE
    with pytest.raises(
        ModelError, match=r"model auto has none here for these settings: name a model, or change them \(bottom: one view"
    ):
        choose(ALL, "cuda", lambda info: True, lambda info: "one view")


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
    assert [info.claim.word == "camera" for info in ordered] == sorted(
        (info.claim.word == "camera" for info in ordered), reverse=True
    )
    assert device == "cuda" or [info.name for info in ordered] == ["compact"]
    assert not [info.name for info in ordered[:-1] if info.claim.needs_trust], "nobody knows that the scene is like theirs"
    assert not [info.name for info in ordered if info.uses & {"sparse depth", "several views"}], "an image is all there is"


def test_the_library_takes_it_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert load_coarse("auto", weights=None, device="cpu").name == "compact"
    (line,) = [line for line in caplog.messages if line.startswith("model auto: ")]
    assert line == choose_auto("cpu").line(how_to_use)
    assert line.startswith(
        "model auto: taking compact, the best there is for cpu; better, but seconds per image: moge-2-small (metric"
    )
    assert line.endswith(": depth-retrofit models fetch moge-2-small, and set model to moge-2-small")


def test_a_checkpoint_is_one_models() -> None:
    with pytest.raises(ModelError, match="weights x are of one model, and model is auto: name it"):
        load_coarse("auto", weights=Path("x"), device="cpu")


SOURCE = """
def hub(name, content):
    import hashlib
    return HubModel("acme/" + name, 40 * "0", hashlib.sha256(content).hexdigest(), ("config.json", name + ".pt"))

MODELS = [
    entry("first", auto_rank=1, for_cpu=True, files=("first.pt",), hub=hub("first", b"first")),
    entry("second", auto_rank=2, for_cpu=True, files=("second.pt",), hub=hub("second", b"second"), uses=frozenset({"the past"})),
    entry("third", auto_rank=3, for_cpu=True, files=("third.pt",), hub=hub("third", b"third"),
          claim=ScaleClaim("disparity", "never")),
    entry("fourth", auto_rank=4, for_cpu=True, files=("fourth.pt",), hub=hub("fourth", b"fourth")),
]
"""


@pytest.fixture
def four(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Models that are here, in the folder of the search path."""
    use_plugins(monkeypatch, write_plugin(tmp_path / "plugin", "four", SOURCE, "four = four:MODELS"))
    monkeypatch.delitem(sys.modules, "four", raising=False)
    for name in ("first", "second", "third", "fourth"):
        (tmp_path / f"{name}.pt").write_bytes(name.encode())
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, str(tmp_path))
    yield tmp_path
    sys.modules.pop("four", None)
    forget_plugins()


def test_a_file_that_is_corrupt_is_told_and_the_next_is_taken(four: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert choose_auto("cpu").taken.name == "first"
    (four / "first.pt").write_bytes(b"PK half a file")
    choice = choose_auto("cpu")
    assert choice.taken.name == "second" and [info.name for info in choice.better] == ["first"]
    (line,) = caplog.messages
    assert line.startswith("model auto: passing first over: checkpoint ") and "is corrupt or not a checkpoint" in line


def test_weights_of_the_users_own_are_taken(four: Path) -> None:
    torch.save({"w": torch.ones(3)}, four / "first.pt")
    assert choose_auto("cpu").taken.name == "first"


@pytest.mark.parametrize(
    ("settings", "taken"),
    [
        ({}, "first"),
        ({"suits": lambda info: None if info.claim.inverse else "align"}, "third"),
        ({"trust_scale": True, "suits": lambda info: None if info.name != "first" else "no"}, "second"),
    ],
)
def test_a_method_takes_what_its_settings_allow(four: Path, settings: dict[str, Any], taken: str, monkeypatch: Any) -> None:
    asked: list[str] = []

    def load_coarse(name: str, **_: object) -> None:
        asked.append(name)
        raise ModelError("enough")

    monkeypatch.setattr(loading, "load_coarse", load_coarse)
    with pytest.raises(ModelError, match="enough"):
        loading.load("auto", device="cpu", **settings)
    assert asked == [taken]


def test_a_window_of_views_has_no_model_that_is_chosen_by_itself(four: Path) -> None:
    with pytest.raises(ModelError, match=r"model auto has none here for these settings: .* sees one image at a time"):
        loading.load("auto", device="cpu", views=3)


def test_graphs_and_trust_are_reasons(four: Path) -> None:
    why = {
        name: loading.refused_settings(find_model(name), trust_scale=True, cuda_graphs=True)
        for name in ("first", "second", "third")
    }
    assert why["first"] is None
    assert why["second"] == "cuda_graphs cannot replay second, which uses the past: leave it off"
    assert why["third"] is not None and "leave trust_scale out" in why["third"]
