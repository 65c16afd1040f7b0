"""Accuracy and flicker of a run, against what the single-frame functions and hand-worked cases say."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.metrics.alignment import Mode
from depth_retrofit_ros.evaluation.metrics.edges import edge_band, soft_edge_error
from depth_retrofit_ros.evaluation.metrics.pointwise import abs_rel, pointwise
from depth_retrofit_ros.evaluation.sequence import METHODS, Answer, SequenceEvaluator
from depth_retrofit_ros.frame import Frame

HEIGHT, WIDTH = 48, 64
CAMERA = Camera(WIDTH, HEIGHT, 60.0, 60.0, 31.5, 23.5)
NS = 100_000_000


def truth() -> np.ndarray:
    depth = np.full((HEIGHT, WIDTH), 3.0, np.float32)
    depth[16:32, 20:40] = 1.5
    depth[:4] = np.nan
    return depth


def answer(number: int = 0, *, factor: float = 0.5, reference: np.ndarray | None = None, metric: bool = True) -> Answer:
    """The true depth times ``factor``, from a coarse map that is flat; every fourth row was refined."""
    refined = np.nan_to_num(truth(), nan=3.0) * np.float32(factor)
    selected = np.zeros((HEIGHT, WIDTH), bool)
    selected[::4] = True
    frame = Frame(np.full((HEIGHT, WIDTH, 3), 100, np.uint8), number * NS, camera=CAMERA)
    coarse = np.full((6, 8), 2.0 * factor, np.float32)
    return Answer(frame, refined, coarse, metric, selected, reference, None if reference is None else number * NS + 5)


def test_the_figures_are_those_of_the_metrics() -> None:
    evaluator = SequenceEvaluator("none")
    measured = evaluator.add(answer(factor=1.1, reference=truth()))
    assert measured is not None
    accuracy = evaluator.accuracy()
    assert accuracy is not None and list(accuracy["methods"]) == list(METHODS)
    refined, depth = accuracy["methods"]["refined"], measured.maps["refined"]
    assert [refined["abs_rel"], refined["unaligned_abs_rel"]] == pytest.approx([0.1, 0.1], abs=1e-6)
    band = edge_band(truth())
    assert refined["edge_rmse"] == pytest.approx(pointwise(depth, truth(), band)["rmse"])
    assert refined["see"] == pytest.approx(soft_edge_error(depth, truth(), 60.0))
    assert accuracy["methods"]["bilinear"]["abs_rel"] == pytest.approx(abs_rel(np.full_like(depth, 2.2), truth()), abs=1e-6)
    assert accuracy["known_share"] == pytest.approx(44 / 48)
    (entry,) = accuracy["frames"]
    assert (entry["stamp_ns"], entry["reference_stamp_ns"], entry["width"]) == (0, 5, WIDTH)
    json.dumps(accuracy, allow_nan=False)


def test_one_alignment_for_all_methods_fitted_on_the_bilinear_map() -> None:
    evaluator = SequenceEvaluator("median")
    evaluator.add(answer(reference=truth()))
    accuracy = evaluator.accuracy()
    assert accuracy is not None
    assert accuracy["frames"][0]["alignment"]["scale"] == pytest.approx(3.0)  # 1.0 everywhere, median of the truth 3.0
    assert accuracy["methods"]["refined"]["abs_rel"] == pytest.approx(0.5, abs=1e-6)  # half the truth, times three
    assert accuracy["methods"]["refined"]["unaligned_abs_rel"] == pytest.approx(0.5, abs=1e-6)


def test_means_are_over_the_frames_and_images_without_reference_are_named() -> None:
    evaluator = SequenceEvaluator("none")
    for number, factor in enumerate((1.1, 1.3)):
        evaluator.add(answer(number, factor=factor, reference=truth()))
    evaluator.add(answer(2))
    accuracy = evaluator.accuracy()
    assert accuracy is not None
    assert (accuracy["evaluated"], accuracy["unmatched"], accuracy["unmatched_stamps_ns"]) == (2, 1, [2 * NS])
    assert accuracy["methods"]["refined"]["abs_rel"] == pytest.approx(0.2, abs=1e-6)


def test_without_any_reference_there_is_no_accuracy() -> None:
    evaluator = SequenceEvaluator("median")
    evaluator.add(answer())
    assert evaluator.accuracy() is None and evaluator.flicker() is None


def test_a_reference_that_knows_nothing_gives_no_figure() -> None:
    evaluator = SequenceEvaluator("median")
    evaluator.add(answer(reference=np.full((HEIGHT, WIDTH), np.nan, np.float32)))
    accuracy = evaluator.accuracy()
    assert accuracy is not None and accuracy["methods"]["refined"]["abs_rel"] is None
    json.dumps(accuracy, allow_nan=False)


@pytest.mark.parametrize("align", ["median", "scale-shift"])
def test_relative_depth_has_no_unaligned_error(align: Mode) -> None:
    evaluator = SequenceEvaluator(align, inverse=True)
    evaluator.add(answer(reference=truth(), metric=False))
    accuracy = evaluator.accuracy()
    assert accuracy is not None and accuracy["methods"]["refined"]["unaligned_abs_rel"] is None


def test_a_reference_of_another_size_is_compared_on_its_own_grid() -> None:
    evaluator = SequenceEvaluator("none")
    small = truth()[1::2, 1::2]
    measured = evaluator.add(answer(factor=1.1, reference=small))
    assert measured is not None and measured.reference.shape == small.shape == measured.maps["refined"].shape
    assert measured.entry["methods"]["refined"]["abs_rel"] == pytest.approx(0.1, abs=1e-6)
    expected = soft_edge_error(measured.maps["refined"], small, 30.0)  # its focal length is half as many pixels
    assert measured.entry["methods"]["refined"]["see"] == pytest.approx(expected)
    with pytest.raises(BagError, match="aligned to the image"):
        evaluator.add(answer(1, reference=small[:, :20]))


def test_flicker_of_frames_in_a_row() -> None:
    evaluator = SequenceEvaluator("median")
    for number, factor in enumerate((1.0, 1.1, 1.1)):
        evaluator.add(answer(number, factor=factor))
    flicker = evaluator.flicker()
    assert flicker is not None
    assert (flicker["pairs"], flicker["pairs_with_static_pixels"], flicker["static_share"]) == (2, 2, 1.0)
    for method in ("bilinear", "refined"):
        assert flicker["static"][method]["median"] == pytest.approx(math.log(1.1) / 2, abs=1e-6)
        assert flicker["frames"][0]["static_and_refined"][method]["drift"] == pytest.approx(math.log(1.1), abs=1e-6)
        assert flicker["frames"][1]["static"][method] == {"median": 0.0, "p95": 0.0, "drift": 0.0}
    json.dumps(flicker, allow_nan=False)


def test_frames_whose_selection_is_unknown_are_not_in_a_row() -> None:
    evaluator = SequenceEvaluator("median")
    for number in range(2):
        seen = answer(number)
        evaluator.add(Answer(seen.frame, seen.refined, seen.coarse, True))
    assert evaluator.flicker() is None
