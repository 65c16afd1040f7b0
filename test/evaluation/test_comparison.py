"""Scores against hand-worked cases; the picture shows the place that changed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.evaluation.comparison import errors, mean_score, most_changed, picture, stretched
from depth_retrofit_ros.frame import Frame


class Step:
    """A coarse model of two pixels: 1 m on the left, 2 m on the right."""

    name, metric, device = "step", True, torch.device("cpu")

    def predict(self, image: torch.Tensor, camera: Camera | None) -> CoarsePrediction:
        return CoarsePrediction(torch.tensor([[1.0, 2.0]]), torch.zeros(4, 1, 2), True)


def test_stretching_keeps_the_grid() -> None:
    maps = stretched(Step(), Frame(np.zeros((2, 4, 3), np.uint8)))
    np.testing.assert_allclose(maps["nearest"], [[1, 1, 2, 2]] * 2)
    np.testing.assert_allclose(maps["bilinear"], [[1, 1.25, 1.75, 2]] * 2)


def test_errors_of_a_known_case() -> None:
    reference = np.full((40, 40), 2.0, np.float32)
    reference[:, 25:] = 4.0
    depth = 0.5 * reference
    depth[:, 25] = 1.5  # 25 % off after scaling, in the band; one column of 40
    unscaled, scaled, edges = errors(depth, reference)
    assert unscaled == pytest.approx(0.5 * 39 / 40 + 0.625 / 40)
    assert scaled == pytest.approx(0.25 / 40)
    assert edges == pytest.approx(0.25 / 2)  # at 40 px the band has a reach of one pixel: both sides of the jump


def test_mean_score_ignores_images_without_reference() -> None:
    nothing = (math.nan, math.nan, math.nan)
    row = mean_score("m", [(0.2, 0.1, 0.3), nothing, (0.4, 0.3, math.nan)], metric=True)
    assert row.frames == 2
    assert [row.abs_rel, row.abs_rel_scaled, row.edge_abs_rel_scaled] == pytest.approx([0.3, 0.2, 0.3])
    assert math.isnan(mean_score("m", [(0.2, 0.1, 0.3)], metric=False).abs_rel)
    empty = mean_score("m", [nothing], metric=True)
    assert empty.frames == 0 and math.isnan(empty.abs_rel)


def test_the_window_contains_what_changed() -> None:
    coarse = np.full((90, 160), 2.0, np.float32)
    refined = coarse.copy()
    refined[60:70, 120:130] = 3.0
    rows, columns = most_changed(coarse, refined)
    assert rows.start <= 60 and rows.stop >= 70 and columns.start <= 120 and columns.stop >= 130
    assert (rows.stop - rows.start, columns.stop - columns.start) == (14, 26)
    assert rows.stop <= 90 and columns.stop <= 160


@pytest.mark.parametrize("shape", [(90, 160), (1, 1), (3, 500)])
@pytest.mark.parametrize("with_reference", [False, True])
def test_picture_of_any_shape(shape: tuple[int, int], with_reference: bool) -> None:
    depth = np.full(shape, 2.0, np.float32)
    reference = np.full(shape, np.inf, np.float32) if with_reference else None
    maps = dict.fromkeys(("nearest", "bilinear", "refined"), depth)
    out = picture(np.zeros((*shape, 3), np.uint8), maps, reference, panel_width=80)
    assert out.dtype == np.uint8 and out.shape[2] == 3 and out.shape[0] > shape[0] * min(1, 80 / shape[1])
