"""The losses of PatchRefiner V2 in cases that are worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.refinement.prv2.network import PatchRefinerV2
from depth_retrofit_ros.refinement.tiles.refiner import TileAnswer, Tiles
from depth_retrofit_ros.refinement.tiles.surfaces import Choice, Nearby
from depth_retrofit_ros.training.losses import Losses
from depth_retrofit_ros.training.prv2 import CHOICE, CONSISTENCY, DETAIL, OWN, SELECTED, pretraining_losses, prv2_losses, shapes
from depth_retrofit_ros.training.tile_batch import ROUNDED
from test.training.told import ramp, window

SIDE, OVERLAP = 16, 4
SMALLEST = 10 * 1e-4  # of SILog, whose root has 1e-8 beneath it
WANTED = ramp(16, 28, 0.01)


class Told(PatchRefinerV2):
    """Answers what it is told, about two tiles; own: of the tile's own features."""

    side, overlap = SIDE, OVERLAP

    def __init__(self, change: Tensor, own: Tensor) -> None:
        nn.Module.__init__(self)
        self.chooses = False
        self.change, self.own = nn.Parameter(change), nn.Parameter(own)

    def project(self, coarse: CoarsePrediction, small: Tensor, score: Tensor, model: str, camera: Camera | None) -> Tensor:
        return coarse.depth[None]

    def seen(self, tiles: Tiles) -> tuple[list[Tensor], Nearby | None]:
        return [tiles.level], None

    def answer(self, colors: Tensor, level: Tensor, coarse: list[Tensor], near: Nearby | None) -> tuple[TileAnswer, Tensor]:
        assert len(colors) == len(level) == len(coarse[0]) == len(self.change)
        return TileAnswer(self.change), self.own


def told(change_of: Tensor, own: Tensor | None = None) -> Told:
    """change_of ``[h, w]``, or one for each tile: beside what is wanted."""
    wanted = torch.stack((WANTED[:, :SIDE], WANTED[:, -SIDE:]))
    level = -wanted  # the wall is the frame's median
    return Told(wanted + change_of, (level + wanted if own is None else own).clone())


def losses_of(network: Told, relief: Tensor | None = None) -> Losses:
    return prv2_losses(network, [window(WANTED, relief)], [torch.Generator().manual_seed(0)])


def test_all_are_zero_where_the_answer_is_right() -> None:
    losses = losses_of(told(torch.zeros(())))
    for name in ("silog", "own"):
        assert float(losses[name].detach()) == pytest.approx(SMALLEST, rel=1e-2)
    for name in ("selected", "detail", "overlap", "error"):
        assert float(losses[name].detach()) == pytest.approx(0.0, abs=1e-6)
    selected = WANTED[:, :14]
    expected = torch.cat((selected.flatten(), WANTED[:, 12:14].flatten())).mean()  # what both tiles see counts twice
    assert float(losses["coarse"]) == pytest.approx(float(expected), rel=1e-5)


def test_a_factor_costs_what_silog_says_and_no_detail() -> None:
    losses = losses_of(told(torch.tensor(0.2)))
    expected = 10 * (0.15 * 0.2**2) ** 0.5
    assert float(losses["silog"].detach()) == pytest.approx(expected, rel=1e-4)
    assert float(losses["selected"].detach()) == pytest.approx(0.2 - ROUNDED / 2, rel=1e-4)
    assert float(losses["error"].detach()) == pytest.approx(0.2, rel=1e-5)
    assert float(losses["overlap"].detach()) == pytest.approx(0.0, abs=1e-6)


def test_two_tiles_of_opposite_factors_disagree_by_both() -> None:
    change = torch.tensor([0.1, -0.1])[:, None, None].expand(-1, SIDE, SIDE)
    losses = losses_of(told(change))
    assert float(losses["overlap"].detach()) == pytest.approx(0.2, rel=1e-5)
    assert float(losses["silog"].detach()) == pytest.approx(10 * 0.1, rel=1e-2)  # variance alone


def test_detail_is_of_what_no_scale_and_shift_explains() -> None:
    relief = 0.2 * torch.rand(16, 28, generator=torch.Generator().manual_seed(3))
    tiles = torch.stack((relief[:, :SIDE], relief[:, -SIDE:]))
    stretched, mirrored = (float(losses_of(told(x), relief)["detail"].detach()) for x in (2 * tiles + 1, tiles.flip(2) - tiles))
    assert stretched == pytest.approx(0.0, abs=1e-5) and mirrored > 0.01


