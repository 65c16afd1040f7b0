"""The paper's selection against a plain specification of it."""

from __future__ import annotations

import math

import pytest
import torch

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.selection.threshold import CAP, SHARES, AboveThreshold, Thresholds, above, calibrated, most_pixels
from depth_retrofit_ros.selection.uncertainty import entropy_share
from depth_retrofit_ros.upsampling.interpolation import nearest

SIZES = [((12, 16), (60, 80)), ((7, 9), (64, 50)), ((5, 40), (31, 77)), ((30, 40), (20, 25))]
IMAGE = torch.zeros(1, 1, 3, dtype=torch.uint8)


def score(low: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """Random, with ties."""
    return (torch.rand(low, generator=torch.Generator().manual_seed(seed)) * 20).round() / 20


@pytest.mark.parametrize(("low", "high"), SIZES)
@pytest.mark.parametrize("alpha", [0.0, 0.45, 0.9, 1.0])
def test_all_pixels_above_the_threshold_and_no_others(low: tuple[int, int], high: tuple[int, int], alpha: float) -> None:
    given = score(low)
    chosen = AboveThreshold(alpha).choose(given, high, 1.0)
    assert torch.equal(chosen.mask(), nearest(given, high) > alpha)
    assert chosen.left_out == 0 and bool((chosen.indices.diff() > 0).all())


@pytest.mark.parametrize(("low", "high"), SIZES)
@pytest.mark.parametrize("budget", [0.06, 0.1, 0.2])
def test_beyond_the_cap_the_most_uncertain_are_kept(low: tuple[int, int], high: tuple[int, int], budget: float) -> None:
    """One coarse pixel after the other, by hand, until the next one does not fit."""
    given, most = score(low), math.floor(CAP * budget * high[0] * high[1] + 0.5)
    cells = nearest(torch.arange(given.numel()).view(low), high)
    pixels = torch.bincount(cells.flatten(), minlength=given.numel()).tolist()
    values = given.flatten().tolist()
    kept, left_out, is_full = set[int](), 0, False
    for cell in sorted((c for c in range(len(values)) if values[c] > 0.22), key=lambda c: -values[c]):  # stable
        is_full = is_full or sum(pixels[c] for c in kept) + pixels[cell] > most
        if is_full:
            left_out += pixels[cell]
        else:
            kept.add(cell)
    chosen = AboveThreshold(0.22).choose(given, high, budget)
    assert torch.equal(chosen.mask(), torch.isin(cells, torch.tensor(sorted(kept))))
    assert chosen.left_out == left_out > 0
    assert chosen.count <= most == most_pixels(budget, high)
    assert chosen.count + chosen.left_out == int((nearest(given, high) > 0.22).sum())


def test_no_budget_chooses_nothing_and_all_of_it_everything() -> None:
    selector = AboveThreshold(calibrated([score((12, 16))]))
    assert selector.choose(score((12, 16)), (60, 80), 0.0).count == 0
    assert selector.choose(score((12, 16), 1), (60, 80), 1.0).count == 4800


@pytest.mark.parametrize("share", SHARES[1:-1])
def test_calibration_selects_its_share_of_the_frames_it_saw(share: float) -> None:
    generator = torch.Generator().manual_seed(0)
    frames = [torch.rand(60, 80, generator=generator) ** power for power in (0.5, 1.0, 3.0)]
    alpha = calibrated(frames).at(share)
    assert sum(float((frame > alpha).double().mean()) for frame in frames) / 3 == pytest.approx(share, abs=1e-3)


def test_each_frame_counts_alike_in_the_calibration() -> None:
    """However fine its grid is: the fine one is all above the coarse one, and half of the whole."""
    alphas = calibrated([torch.full((100, 100), 0.8), torch.full((2, 2), 0.2)])
    assert [alphas.at(0.3), alphas.at(0.75)] == pytest.approx([0.8, 0.2])


def test_thresholds_are_interpolated_between_the_shares_that_are_kept() -> None:
    alphas = tuple(1.0 - 0.05 * i for i in range(len(SHARES)))
    thresholds = Thresholds(alphas)
    assert [thresholds.at(share) for share in SHARES] == pytest.approx(list(alphas))
    assert thresholds.at(0.125) == pytest.approx((alphas[4] + alphas[5]) / 2)


@pytest.mark.parametrize("wrong", [(), (1.0,) * 10, tuple(range(11)), (float("nan"),) * 11])
def test_thresholds_that_are_none_are_refused(wrong: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="11 falling numbers"):
        Thresholds(wrong)


def test_the_score_is_the_entropy_as_a_share_of_the_largest() -> None:
    certain = torch.full((16, 4, 5), -1e4)
    certain[2] = 0
    certain[:, 1, 1] = 3.0  # hesitates between all
    certain[:, 2, 2] = torch.nan
    got = AboveThreshold(0.5).score(CoarsePrediction(torch.ones(4, 5), certain), IMAGE)
    wanted = torch.zeros(4, 5)
    wanted[1, 1] = 1
    torch.testing.assert_close(got, wanted)
    even = torch.log(torch.tensor([3.0, 1.0]))[:, None, None].expand(2, 4, 5)
    assert float(entropy_share(even, (4, 5))[0, 0]) == pytest.approx(-(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)))


def test_features_of_one_channel_say_nothing() -> None:
    assert float(entropy_share(torch.randn(1, 4, 5), (4, 5)).abs().max()) == 0


def test_features_on_another_grid_are_taken_to_the_nearest_coarse_pixel() -> None:
    features = torch.randn(8, 6, 10)
    assert torch.equal(entropy_share(features, (12, 20)), nearest(entropy_share(features, (6, 10)), (12, 20)))


def test_what_is_chosen_is_above_and_what_is_left_out_is_counted() -> None:
    chosen, left_out = above(torch.tensor([[0.9, 0.8, 0.7, 0.1]]), 0.5, (2, 8), 8)
    assert (chosen.tolist(), left_out) == ([[True, True, False, False]], 4)
