"""PatchRefiner V2 at the paper's sizes.

Their encoders are timm's, which imports torchvision, whose layers none of them has: where that is missing, stand-ins serve while
timm is imported.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import json
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.io.checkpoints import save_tensors
from depth_retrofit_ros.refinement.base import LARGEST_CHANGE
from depth_retrofit_ros.refinement.kinds import KIND
from depth_retrofit_ros.refinement.prv2.fusion_net import GuidedDenoisingUnit, TwoWayFusion
from depth_retrofit_ros.refinement.prv2.network import PatchRefinerV2
from depth_retrofit_ros.refinement.prv2.sizes import SIZES
from depth_retrofit_ros.refinement.prv2.timm_net import TimmEncoder
from depth_retrofit_ros.refinement.registry import load_refiner
from test.refinement.tiles.test_refiner import given

CPU = torch.device("cpu")
FULL = [name for name, size in SIZES.items() if size.encoder]
UNUSED_M = 1.865  # of the published code, which makes two Guided Denoising Units for skips that do not exist


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """torchvision's modules, whose names are empty layers."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname.partition(".")[0] == "torchvision" else None

    def exec_module(self, module: ModuleType) -> None:
        def stand_in(name: str) -> Any:
            if name.startswith("__") or name == "InterpolationMode":  # which timm does without
                raise AttributeError(name)
            return type(name, (nn.Module,), {})

        module.__getattr__ = stand_in  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def timm() -> None:
    """Imported; the tests that ask for it are skipped where it is missing."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed: pip install 'depth_retrofit_ros[prv2-full]'")
    if "timm" in sys.modules or importlib.util.find_spec("torchvision") is not None:
        return
    finder = StandIns()
    sys.meta_path.append(finder)
    try:
        importlib.import_module("timm")
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]


def millions(*modules: nn.Module) -> float:
    return sum(parameter.numel() for module in modules for parameter in module.parameters()) / 1e6


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize("name", FULL)
def test_its_parameters_are_those_of_the_paper(name: str) -> None:
    """With the units that the published code makes and never uses, which ours leaves out."""
    with torch.device("meta"):
        network = PatchRefinerV2({}, size=name)
    ours = millions(network.encoder, network.fusion)
    assert ours + UNUSED_M == pytest.approx(SIZES[name].published, rel=0.002)


def test_the_unused_units_are_that_large() -> None:
    widths = SIZES["v2-m"].widths
    with torch.device("meta"):
        assert millions(GuidedDenoisingUnit(widths.path), GuidedDenoisingUnit(widths.coarse[0])) == pytest.approx(
            UNUSED_M, abs=1e-3
        )


def test_the_fusion_alone_has_as_many_parameters() -> None:
    with torch.device("meta"):
        found = [round(millions(TwoWayFusion(SIZES[name].widths)), 2) for name in FULL]
    assert found == [43.83, 42.98, 47.95]


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize("name", FULL)
def test_its_encoder_gives_five_maps_and_begins_without_the_depth(name: str) -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        shapes = [tuple(level.shape[1:]) for level in PatchRefinerV2({}, size=name).encoder(torch.zeros(1, 4, 96, 96))]
    assert shapes == [(width, 96 >> i + 1, 96 >> i + 1) for i, width in enumerate(SIZES[name].widths.fine)]


@pytest.mark.usefixtures("timm")
def test_colors_enter_as_the_encoder_was_trained_and_depth_begins_without_weight() -> None:
    torch.manual_seed(0)
    encoder = PatchRefinerV2({}, size="v2-m").eval().encoder
    seen = list[torch.Tensor]()
    assert isinstance(encoder, TimmEncoder)
    encoder.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = torch.randn(1, 4, 64, 64)
    with torch.no_grad():
        one, two = encoder(x), encoder(torch.cat((x[:, :3], -x[:, 3:]), 1))
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    torch.testing.assert_close(seen[0][:, :3], ((x[:, :3] * 64 + 127.5) / 255 - mean) / deviation)
    assert torch.equal(seen[0][:, 3:], x[:, 3:])
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.usefixtures("timm")
def test_a_full_one_is_stored_loaded_by_its_path_and_refines_a_frame(tmp_path: Path) -> None:
    torch.manual_seed(0)
    arguments: dict[str, Any] = {"channels": {"compact": 16}, "guided": True, "size": "v2-m"}
    network = PatchRefinerV2(**arguments)
    nn.init.normal_(network.fusion.f2c.offset.weight, std=1e-3)
    path = tmp_path / "full.safetensors"
    save_tensors(path, network.state_dict(), {KIND: "prv2", "network": json.dumps(arguments)})
    refiner, frame = load_refiner(path, CPU), given((100, 420))
    with torch.no_grad():
        fused = refiner.fuse(refiner.refine(frame))
    ratio = (fused.depth / frame.depth.flatten()[frame.pixels.indices]).log()
    assert refiner.name == "prv2" and torch.isfinite(fused.depth).all()
    assert 1e-6 < float(ratio.abs().max()) <= LARGEST_CHANGE + 1e-5


def test_without_timm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r"mobilenetv4.* needs timm .*: pip install 'depth_retrofit_ros\[prv2-full\]'"):
        PatchRefinerV2({}, size="v2-m")
