"""The published URGT against samples of what the published code answers with the same weights, and its checkpoint's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.networks.dinov2 import VitSize
from depth_retrofit_ros.coarse.networks.vggt.model import VggtSize
from depth_retrofit_ros.errors import WeightsError
from depth_retrofit_ros.io.checkpoints import save_tensors
from depth_retrofit_ros.refinement.base import LARGEST_CHANGE, RefinerInput
from depth_retrofit_ros.refinement.registry import load_refiner, resolved
from depth_retrofit_ros.refinement.tiles.refiner import TileRefiner
from depth_retrofit_ros.refinement.urgt import published_net
from depth_retrofit_ros.refinement.urgt.published_net import PublishedUrgt, load_published
from test.coarse.networks.parity import fill, mismatches, random_input, read_fixture, signature
from test.refinement.tiles.test_refiner import ALL, given

CPU, SIDE = torch.device("cpu"), 56
TINY = VggtSize(
    VitSize(32, 2, 2), layers=4, heads=4, taken=(0, 1, 2, 3), stages=(8, 12, 16, 16), head_width=16, pretrained_size=SIDE
)
GRIDS = (1, 2, 3)  # tiles along each side of what they cover


def inputs(tiles: int) -> tuple[Tensor, Tensor, Tensor]:
    """Colors and depth in 0…1, and normals, of that many tiles."""
    colors, depth = random_input("colors", (tiles, 3, SIDE, SIDE)), random_input("depth", (tiles, 1, SIDE, SIDE))
    return colors, depth, torch.nn.functional.normalize(random_input("normals", (tiles, 3, SIDE, SIDE)) - 0.5, dim=1)


def side_by_side(along: int) -> Tensor:
    """Origins of ``along x along`` tiles that do not overlap, row by row: where the published code takes all tiles to be."""
    places = torch.arange(along) * SIDE
    return torch.stack(torch.meshgrid(places, places, indexing="ij"), 2).view(-1, 2)


def answers(network: PublishedUrgt, along: int) -> dict[str, Tensor]:
    with torch.no_grad():
        depth, normals = network.offsets(*inputs(along**2), side_by_side(along))
    return {"depth": depth, "normals": normals}


@pytest.fixture(scope="module")
def tiny() -> PublishedUrgt:
    network = PublishedUrgt(TINY).eval()
    fill(network)
    return network


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, tiny: PublishedUrgt) -> dict[str, Tensor]:
    """The weights of a checkpoint as published, but small."""
    monkeypatch.setattr(published_net, "SIZE", TINY)
    return {name: tensor.clone() for name, tensor in tiny.state_dict().items()}


@pytest.mark.parametrize("along", GRIDS)
def test_it_answers_as_the_published_code(tiny: PublishedUrgt, along: int) -> None:
    assert mismatches(answers(tiny, along), read_fixture("urgt")["cases"][f"{along}x{along}"]) == []


def test_it_has_the_names_and_shapes_of_the_published_network() -> None:
    with torch.device("meta"):
        network = PublishedUrgt()
    assert signature(network) == read_fixture("urgt")["full"]
    assert network.side == 518


def test_the_order_of_the_tiles_does_not_matter(tiny: PublishedUrgt) -> None:
    (colors, depth, normals), origins = inputs(5), torch.tensor([[0, 0], [0, 40], [30, 10], [56, 56], [31, 77]])
    order = torch.tensor([3, 1, 4, 0, 2])
    with torch.no_grad():
        plain = tiny.offsets(colors, depth, normals, origins)
        permuted = tiny.offsets(colors[order], depth[order], normals[order], origins[order])
    for one, other in zip(plain, permuted, strict=True):
        torch.testing.assert_close(one[order], other, rtol=0, atol=1e-5)


def test_where_a_tile_lies_matters_beside_another_and_not_alone(tiny: PublishedUrgt) -> None:
    colors, depth, normals = inputs(2)
    with torch.no_grad():
        near, far = (tiny.offsets(colors, depth, normals, torch.tensor([[0, 0], [0, x]]))[0] for x in (28, 280))
        alone, moved = (tiny.offsets(colors[:1], depth[:1], normals[:1], torch.tensor([[y, 0]]))[0] for y in (0, 280))
    assert float((near - far).abs().max()) > 1e-2
    assert alone.shape == moved.shape == (1, SIDE, SIDE)
    assert float((alone - moved).abs().max()) > 0  # but for the special tokens, whose position is fixed, only distances matter


def test_untrained_it_leaves_depth_and_normals_as_they_are() -> None:
    torch.manual_seed(0)
    refiner = TileRefiner(PublishedUrgt(TINY).eval(), CPU)
    frame = with_camera(ALL)
    with torch.no_grad():
        fused = refiner.fuse(refiner.refine(frame))
    torch.testing.assert_close(fused.depth, frame.depth.flatten()[frame.pixels.indices], rtol=1e-4, atol=0)
    assert fused.normals is not None
    torch.testing.assert_close(fused.normals.norm(dim=0), torch.ones(frame.pixels.count))


@pytest.mark.parametrize("form", ["pth", "plain", "safetensors", "wrapped"])
def test_a_published_checkpoint_is_told_by_its_names_and_refines_a_frame(
    tmp_path: Path, published: dict[str, Tensor], tiny: PublishedUrgt, form: str
) -> None:
    path = write(tmp_path, published, form)
    assert resolved(path) == ("urgt", path)
    refiner = load_refiner(path, CPU)
    frame = with_camera()
    with torch.no_grad():
        fused, expected = (one.fuse(one.refine(frame)) for one in (refiner, TileRefiner(tiny, CPU)))
    assert refiner.name == "urgt" and fused.normals is not None
    assert torch.equal(fused.depth, expected.depth) and torch.isfinite(fused.depth).all()
    ratio = (fused.depth / frame.depth.flatten()[frame.pixels.indices]).log()
    assert 0 < float(ratio.abs().max()) <= LARGEST_CHANGE + 1e-5


def test_scale_goes_straight_through(tiny: PublishedUrgt) -> None:
    refiner = TileRefiner(tiny, CPU)
    with torch.no_grad():
        plain, scaled = (refiner.fuse(refiner.refine(given((90, 120), factor=factor))) for factor in (1.0, 37.0))
    torch.testing.assert_close(scaled.depth, 37.0 * plain.depth, rtol=1e-3, atol=0)


def test_a_checkpoint_that_lacks_something_or_has_more_is_refused(tmp_path: Path, published: dict[str, Tensor]) -> None:
    del published["normal_head.norm.weight"]
    published["point_head.norm.weight"] = torch.ones(64)
    with pytest.raises(WeightsError, match=r"lacks normal_head\.norm\.weight; has unknown point_head\.norm\.weight"):
        load_published(published, tmp_path / "of.pth")


def with_camera(share: float = 0.2) -> RefinerInput:
    return replace(given((90, 120), share=share), camera=Camera.from_hfov(120, 90, 60.0))


def write(folder: Path, tensors: Mapping[str, Tensor], form: str) -> Path:
    """In the published form, with other things beside the weights; and in others."""
    path = folder / f"of.{form}"
    if form == "safetensors":
        save_tensors(path, tensors, {})
    elif form == "plain":
        torch.save(dict(tensors), path)
    else:
        start = "vggt." if form == "wrapped" else ""
        torch.save({"epoch": 3, "model_state_dict": {start + name: tensor for name, tensor in tensors.items()}}, path)
    return path
