"""The tiles of a frame as a refiner."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.pointcloud.normals import GRAZING
from depth_retrofit_ros.refinement.base import LARGEST_CHANGE, Refiner, RefinerInput
from depth_retrofit_ros.refinement.tiles.layout import TileLayout, held
from depth_retrofit_ros.refinement.tiles.normals import facing
from depth_retrofit_ros.refinement.tiles.projection import Projection
from depth_retrofit_ros.refinement.tiles.refiner import TileAnswer, TileRefined, TileRefiner, Tiles, tiles_for
from depth_retrofit_ros.selection.uncertainty import doubt
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.edge_aware import guided_upsample, thumbnail
from test.refinement.nets import two_planes

CPU = torch.device("cpu")
ALL = 0.45  # share of the pixels for which all tiles are seen


class Told:
    """Says of each pixel what its color and place in the frame are, so that it can be told what became of it."""

    name, side, overlap, together, context = "told", 32, 8, 3, 0

    def __init__(self, normals: float = 0.0, factor: float = 0.1) -> None:
        self.normals, self.factor, self.seen = normals, factor, list[Tiles]()

    def project(
        self, coarse: CoarsePrediction, small: torch.Tensor, score: torch.Tensor, model: str, camera: Camera | None
    ) -> torch.Tensor:
        return coarse.depth[None]

    def __call__(self, tiles: Tiles) -> TileAnswer:
        self.seen.append(tiles)
        normals = torch.zeros_like(tiles.colors)
        normals[:, 2] = 2 * self.normals
        return TileAnswer(self.factor * tiles.colors[:, 0], normals if self.normals else None)


def given(size: tuple[int, int], share: float = 0.2, factor: float = 1.0) -> RefinerInput:
    generator = torch.Generator().manual_seed(3)
    coarse = two_planes()
    coarse = CoarsePrediction(coarse.depth * factor, coarse.features)
    image = torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=generator)
    small = thumbnail(image, coarse.depth)
    pixels = PixelSet.from_mask(torch.rand(size, generator=generator) < torch.linspace(0, 2 * share, size[1]))
    return RefinerInput(image, small, coarse, guided_upsample(coarse.depth, image, small), doubt(coarse), pixels)


def with_camera(frame: RefinerInput, hfov_deg: float = 60.0) -> RefinerInput:
    return replace(frame, camera=Camera.from_hfov(frame.size[1], frame.size[0], hfov_deg))


@pytest.mark.parametrize("size", [(90, 120), (32, 32), (20, 100), (100, 20), (7, 5)])
def test_each_pixel_gets_what_the_network_says_there(size: tuple[int, int]) -> None:
    frame, network = given(size, share=ALL), Told()
    refiner: Refiner[TileRefined] = TileRefiner(network, CPU)
    gate, depth, normals, _ = refiner.fuse(refiner.refine(frame))
    colors = (frame.image[..., 0].flatten()[frame.pixels.indices].float() - 127.5) / 64
    torch.testing.assert_close(depth, frame.depth.flatten()[frame.pixels.indices] * (0.1 * colors).exp())
    assert normals is None and float(gate.max()) == 0
    assert all(len(tiles.origins) <= network.together for tiles in network.seen)


def test_the_fullest_tiles_are_seen_and_what_lies_outside_is_kept() -> None:
    frame, network = given((90, 120), share=0.1), Told()
    refiner = TileRefiner(network, CPU)
    gate, depth, *_ = refiner.fuse(refiner.refine(frame))
    assert sum(len(tiles.origins) for tiles in network.seen) == tiles_for(frame.pixels.count, frame.size, 4 * 5) in (5, 6)
    kept = gate == 1
    assert 0.1 < float(kept.float().mean()) < 0.7  # pixels get denser to the right
    assert torch.equal(depth[kept], frame.depth.flatten()[frame.pixels.indices][kept])


@pytest.mark.parametrize(
    ("share", "tiles"), [(1e-9, 1), (0.01, 5), (0.02, 10), (0.05, 25), (0.1, 50), (0.2, 100), (0.4, 200), (1.0, 200)]
)
def test_the_number_of_tiles_follows_the_budget(share: float, tiles: int) -> None:
    """A governor that lowers the budget, and a guard that halves it, gain by it."""
    size = (1000, 2000)
    assert tiles_for(max(1, round(share * 2_000_000)), size, 200) == tiles
    assert tiles_for(0, size, 200) == 0


def test_one_selected_pixel_is_seen_in_one_tile() -> None:
    network, frame = Told(), given((90, 120))
    one = replace(frame, pixels=PixelSet.from_indices(torch.tensor([60 * 120 + 60]), (90, 120)))
    refiner = TileRefiner(network, CPU)
    gate = refiner.fuse(refiner.refine(one)).gate
    assert [len(tiles.origins) for tiles in network.seen] == [1] and float(gate) < 1


def test_beside_a_tile_that_was_not_seen_the_change_falls_to_zero() -> None:
    """And the gate says by how much, so that what was changed can be told from it."""

    class Constant(Told):
        def __call__(self, tiles: Tiles) -> TileAnswer:
            return TileAnswer(torch.ones_like(tiles.level[:, 0]))

    frame = given((96, 128), share=0.1)
    refiner = TileRefiner(Constant(), CPU)
    gate, depth, *_ = refiner.fuse(refiner.refine(frame))
    change = (depth / frame.depth.flatten()[frame.pixels.indices]).log()
    torch.testing.assert_close(change, 1 - gate, rtol=1e-4, atol=1e-5)
    assert bool(((gate > 0.1) & (gate < 0.9)).any())


def test_counts_are_made_once_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shared(Told):
        together, context = 4, 2

    made = [0]

    def counted(layout: TileLayout, pixels: PixelSet) -> torch.Tensor:
        made[0] += 1
        return held(layout, pixels)

    monkeypatch.setattr("depth_retrofit_ros.refinement.tiles.refiner.held", counted)
    network = Shared()
    TileRefiner(network, CPU).refine(given((90, 120), share=ALL))
    assert made == [1] and len(network.seen) > 2


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_normals_are_unit_vectors_that_face_the_camera(sign: float) -> None:
    """Whatever the network says, at a ray that is slanted too; beside a tile that was not seen they are as long."""
    frame = with_camera(given((90, 120), share=0.1), 120.0)
    refiner = TileRefiner(Told(normals=sign), CPU)
    gate, _, normals, _ = refiner.fuse(refiner.refine(frame))
    assert normals is not None and frame.camera is not None
    seen = gate < 1
    assert 0 < int(seen.sum()) < len(seen) and not normals[:, ~seen].any()
    torch.testing.assert_close(normals[:, seen].norm(dim=0), torch.ones(int(seen.sum())))
    x, y = (torch.from_numpy(slopes) for slopes in frame.camera.ray_slopes())
    row, column = frame.pixels.indices // 120, frame.pixels.indices % 120
    rays = torch.nn.functional.normalize(torch.stack((x[column], y[row], torch.ones(len(row)))), dim=0)
    assert float((normals * rays).sum(0)[seen].max()) < -0.99 * GRAZING
    if sign < 0:
        torch.testing.assert_close(normals[:, seen], torch.tensor([0.0, 0.0, -1.0])[:, None].expand(-1, int(seen.sum())))


def test_without_a_camera_there_are_no_normals() -> None:
    refiner = TileRefiner(Told(normals=-1.0), CPU)
    assert refiner.fuse(refiner.refine(given((40, 50)))).normals is None


def test_a_normal_that_turns_away_becomes_the_nearest_that_does_not() -> None:
    normals = torch.tensor([[0.0, 0.0, -3.0], [0.0, 2.0, 0.0], [0.6, 0.0, 0.8], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]).T
    turned = facing(normals, torch.zeros(5), torch.zeros(5)).T
    limit = GRAZING / (1 + GRAZING**2) ** 0.5
    wanted = [[0, 0, -1], [0, (1 - limit**2) ** 0.5, -limit], [1, 0, -GRAZING / 0.6], [0, 0, -1], [0, 0, 0]]
    torch.testing.assert_close(turned, torch.tensor(wanted), rtol=0, atol=1e-3)


def test_no_pixels_no_work() -> None:
    network = Told()
    refiner = TileRefiner(network, CPU)
    fused = refiner.fuse(refiner.refine(given((40, 50), share=0.0)))
    assert fused.depth.shape == fused.gate.shape == (0,) and not network.seen


def test_what_a_network_says_is_bounded() -> None:
    refiner = TileRefiner(Told(factor=1e3), CPU)
    assert float(refiner.refine(given((40, 50))).change.abs().max()) == pytest.approx(LARGEST_CHANGE)


def test_scale_goes_straight_through() -> None:
    class OfAll(Told):
        """Of all that a network is shown."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.projection = Projection(4, {"compact": 16})

        def project(
            self, coarse: CoarsePrediction, small: torch.Tensor, score: torch.Tensor, model: str, camera: Camera | None
        ) -> torch.Tensor:
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
