"""Confidence: the compiled pass is its specification, and what it must say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.stored import StoredCoarse
from depth_retrofit_ros.confidence.calibration import KEPT, REFINED, Calibration, Curve, bundled_calibration, read_calibration
from depth_retrofit_ros.confidence.correctness import is_right
from depth_retrofit_ros.confidence.estimate import confidence_by_torch, confidence_of, cut_below, to_8bit
from depth_retrofit_ros.confidence.features import steps
from depth_retrofit_ros.errors import WeightsError
from depth_retrofit_ros.frame import ENTROPY_STEP, GATE_STEP, DepthFrame, Frame, SettledChoices
from depth_retrofit_ros.pointcloud.surfaces import surface_depth
from depth_retrofit_ros.refinement.base import Refiner
from depth_retrofit_ros.refinement.nothing import NoRefiner
from depth_retrofit_ros.refinement.tiles.refiner import TileRefiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from test.refinement.tiles.test_refiner import Told

CPU = torch.device("cpu")


def answer(size: tuple[int, int] = (97, 131), low: tuple[int, int] = (21, 33), unknown: bool = True) -> DepthFrame:
    """Random depth with a hole, of which a tenth is refined."""
    torch.manual_seed(0)
    coarse, depth, base = torch.rand(low) + 1, torch.rand(size) + 1, torch.rand(size) + 1
    if unknown:
        depth[3:9, 5:20], coarse[0, 0] = torch.nan, torch.nan
    pixels = PixelSet.from_mask(torch.rand(size) < 0.1)
    score, entropy, gate = torch.rand(low), 3 * torch.rand(pixels.count), torch.rand(pixels.count)
    return DepthFrame(depth, base, coarse, None, pixels, gate, score=score, choice_entropy=entropy)


@pytest.mark.parametrize(("size", "low"), [((97, 131), (21, 33)), ((40, 30), (1, 2)), ((5, 3), (5, 3))])
def test_the_compiled_pass_equals_its_specification(size: tuple[int, int], low: tuple[int, int]) -> None:
    result = answer(size, low, unknown=low[0] > 5)
    for of in (result, replace(result, choice_entropy=None)):
        wanted, got = confidence_by_torch(of, bundled_calibration()), confidence_of(of)
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5, equal_nan=True)


def test_infinite_depth_is_judged_as_in_the_specification() -> None:
    """Of a frame that is nothing but sky."""
    result = answer()
    depth = result.depth.clone()
    depth[40:60, 30:50] = torch.inf
    result = replace(result, depth=depth)
    assert bool(depth.flatten()[result.selection.indices].isinf().any())
    wanted = confidence_by_torch(result, bundled_calibration())
    torch.testing.assert_close(confidence_of(result), wanted, rtol=1e-5, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("refiner", [NoRefiner(), TileRefiner(Told(), CPU)], ids=["none", "tiles"])
def test_pixels_of_a_refiner_that_does_not_choose_are_judged_as_kept_ones(refiner: Refiner[Any]) -> None:
    coarse = CoarsePrediction(1 + torch.rand(24, 32, generator=torch.Generator().manual_seed(1)), torch.rand(4, 24, 32))
    model, image = StoredCoarse(coarse, True, ScaleClaim("up-to-scale", "never")), np.zeros((96, 128, 3), np.uint8)
    result = Retrofit(model, refiner, 0.1)(Frame(image))
    assert result.choice_entropy is None and (result.selection.count > 0) == isinstance(refiner, TileRefiner)
    empty = PixelSet.from_indices(torch.zeros(0, dtype=torch.int64), (96, 128))
    told, unrefined = confidence_of(result), confidence_of(replace(result, selection=empty, gate=torch.zeros(0)))
    assert bool(told.isfinite().all()) and torch.equal(told, unrefined)


def test_pixels_that_keep_an_earlier_choice_are_judged_by_it() -> None:
    """As if the refiner had chosen at them now; by the compiled pass and by its specification."""
    result = answer()
    assert result.choice_entropy is not None
    height, width = result.selection.size
    rng = np.random.default_rng(3)
    now = result.selection.mask().numpy()
    settled = (rng.random((height, width)) < 0.2).astype(np.uint8)
    entropy, gate = (rng.integers(0, 200, (height, width)).astype(np.uint8) for _ in range(2))
    kept = SettledChoices(*(torch.from_numpy(values) for values in (settled, entropy, gate)))
    either = torch.from_numpy(np.flatnonzero(now | (settled > 0)))
    entropies, gates = (torch.from_numpy(v.ravel() * np.float32(s)) for v, s in ((entropy, ENTROPY_STEP), (gate, GATE_STEP)))
    entropies[result.selection.indices], gates[result.selection.indices] = result.choice_entropy, result.gate
    chosen_now = replace(
        result,
        selection=PixelSet.from_indices(either, (height, width)),
        choice_entropy=entropies[either],
        gate=gates[either],
    )
    told = confidence_of(replace(result, settled=kept))
    torch.testing.assert_close(told, confidence_of(chosen_now), rtol=0, atol=1e-6, equal_nan=True)
    torch.testing.assert_close(
        told, confidence_by_torch(replace(result, settled=kept), bundled_calibration()), rtol=0, atol=1e-4, equal_nan=True
    )
    differs = (told != confidence_of(result)).numpy() & np.isfinite(result.depth.numpy())
    assert not differs[now | (settled == 0)].any()
    assert differs[(settled > 0) & ~now & np.isfinite(result.depth.numpy())].mean() > 0.9


def test_depth_that_is_none_raises_nothing() -> None:
    """Zero beside zero, as a broken file may have it."""
    result = answer()
    depth, base = result.depth.clone(), result.base.clone()
    depth[40:60, 30:50] = base[40:60, 30:50] = 0.0
    confidence = confidence_of(replace(result, depth=depth, base=base))
    inside = result.selection.indices[(depth == 0).flatten()[result.selection.indices]]
    assert confidence.flatten()[inside].isnan().any() and confidence[70:].isfinite().all()


def test_a_model_has_odds_of_its_own_and_one_that_is_not_known_those_of_others() -> None:
    bundled, result = bundled_calibration(), answer()
    table = Calibration(*(replace(part, models={"good": 0.5, "bad": -0.5}, other=-0.5) for part in (bundled.kept, bundled.refined)))
    of = {name: replace(result, model=name) for name in ("good", "bad", "another")}
    told = {name: confidence_of(answered, table) for name, answered in of.items()}
    for name, answered in of.items():
        torch.testing.assert_close(told[name], confidence_by_torch(answered, table), rtol=1e-5, atol=1e-5, equal_nan=True)
    assert torch.equal(told["another"].nan_to_num(0), told["bad"].nan_to_num(0))
    known = ~result.depth.isnan()
    assert bool((told["good"][known] > told["bad"][known]).all())


def test_confidence_is_a_probability_known_where_depth_is() -> None:
    result = answer()
    confidence = confidence_of(result)
    assert torch.equal(confidence.isnan(), result.depth.isnan())
    known = confidence[~confidence.isnan()]
    assert known.min() > 0 and known.max() < 1


def test_scaling_depth_changes_nothing() -> None:
    result = answer()
    scaled = replace(result, depth=1e3 * result.depth, base=1e3 * result.base, coarse=1e3 * result.coarse)
    torch.testing.assert_close(confidence_of(scaled), confidence_of(result), rtol=1e-3, atol=1e-4, equal_nan=True)


def test_a_step_lowers_the_confidence_beside_it() -> None:
    size, low = (96, 128), (24, 32)
    depth, coarse = torch.full(size, 2.0), torch.full(low, 2.0)
    depth[:, 64:], coarse[:, 16:] = 4.0, 4.0
    pixels, score = PixelSet.from_indices(torch.zeros(0, dtype=torch.int64), size), torch.ones(low)
    confidence = confidence_of(DepthFrame(depth, depth, coarse, None, pixels, torch.zeros(0), score=score))
    assert confidence[48, 64] < 0.5 * confidence[48, 8]


def test_in_the_sky_no_depth_is_right() -> None:
    sky = torch.zeros(21, 33, dtype=torch.bool)
    sky[:7] = True
    result = answer()
    result.depth[:32] += 1  # beyond all of the coarse depth: nothing there is something before the sky
    confidence = confidence_of(replace(result, sky=sky))
    above = confidence[:32]
    assert bool((above[~above.isnan()] == 0).all()) and confidence[40:].min() > 0


def test_something_before_the_sky_is_no_sky() -> None:
    """As for the cloud: pixels that refinement brought nearer are surfaces, though the model calls the whole cell sky."""
    sky, near = torch.zeros(21, 33, dtype=torch.bool), answer()
    sky[:7] = True
    depth = near.depth.clone()
    depth[:32] = 2.0  # at the limit, which is the farthest of the coarse depth in the sky
    at = near.selection.indices[near.selection.indices < 20 * 131]
    depth.view(-1)[at[::2]] = 1.0
    result = replace(near, depth=depth, sky=sky)
    confidence = confidence_of(result)
    assert torch.equal(confidence == 0, surface_depth(result).isnan() & ~depth.isnan())
    assert confidence.view(-1)[at[::2]].min() > 0 and not confidence.view(-1)[at[1::2]].any()


def test_cut_and_eight_bits() -> None:
    result = answer()
    confidence = confidence_of(result)
    least = float(confidence.nanmedian())
    cut = cut_below(result, least, confidence)
    assert torch.equal(cut.depth.isnan(), ~(confidence >= least))
    assert torch.equal(cut.depth[~cut.depth.isnan()], result.depth[confidence >= least])
    assert to_8bit(torch.tensor([[torch.nan, 0.0, 0.5, 1.0]])).tolist() == [[0, 0, 128, 255]]
    np.testing.assert_array_equal(to_8bit(confidence), np.rint(255 * confidence.nan_to_num(0).numpy()))


def test_steps_pass_over_the_unknown() -> None:
    depth = torch.tensor([[1.0, 3.0, torch.nan, 5.0]])
    torch.testing.assert_close(steps(depth, 1), torch.tensor([[0.5, 0.5, torch.nan, 0.0]]), equal_nan=True)


def test_a_curve_is_linear_between_its_knots_and_constant_beyond() -> None:
    curve = Curve((0.0, 1.0, 3.0), (2.0, -1.0, 0.0))
    at = torch.tensor([-5.0, 0.0, 0.5, 1.0, 2.0, 3.0, 9.0])
    torch.testing.assert_close(curve(at), torch.tensor([2.0, 2.0, 0.5, -1.0, -0.5, 0.0, 0.0]))


def test_right_is_within_five_percent_of_the_median_ratio() -> None:
    truth = np.array([[1.0, 2.0, 3.0, 4.0, np.inf, np.nan]])
    depth = np.array([[2.0, 4.0, 6.2, 9.0, 8.0, 1.0]], np.float32)
    assert is_right(depth, truth).tolist() == [[True, True, True, False, False, False]]


def test_the_bundled_table_has_every_curve_and_others_are_refused(tmp_path: Path) -> None:
    calibration = bundled_calibration()
    assert (tuple(calibration.kept.curves), tuple(calibration.refined.curves)) == (KEPT, REFINED)
    for text in ("{", "{}", json.dumps({"kept": {}, "refined": {}})):
        path = tmp_path / "table.json"
        path.write_text(text)
        with pytest.raises(WeightsError, match="is not a confidence table: make one with"):
            read_calibration(path)
    with pytest.raises(WeightsError, match="cannot read"):
        read_calibration(tmp_path / "none.json")


def test_the_specification_looks_at_no_value() -> None:
    """So that it waits for no device: "meta" has shapes alone."""
    result = answer()
    at = {name: getattr(result, name).to("meta") for name in ("depth", "base", "coarse", "gate", "score", "choice_entropy")}
    pixels = PixelSet(result.selection.indices.to("meta"), result.selection.index_image.to("meta"))
    made = replace(result, **at, selection=pixels, sky=torch.empty(21, 33, dtype=torch.bool, device="meta"))
    confidence = confidence_of(made)
    assert confidence.device.type == "meta" and confidence.shape == result.depth.shape
    assert cut_below(made, 0.5, confidence).depth.shape == to_8bit(confidence).shape == result.depth.shape
