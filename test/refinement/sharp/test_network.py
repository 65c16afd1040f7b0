"""SharpDepth's small network as a refiner of tiles."""

from __future__ import annotations

import pytest
import torch

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.refinement.base import RefinerInput
from depth_retrofit_ros.refinement.sharp.network import PERIOD, SharpDepth, noise_at, noise_field
from depth_retrofit_ros.refinement.tiles.refiner import TileRefiner, Tiles
from depth_retrofit_ros.refinement.tiles.surfaces import COUNT, Nearby
from test.refinement.tiles.test_refiner import ALL, given

CPU = torch.device("cpu")
SIZE = (224, 352)  # six tiles


def network(uniform: bool = False) -> SharpDepth:
    """Random, and not at rest."""
    torch.manual_seed(0)
    made = SharpDepth(uniform)
    torch.nn.init.normal_(made.unet.last.weight, std=0.05)
    return made.eval()


@torch.no_grad()
def answer(frame: RefinerInput, net: SharpDepth | None = None) -> torch.Tensor:
    refiner = TileRefiner(net or network(), CPU)
    return refiner.fuse(refiner.refine(frame)).depth


def test_it_is_small() -> None:
    assert sum(parameter.numel() for parameter in SharpDepth().parameters()) < 1_200_000


def test_scale_goes_straight_through() -> None:
    plain, scaled = (answer(given(SIZE, ALL, factor)) for factor in (1.0, 37.0))
    frame = given(SIZE, ALL)
    assert float((plain / frame.depth.flatten()[frame.pixels.indices]).log().abs().mean()) > 0.01  # it does something
    torch.testing.assert_close(scaled, 37.0 * plain, rtol=2e-3, atol=0)


def test_a_frame_gives_the_same_whenever_it_comes() -> None:
    net = network()
    first = answer(given(SIZE, ALL), net)
    answer(given((192, 400), ALL), net)
    torch.manual_seed(7)
    assert torch.equal(answer(given(SIZE, ALL), net), first)


def test_noise_belongs_to_the_pixels_of_the_frame() -> None:
    here, there = noise_at(torch.tensor([[0, 0], [17, 40]]), 192, 0)
    assert torch.equal(here[17:, 40:], there[: 192 - 17, : 192 - 40])
    assert not torch.equal(here, noise_at(torch.tensor([[0, 0]]), 192, 1)[0])
    assert torch.equal(noise_at(torch.tensor([[PERIOD, 3 * PERIOD]]), 192, 0)[0], here)
    field = noise_field(CPU)
    assert abs(float(field.mean())) < 0.01 and float(field.std()) == pytest.approx(1, abs=0.01)


def test_noise_that_was_first_asked_for_at_run_time_can_be_trained_with() -> None:
    noise_field.cache_clear()
    with torch.inference_mode():
        noise_at(torch.zeros(1, 2, dtype=torch.int64), 8, 0)
    weight = torch.ones((), requires_grad=True)
    (weight * noise_at(torch.zeros(1, 2, dtype=torch.int64), 8, 0)).sum().backward()


def around() -> Nearby:
    """Surfaces of a tile, and how far their colors are from its own."""
    return Nearby(torch.randn(1, COUNT, 192, 192), torch.rand(1, 1 + COUNT, 192, 192))


def test_the_first_pass_sees_nothing_of_the_coarse_depth_but_the_surfaces() -> None:
    net, colors, noise, near = network(), torch.randn(1, 3, 192, 192), torch.randn(1, 192, 192), around()
    with torch.no_grad():
        first, second = (net.first(colors, noise, c, near).mean() for c in (torch.zeros(1, 192, 192), torch.rand(1, 192, 192)))
        other = net.first(colors, noise, torch.zeros(1, 192, 192), around()).mean()
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_the_second_pass_sees_the_coarse_depth_where_the_two_agree() -> None:
    net, colors, noise, near = network(), torch.randn(1, 3, 192, 192), torch.randn(1, 192, 192), around()
    coarse, gate = torch.rand(1, 192, 192), torch.zeros(1, 192, 192)
    with torch.no_grad():
        quiet, loud = (net.denoised(colors, by * noise, coarse, gate, near).mean() for by in (1.0, 2.0))
        other = net.denoised(colors, noise, 1 - coarse, gate, near).mean()
    assert torch.equal(quiet, loud) and not torch.equal(quiet, other)


def test_an_answer_is_between_the_surfaces() -> None:
    """Moved by one offset of the pixel."""
    near = around()
    with torch.no_grad():
        told = network().first(torch.randn(1, 3, 192, 192), torch.randn(1, 192, 192), torch.zeros(1, 192, 192), near)
    moved = told.candidates[:, :1]
    torch.testing.assert_close(told.candidates[:, 1:] - moved, near.offsets, rtol=0, atol=1e-5)
    assert bool((told.mean() <= told.candidates.amax(1) + 1e-5).all() and (told.mean() >= told.candidates.amin(1) - 1e-5).all())


def test_uniform_noise_is_as_much_as_the_gate_has_on_average() -> None:
    apart = torch.rand(2, 192, 192)
    gated, uniform = network().gate(apart), network(uniform=True).gate(apart)
    assert torch.equal(gated, apart) and float(uniform.std((1, 2)).max()) < 1e-6
    torch.testing.assert_close(uniform.mean((1, 2)), apart.mean((1, 2)))
    assert not torch.equal(answer(given(SIZE, ALL)), answer(given(SIZE, ALL), network(uniform=True)))


def test_the_sky_does_not_change_what_is_near() -> None:
    """Depth far beyond all else ends the range: what it is beyond that makes no difference."""
    net = network()

    def of(sky: float) -> Tiles:
        depth = torch.linspace(1, 4, 90 * 160).view(90, 160).clone()
        depth[0, :40] = sky  # less than the bounds leave out
        level = depth.log() - depth.log().median()
        maps = net.project(CoarsePrediction(depth, torch.zeros(1, 2, 2)), torch.zeros(*depth.shape, 3), depth, "", None)
        tile = torch.nn.functional.interpolate(level[None, None, 20:40, 20:40], size=(192, 192))
        return Tiles(torch.zeros(1, 3, 192, 192), tile, maps, torch.tensor([[200, 200]]), (900, 1600))

    with torch.no_grad():
        near, far = (net(of(sky)).change for sky in (50.0, 5000.0))
    torch.testing.assert_close(near, far, rtol=0, atol=1e-3)


def test_all_tiles_are_anchored_together() -> None:
    """An answer that is off by one power and one factor of depth everywhere leaves the coarse depth where the two agree."""

    class Off(SharpDepth):
        def forward(self, tiles: Tiles):  # type: ignore[no-untyped-def]
            told = super().forward(tiles)
            return told._replace(change=0.2 * tiles.level[:, 0] + 0.5, trusted=torch.ones_like(told.change, dtype=torch.bool))

    frame = given(SIZE, ALL)
    coarse = frame.depth.flatten()[frame.pixels.indices]
    torch.testing.assert_close(answer(frame, Off().eval()), coarse, rtol=1e-3, atol=0)
