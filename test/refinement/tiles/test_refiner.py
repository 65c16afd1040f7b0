"""The tiles of a frame as a refiner."""

from __future__ import annotations

import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.refinement.base import LARGEST_CHANGE, Refiner, RefinerInput
from depth_retrofit_ros.refinement.tiles.projection import Projection
from depth_retrofit_ros.refinement.tiles.refiner import TileAnswer, TileRefined, TileRefiner, Tiles
from depth_retrofit_ros.selection.uncertainty import doubt
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.edge_aware import guided_upsample, thumbnail
from test.refinement.nets import two_planes

CPU = torch.device("cpu")


class Told:
    """Says of each pixel what its color and place in the frame are, so that it can be told what became of it."""

    name, side, overlap, together, context = "told", 32, 8, 3, 0

    def __init__(self, normals: bool = False, factor: float = 0.1) -> None:
        self.normals, self.factor, self.seen = normals, factor, list[Tiles]()

    def project(self, coarse: CoarsePrediction, score: torch.Tensor, model: str, camera: Camera | None) -> torch.Tensor:
        return coarse.depth[None]

    def __call__(self, tiles: Tiles) -> TileAnswer:
        self.seen.append(tiles)
        normals = torch.zeros_like(tiles.colors)
        normals[:, 2] = -2.0
        return TileAnswer(self.factor * tiles.colors[:, 0], normals if self.normals else None)


def given(size: tuple[int, int], share: float = 0.2, factor: float = 1.0) -> RefinerInput:
    generator = torch.Generator().manual_seed(3)
    coarse = two_planes()
    coarse = CoarsePrediction(coarse.depth * factor, coarse.features)
    image = torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=generator)
    small = thumbnail(image, coarse.depth)
    pixels = PixelSet.from_mask(torch.rand(size, generator=generator) < torch.linspace(0, 2 * share, size[1]))
    return RefinerInput(image, small, coarse, guided_upsample(coarse.depth, image, small), doubt(coarse), pixels)


@pytest.mark.parametrize("size", [(90, 120), (32, 32), (20, 100), (100, 20), (7, 5)])
def test_each_pixel_gets_what_the_network_says_there(size: tuple[int, int]) -> None:
    frame, network = given(size), Told()
    refiner: Refiner[TileRefined] = TileRefiner(network, CPU, share=1.0)
    gate, depth, normals = refiner.fuse(refiner.refine(frame))
    colors = (frame.image[..., 0].flatten()[frame.pixels.indices].float() - 127.5) / 64
    torch.testing.assert_close(depth, frame.depth.flatten()[frame.pixels.indices] * (0.1 * colors).exp())
    assert normals is None and float(gate.max()) == 0
    assert all(len(tiles.origins) <= network.together for tiles in network.seen)


def test_the_fullest_tiles_are_seen_and_what_lies_outside_is_kept() -> None:
    frame, network = given((90, 120)), Told()
    gate, depth, _ = TileRefiner(network, CPU, share=0.25).fuse(TileRefiner(network, CPU, share=0.25).refine(frame))
    assert sum(len(tiles.origins) for tiles in network.seen) == round(0.25 * 4 * 5)
    kept = gate == 1
    assert 0.1 < float(kept.float().mean()) < 0.7  # pixels get denser to the right
    assert torch.equal(depth[kept], frame.depth.flatten()[frame.pixels.indices][kept])


def test_normals_are_unit_vectors() -> None:
    refiner = TileRefiner(Told(normals=True), CPU, share=1.0)
    normals = refiner.fuse(refiner.refine(given((40, 50)))).normals
    assert normals is not None
    torch.testing.assert_close(normals, torch.tensor([0.0, 0.0, -1.0])[:, None].expand_as(normals))


def test_no_pixels_no_work() -> None:
    network = Told()
    refiner = TileRefiner(network, CPU)
    fused = refiner.fuse(refiner.refine(given((40, 50), share=0.0)))
    assert fused.depth.shape == fused.gate.shape == (0,) and not network.seen


def test_what_a_network_says_is_bounded() -> None:
    refiner = TileRefiner(Told(factor=1e3), CPU, share=1.0)
    assert float(refiner.refine(given((40, 50))).change.abs().max()) == pytest.approx(LARGEST_CHANGE)


def test_scale_goes_straight_through() -> None:
    class OfAll(Told):
        """Of all that a network is shown."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.projection = Projection(4, {"compact": 16})

        def project(self, coarse: CoarsePrediction, score: torch.Tensor, model: str, camera: Camera | None) -> torch.Tensor:
            return self.projection(coarse.depth, score, coarse.features, "compact")

        def __call__(self, tiles: Tiles) -> TileAnswer:
            return TileAnswer(0.05 * (tiles.colors[:, 1] + tiles.level[:, 0] + tiles.under(32).sum(1)))

    refiner = TileRefiner(OfAll(), CPU)
    with torch.no_grad():
        plain, scaled = (refiner.fuse(refiner.refine(given((90, 120), factor=factor))) for factor in (1.0, 37.0))
    torch.testing.assert_close(scaled.depth, 37.0 * plain.depth, rtol=1e-4, atol=0)
    assert torch.equal(plain.gate, scaled.gate)


def test_features_of_an_unknown_model_are_left_out() -> None:
    frame, projection = given((90, 120)), Projection(4, {"a.b": 16})
    one = projection(frame.coarse.depth, frame.score, frame.coarse.features, "other")
    two = projection(frame.coarse.depth, frame.score, -frame.coarse.features, "other")
    known = projection(frame.coarse.depth, frame.score, frame.coarse.features, "a.b")
    assert torch.equal(one, two) and not torch.allclose(one, known)
