"""The target keeps the coarse model's depth of every surface: its factor is found per surface, not per place."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from depth_retrofit_ros.training import surface_targets
from depth_retrofit_ros.training.surface_targets import (
    CLEAR,
    WIDE,
    WIDE_COUNTS,
    ScaleAndShift,
    SurfaceSearch,
    fitted_line,
    log_ratio,
)

H, W = 20, 30
REACH = SurfaceSearch().radius // 2
COLUMNS = torch.arange(W).expand(H, W)
ROWS = torch.arange(H)[:, None].expand(H, W)


def ratio_everywhere(true_map: torch.Tensor, coarse_map: torch.Tensor, log_true: torch.Tensor | None = None) -> torch.Tensor:
    """``log_ratio`` at one pixel per coarse cell, [H, W]; log_true: the pixels' own truth if not the map's."""
    log_true = true_map if log_true is None else log_true
    return log_ratio(log_true.flatten(), ROWS.flatten(), COLUMNS.flatten(), true_map, coarse_map).view(H, W)


def test_one_factor_is_found_exactly() -> None:
    true = (1 + 3 * torch.rand(H, W)).log()
    torch.testing.assert_close(ratio_everywhere(true, true + 0.37), torch.full((H, W), 0.37), atol=1e-5, rtol=0)


@pytest.mark.parametrize("factors", [(0.8, 1.3), (2.0, 0.5), (1.0, 1.0)])
def test_each_surface_keeps_its_own_factor(factors: tuple[float, float]) -> None:
    """Two slanted surfaces side by side, each with an error of its own, up to the very edge."""
    left = COLUMNS < 13
    true = torch.where(left, 2.0 + 0.02 * ROWS, 6.0 - 0.03 * COLUMNS).log()
    wanted = torch.where(left, math.log(factors[0]), math.log(factors[1]))
    torch.testing.assert_close(ratio_everywhere(true, true + wanted), wanted, atol=1e-2, rtol=0)


def test_a_pixel_of_the_other_surface_takes_the_other_surfaces_factor() -> None:
    """At full resolution the edge runs through a coarse cell: pixels on both sides of it share the cell but not the factor."""
    left = COLUMNS < 13
    near, far = torch.full((H, W), math.log(2.0)), torch.full((H, W), math.log(6.0))
    true = torch.where(left, near, far)
    coarse = true + torch.where(left, 0.3, -0.2)
    beside = (COLUMNS > 13 - REACH) & (COLUMNS < 12 + REACH)
    for log_true, wanted in ((near, 0.3), (far, -0.2)):
        got = ratio_everywhere(true, coarse, log_true)[beside]
        torch.testing.assert_close(got, torch.full_like(got, wanted), atol=5e-3, rtol=0)


def test_a_blurred_coarse_edge_does_not_leak_into_the_factor() -> None:
    """The two columns at the edge, where a coarse model mixes both depths, say nothing about either surface."""
    left = COLUMNS < 13
    true = torch.where(left, math.log(2.0), math.log(6.0))
    coarse = true + torch.where(left, 0.1, -0.1)
    coarse[:, 12:14] = math.log(3.5)
    wanted = torch.where(left, 0.1, -0.1)
    torch.testing.assert_close(ratio_everywhere(true, coarse), wanted, atol=1e-2, rtol=0)


def test_a_thin_thing_between_mixed_cells_takes_the_factor_of_pure_ones() -> None:
    """All cells around a fence mix it with what is behind: their smear is no ratio of any surface, that of clear cells is."""
    true = torch.full((H, W), math.log(5.0))
    true[:, 9:20:3] = math.log(4.0)
    coarse = true + 0.25
    coarse[:, 8:21] += 0.4 * torch.randn(H, 13, generator=torch.Generator().manual_seed(0))
    pixel = torch.full((H, W), math.log(1.0))  # a bar that no cell shows
    got = ratio_everywhere(true, coarse, pixel)[:, 12:17]
    torch.testing.assert_close(got, torch.full_like(got, 0.25), atol=0.03, rtol=0)


def test_a_structure_that_no_coarse_cell_shows_takes_the_factor_around() -> None:
    true = torch.full((H, W), math.log(5.0))
    got = ratio_everywhere(true, true + 0.25, torch.full((H, W), math.log(1.0)))
    torch.testing.assert_close(got, torch.full((H, W), 0.25), atol=1e-5, rtol=0)


def test_cells_whose_truth_is_unknown_take_no_part() -> None:
    """Neither their own ratio nor a mixture with them counts: beside a hole a surface is as pure as elsewhere."""
    true = torch.full((H, W), math.log(5.0))
    coarse = true + 0.25
    holes = (ROWS + COLUMNS) % 3 == 0
    coarse[holes] += 3.0
    got = ratio_everywhere(true.masked_fill(holes, math.nan), coarse, true)
    torch.testing.assert_close(got, torch.full((H, W), 0.25), atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("missing", ["truth", "coarse"])
def test_no_value_that_is_not_finite_spoils_another_pixel(missing: str, value: float) -> None:
    """Neither within reach nor beyond it, where columns of no weight are computed with."""
    true = torch.full((H, W), math.log(5.0))
    maps = {"truth": true.clone(), "coarse": true + 0.25}
    maps[missing][:, 20] = value
    got = ratio_everywhere(maps["truth"], maps["coarse"], true)
    torch.testing.assert_close(got, torch.full((H, W), 0.25), atol=1e-5, rtol=0)


def test_likeness_stays_an_ordinary_float() -> None:
    """A subnormal one would take many times as long, and most cells are of another surface."""
    u = np.float32(surface_targets.FARTHEST)
    like = np.float32(1) - u + np.float32(0.5) * u * u
    for _ in range(8):
        like *= like
    assert np.finfo(np.float32).tiny < like < 1e-30


def test_without_a_known_cell_within_reach_there_is_no_ratio() -> None:
    true = torch.full((H, W), math.nan)
    true[:, 0] = math.log(5.0)
    reach = SurfaceSearch().radius
    got = ratio_everywhere(true, torch.full((H, W), math.log(6.0)), torch.full((H, W), math.log(5.0)))
    torch.testing.assert_close(got[:, : reach + 1], torch.full((H, reach + 1), math.log(1.2)), atol=1e-5, rtol=0)
    assert got[:, reach + 1 :].isnan().all()


def test_unit_of_either_depth_shifts_the_ratio_and_nothing_else() -> None:
    true = (1 + 3 * torch.rand(H, W)).log()
    coarse = true + 0.2 * torch.randn(H, W)
    plain = ratio_everywhere(true, coarse)
    torch.testing.assert_close(ratio_everywhere(true, coarse + 3.0), plain + 3.0, atol=1e-5, rtol=0)
    torch.testing.assert_close(ratio_everywhere(true + 3.0, coarse + 3.0), plain, atol=1e-5, rtol=0)


def test_pixels_are_independent_of_one_another() -> None:
    true = (1 + 3 * torch.rand(H, W)).log()
    coarse = true + 0.2 * torch.randn(H, W)
    whole = ratio_everywhere(true, coarse)
    rows, columns = torch.tensor([0, 7, 19]), torch.tensor([29, 3, 0])
    some = log_ratio(true[rows, columns], rows, columns, true, coarse)
    torch.testing.assert_close(some, whole[rows, columns])


def test_a_thing_that_no_cell_shows_takes_the_scale_and_shift_of_the_surfaces_around() -> None:
    """A lost pole at 2 m before a table at 3 m and a wall at 30 m, which together tell scale and shift of inverse depth."""
    left = COLUMNS < 15
    true = torch.where(left, math.log(3.0), math.log(30.0))
    coarse = true + torch.where(left, 0.4, -0.4)
    pole = torch.full((H, W), math.log(2.0))
    table, wall = math.exp(-0.4) / 3, math.exp(0.4) / 30
    scale = (table - wall) / (1 / 3 - 1 / 30)
    wanted = -math.log(table + scale * (1 / 2 - 1 / 3)) - math.log(2.0)
    got = ratio_everywhere(true, coarse, pole)
    torch.testing.assert_close(got, torch.full_like(got, wanted), atol=2e-3, rtol=0)


def test_scale_and_shift_of_inverse_depth_are_found_whatever_the_unit() -> None:
    """Of a relative model that guesses its shift, everything is known, even of depths that no cell shows."""
    true = (1 + 8 * (COLUMNS / W) + 0.05 * ROWS).log()
    nearer = torch.full((H, W), math.log(0.4))
    for unit in (1.0, 1e-3, 1e3):
        inverse = (1.7 * torch.exp(-true) + 0.08) / unit
        got = ratio_everywhere(true, -inverse.log(), nearer)
        wanted = -math.log((1.7 / 0.4 + 0.08) / unit) - math.log(0.4)
        torch.testing.assert_close(got, torch.full_like(got, wanted), atol=0.02, rtol=0)


@pytest.mark.parametrize("wrong", ["inverted", "one depth"])
def test_no_line_is_made_up(wrong: str) -> None:
    """Where near and far are the wrong way round, or all cells of one depth, the ratio is that of the cells around."""
    true = (2 + 4 * (COLUMNS / W)).log() if wrong == "inverted" else torch.full((H, W), math.log(5.0))
    coarse = 2 * math.log(3.0) - true if wrong == "inverted" else true + 0.25
    ratio = coarse - true
    line = fitted_line(true, ratio, torch.ones(H, W))
    if wrong == "inverted":
        assert line == ScaleAndShift()
    got = ratio_everywhere(true, coarse, torch.full((H, W), math.log(1.0)))
    assert float(got.min()) >= float(ratio.min()) - 1e-4 and float(got.max()) <= float(ratio.max()) + 1e-4


def test_a_few_surfaces_that_are_far_off_do_not_turn_the_line() -> None:
    true = (1 + 8 * (COLUMNS / W)).log().float()
    ratio = torch.full((H, W), 0.3)
    ratio[:3] = -0.9
    assert fitted_line(true, ratio, torch.ones(H, W)).log_ratio(true).sub(0.3).abs().max() < 0.05


def test_cells_that_are_level_by_chance_while_the_coarse_map_mixes_say_nothing() -> None:
    """Stems before a wall: where they cross, the truth at the centres of 3×3 cells hits stems. The coarse map shows the mean."""
    true = torch.full((H, W), math.log(6.0))
    true[:, 8:22:2] = math.log(0.6)
    true[9:12, 14:17] = math.log(0.6)
    coarse = true + 0.1
    coarse[:, 7:23] = math.log(2.0) + 0.2 * torch.randn(H, 16, generator=torch.Generator().manual_seed(1))
    got = ratio_everywhere(true, coarse, torch.full((H, W), math.log(0.6)))
    torch.testing.assert_close(got, torch.full_like(got, 0.1), atol=0.02, rtol=0)


def test_beside_the_line_the_surface_that_is_nearest_in_depth_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost pole at 2 m between a table at 3 m and a wall at 30 m: both are other surfaces, the table is the more alike."""
    monkeypatch.setattr(surface_targets, "fitted_line", lambda *_: ScaleAndShift())
    left = COLUMNS < 15
    true = torch.where(left, math.log(3.0), math.log(30.0))
    coarse = true + torch.where(left, 0.4, -0.4)
    pole = torch.full((H, W), math.log(2.0))
    at_the_edge = ratio_everywhere(true, coarse, pole)[:, 14:16]
    assert float(at_the_edge.min()) > 0.25 and float(at_the_edge.max()) < 0.4
    flat = log_ratio(pole[:, 14], ROWS[:, 14], COLUMNS[:, 14], true, coarse, SurfaceSearch(tail=1e6))
    assert float(flat.abs().max()) < 0.1  # were both alike, they would cancel


