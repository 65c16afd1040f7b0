"""The losses of URGT in cases that are worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.refinement.tiles.refiner import TileAnswer, Tiles
from depth_retrofit_ros.refinement.tiles.surfaces import Choice
from depth_retrofit_ros.refinement.urgt.network import Urgt
from depth_retrofit_ros.training.losses import Losses
from depth_retrofit_ros.training.tile_batch import CHOICE, GRADIENT, ROUNDED
from depth_retrofit_ros.training.urgt import CONSISTENCY, GRIDMIX, NORMALS, angles, shapes, urgt_losses
from test.training.told import ramp, window

SIDE, OVERLAP, SLOPE = 16, 4, 0.01
WANTED = ramp(16, 28, SLOPE)
LEAST_ANGLE = 1e-4  # that ``angles`` gives


class Told(Urgt):
    """Answers what it is told, about two tiles; the coarse normals are 0.1 rad off the wall's."""

    side, overlap = SIDE, OVERLAP

    log_probability = torch.tensor([0.0, -100.0])  # of what it is told, and of 1 more

    def __init__(self, change: Tensor, turned: float) -> None:
        nn.Module.__init__(self)
        wanted = torch.stack((WANTED[:, :SIDE], WANTED[:, -SIDE:]))
        self.change, self.turned = nn.Parameter(wanted + change), nn.Parameter(torch.tensor(turned))

    def project(self, coarse: CoarsePrediction, small: Tensor, score: Tensor, model: str, camera: Camera | None) -> Tensor:
        return facing(torch.tensor(0.1))[:, None, None].expand(3, 6, 8)

    def forward(self, tiles: Tiles) -> TileAnswer:
        candidates = torch.stack((self.change, self.change + 1), 1)
        choice = Choice(candidates, self.log_probability[:, None, None].expand_as(candidates))
        return TileAnswer(
            self.change, facing(self.turned)[None, :, None, None].expand(len(self.change), 3, SIDE, SIDE), choice=choice
        )


def facing(angle: Tensor) -> Tensor:
    """The wall's normal, turned by an angle [rad]."""
    return torch.stack((angle.sin(), angle * 0, -angle.cos()))


def losses_of(change: Tensor, turned: float = 0.0) -> Losses:
    return urgt_losses(Told(change, turned), [window(WANTED)])


def test_all_are_zero_where_the_answer_is_right() -> None:
    losses = losses_of(torch.zeros(()))
    for name in ("robust", "selected", "choice", "gradient", "overlap", "error"):
        assert float(losses[name].detach()) == pytest.approx(0.0, abs=1e-6)
    assert float(losses["normals"].detach()) == pytest.approx(LEAST_ANGLE, rel=0.1)
    assert float(losses["coarse_deg"]) == pytest.approx(math.degrees(0.1), rel=1e-2)


def test_a_factor_costs_itself() -> None:
    losses = losses_of(torch.tensor(0.3))
    assert float(losses["robust"].detach()) == pytest.approx(0.3 - ROUNDED / 2, rel=1e-5)
    assert float(losses["selected"].detach()) == pytest.approx(0.3, rel=1e-5)
    assert float(losses["gradient"].detach()) == pytest.approx(0.0, abs=1e-6)
    assert float(losses["error"].detach()) == pytest.approx(0.3, rel=1e-5)


def test_a_slope_costs_itself_at_each_of_three_octaves() -> None:
    losses = losses_of(ramp(16, 16, 0.02).expand(2, -1, -1))
    assert float(losses["gradient"].detach()) == pytest.approx(0.02 * (1 + 2 + 4), rel=1e-4)
    assert float(losses["overlap"].detach()) == pytest.approx(0.02 * 12, rel=1e-4)  # the tiles begin 12 px apart


@pytest.mark.parametrize("turned", [0.05, -0.4, 1.5])
def test_turned_normals_cost_their_angle(turned: float) -> None:
    losses = losses_of(torch.zeros(()), turned)
    assert float(losses["normals"].detach()) == pytest.approx(abs(turned), rel=1e-3)
    assert float(losses["normal_deg"]) == pytest.approx(math.degrees(abs(turned)), rel=1e-3)


def test_the_total_is_their_weighted_sum() -> None:
    losses = {name: float(v.detach()) for name, v in losses_of(torch.rand(2, SIDE, SIDE), 0.2).items()}
    expected = losses["robust"] + losses["selected"] + GRADIENT * losses["gradient"] + CONSISTENCY * losses["overlap"]
    assert losses["total"] == pytest.approx(expected + NORMALS * losses["normals"], rel=1e-5)


def test_a_choice_costs_what_is_expected_of_it_and_its_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Told, "log_probability", torch.tensor([0.25, 0.75]).log())
    losses = {name: float(value.detach()) for name, value in losses_of(torch.zeros(())).items()}
    assert losses["selected"] == pytest.approx(0.75, rel=1e-4) and losses["choice"] == pytest.approx(math.log(4), rel=1e-4)
    assert losses["total"] == pytest.approx(losses["selected"] + CHOICE * losses["choice"] + NORMALS * losses["normals"], abs=1e-4)


@pytest.mark.parametrize("off", [0.3, -0.3])
def test_the_gradient_leads_to_the_truth(off: float) -> None:
    network = Told(torch.tensor(off), turned=off)
    urgt_losses(network, [window(WANTED)])["total"].backward()
    assert network.change.grad is not None and network.turned.grad is not None
    assert float(network.change.grad.mean()) * off > 0 and float(network.turned.grad) * off > 0


def test_angles_have_a_finite_slope_where_they_agree() -> None:
    normals = torch.tensor([0.0, 0.0, -1.0]).view(1, 3, 1, 1).requires_grad_()
    angles(normals, normals.detach()).sum().backward()
    assert normals.grad is not None and torch.isfinite(normals.grad).all()
    nowhere = angles(torch.zeros(1, 3, 1, 1), normals.detach())
    assert float(nowhere) == pytest.approx(math.pi / 2, abs=1e-6)


def test_windows_hold_the_tiles_of_gridmix() -> None:
    assert sorted(set(shapes(Urgt()))) == [(128, 128), (240, 240), (352, 352)]
    assert [GRIDMIX.count(tiles) / len(GRIDMIX) for tiles in (1, 2, 3)] == [0.2, 0.3, 0.5]