def test_the_total_is_their_weighted_sum() -> None:
    generator = torch.Generator().manual_seed(3)
    change, own = (torch.rand(2, SIDE, SIDE, generator=generator) for _ in range(2))
    found = losses_of(told(change, own), 0.2 * torch.rand(16, 28, generator=generator))
    losses = {name: float(value.detach()) for name, value in found.items()}
    expected = losses["silog"] + SELECTED * losses["selected"] + DETAIL * losses["detail"] + CONSISTENCY * losses["overlap"]
    assert losses["total"] == pytest.approx(expected + OWN * losses["own"], rel=1e-5)
    assert all(losses[name] > 1e-3 for name in ("silog", "selected", "detail", "overlap", "own"))


def test_a_choice_between_surfaces_takes_the_place_of_the_error_of_its_mean() -> None:
    class Choosing(Told):
        def answer(self, colors: Tensor, level: Tensor, coarse: list[Tensor], near: Nearby | None) -> tuple[TileAnswer, Tensor]:
            candidates = torch.stack((self.change, self.change + 1), 1)
            chosen = Choice(candidates, torch.full_like(candidates, 0.5).log())
            return TileAnswer(chosen.mean(), choice=chosen), self.own

    network = Choosing(told(torch.zeros(())).change.detach(), torch.zeros(2, SIDE, SIDE))
    losses = {name: float(value.detach()) for name, value in losses_of(network).items()}
    assert losses["selected"] == pytest.approx(0.5, rel=1e-4) and losses["choice"] == pytest.approx(math.log(2), rel=1e-4)
    parts = losses["silog"] + SELECTED * losses["selected"] + CHOICE * losses["choice"] + DETAIL * losses["detail"]
    assert losses["total"] == pytest.approx(parts + CONSISTENCY * losses["overlap"] + OWN * losses["own"], rel=1e-5)


@pytest.mark.parametrize("factor", [0.3, -0.3])
def test_the_gradient_leads_to_the_truth(factor: float) -> None:
    network = told(torch.tensor(factor), own=torch.full((2, SIDE, SIDE), factor))
    losses_of(network)["total"].backward()
    assert network.change.grad is not None and network.own.grad is not None
    assert float(network.change.grad.mean()) * factor > 0 and float(network.own.grad.mean()) * factor > 0


def test_what_is_not_known_costs_nothing() -> None:
    wanted = WANTED.clone()
    wanted[:, 20:] = torch.nan
    network = told(torch.zeros(()))
    with torch.no_grad():
        network.change[1, :, 8:] += 5.0  # there alone
    losses = prv2_losses(network, [window(wanted)], [torch.Generator().manual_seed(0)])
    assert float(losses["silog"].detach()) == pytest.approx(SMALLEST, rel=1e-2)


def test_pretraining_is_of_depth_about_its_mean() -> None:
    log_depth = torch.randn(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) + 3.0

    class Pretrained(Told):
        def answer(self, colors: Tensor, level: Tensor, coarse: list[Tensor], near: Nearby | None) -> tuple[TileAnswer, Tensor]:
            assert not level.any() and [tuple(noise.shape[2:]) for noise in coarse] == [(SIDE >> i, SIDE >> i) for i in range(6)]
            assert all(abs(float(noise.std()) - 1) < 0.3 for noise in coarse[:3])
            return TileAnswer(self.change), self.own

    network = Pretrained(log_depth - log_depth.mean((1, 2), keepdim=True), torch.zeros(2, SIDE, SIDE))
    network.fusion = PatchRefinerV2({}).fusion
    images = torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8)
    losses = pretraining_losses(network, images, log_depth, [torch.Generator().manual_seed(seed) for seed in (1, 2)])
    assert float(losses["pretraining"].detach()) == pytest.approx(SMALLEST, rel=1e-2)
    own = 10 * float(log_depth.sub(log_depth.mean((1, 2), keepdim=True)).std())
    assert float(losses["pretraining_own"].detach()) == pytest.approx(own, rel=1e-3)
    assert float(losses["total"].detach()) == pytest.approx(SMALLEST + OWN * own, rel=1e-3)


def test_windows_are_two_tiles() -> None:
    assert shapes(PatchRefinerV2({})) == [(128, 240), (240, 128)]