def test_the_search_ends_at_its_radius(monkeypatch: pytest.MonkeyPatch) -> None:
    search = SurfaceSearch(radius=4)
    true = torch.full((H, W), math.log(3.0))
    coarse = true + torch.where(COLUMNS < 15, 0.2, 0.5)
    whole = log_ratio(true[0], ROWS[0], COLUMNS[0], true, coarse, search)
    monkeypatch.setattr(surface_targets, "WIDE_COUNTS", 0.0)
    got = log_ratio(true[0], ROWS[0], COLUMNS[0], true, coarse, search)
    torch.testing.assert_close(got[:11], torch.full((11,), 0.2), atol=1e-6, rtol=0)
    torch.testing.assert_close(got[19:], torch.full((11,), 0.5), atol=1e-6, rtol=0)
    assert (got[11:19].diff() > 0).all() and float(got[11]) > 0.2 and float(got[18]) < 0.5
    assert float((whole - got).abs().max()) < 1e-4  # beside what is found the wide surroundings count next to nothing


def test_as_a_plain_sum_over_the_cells() -> None:
    """The compiled loops against the formula, at a corner of the map and inside, where depths are of all kinds."""
    generator = torch.Generator().manual_seed(0)
    plain = 1.5 + 0.02 * COLUMNS + torch.where(ROWS < 8, 0.0, 0.9)
    true, coarse = (plain + 0.1 * torch.rand(H, W, generator=generator) for _ in range(2))
    s = SurfaceSearch(radius=3)
    log_true = torch.tensor([1.6, 2.0, 3.1])
    rows, columns = torch.tensor([0, 9, 19]), torch.tensor([0, 14, 29])
    got = log_ratio(log_true, rows, columns, true, coarse, s)
    clear = torch.zeros(H, W)
    ratio = coarse - true
    for y in range(H):
        for x in range(W):
            around = (slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2))
            steps = [float(m[around].max() - m[around].min()) for m in (true, ratio)]
            clear[y, x] = math.exp(-(sum(step**2 for step in steps) / CLEAR**2))
    line = fitted_line(true, ratio, clear)
    rest = ratio - line.log_ratio(true)
    for i in range(3):
        said = float(line.log_ratio(log_true[i]))
        total = weight = 0.0
        for dy in range(-3, 4):
            for dx in range(-3, 4):
                y, x = (min(max(int(a[i]) + d, 0), n - 1) for a, d, n in ((rows, dy, H), (columns, dx, W)))
                off = float(true[y, x] - log_true[i])
                w = math.exp(-(dy * dy + dx * dx) / 9) * float(clear[y, x])
                own, other = math.exp(-((off / s.sigma) ** 2)), s.other / (1 + (off / s.tail) ** 2)
                total += w * (own * float(ratio[y, x]) + other * (float(rest[y, x]) + said))
                weight += w * (own + other)
        wide = float((blurred(rest * clear) / blurred(clear))[rows[i], columns[i]])
        total, weight = total + WIDE_COUNTS * (wide + said), weight + WIDE_COUNTS
        assert float(got[i]) == pytest.approx(total / weight, abs=1e-4)


def blurred(values: torch.Tensor) -> torch.Tensor:
    """``values [H, W]`` by a Gaussian of σ = ``WIDE`` out to 4 σ, mirrored at the sides, as a plain product."""
    rows, columns = (mirrored_gaussian(n) for n in values.shape)
    return rows @ values @ columns.T


def mirrored_gaussian(n: int) -> torch.Tensor:
    """``[n, n]``: what each of n values counts at each place."""
    out, reach = torch.zeros(n, n), round(4 * WIDE)
    for place in range(n):
        for step in range(-reach, reach + 1):
            at = (place + step) % (2 * n)
            out[place, at if at < n else 2 * n - 1 - at] += math.exp(-0.5 * (step / WIDE) ** 2)
    return out / out.sum(1, keepdim=True)
