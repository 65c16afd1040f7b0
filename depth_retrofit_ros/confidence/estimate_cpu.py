"""``estimate.confidence_by_torch`` in two compiled passes, for the CPU: one over the coarse cells, one over the frame's rows."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from depth_retrofit_ros.confidence.calibration import Calibration
from depth_retrofit_ros.confidence.curves_cpu import cell_odds, row_confidence, tabulated
from depth_retrofit_ros.confidence.features import (
    CELL,
    CHOICE,
    EDGE_REACH,
    FRAME,
    HALF_BEND,
    HALF_RANGE,
    MEDIAN_STEP,
    PIXEL,
    WIDE_REACH,
    reaches,
)
from depth_retrofit_ros.device.buffers import BufferPool
from depth_retrofit_ros.device.thread_pool import THREAD_POOL
from depth_retrofit_ros.frame import DepthFrame
from depth_retrofit_ros.upsampling.interpolation import bilinear_table

POOL = BufferPool()
EMPTY = np.empty(0, np.float32)


def estimate(result: DepthFrame, calibration: Calibration) -> torch.Tensor:
    """``float32 [H, W]``, see ``estimate.confidence_by_torch``."""
    assert result.score is not None, "of an answer of Retrofit"
    (height, width), (h, w) = result.selection.size, result.coarse.shape
    odds = _odds(result.coarse.numpy(), result.score.numpy(), calibration)
    POOL.sweep()
    out = POOL.empty((height, width))
    near, wide = reaches((height, width), (h, w))
    chooses = result.choice_entropy is not None
    curves = [tabulated(part, PIXEL) for part in (calibration.kept, calibration.refined)]
    told = [t.contiguous().numpy() for t in (result.choice_entropy, result.gate) if t is not None] if chooses else [EMPTY, EMPTY]
    maps = [t.contiguous().numpy() for t in (result.depth, result.base, result.selection.index_image)]
    tables = bilinear_table(h, height), bilinear_table(w, width)
    arguments = *maps, *told, odds, *tables, near, wide, *curves, tabulated(calibration.refined, CHOICE), chooses
    counter = np.zeros(1, np.int64)
    THREAD_POOL.run(lambda: row_confidence(*arguments, out.numpy(), counter))
    return out


def _odds(coarse: np.ndarray, score: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Log odds by what is known of each cell and of the frame, ``float32 [2, h, w]``: of kept and of refined pixels."""
    with np.errstate(invalid="ignore"):
        level = np.log(coarse)
        sample = level[::MEDIAN_STEP, ::MEDIAN_STEP]
        known = sample[~np.isnan(sample)]
        middle = np.partition(known, (known.size - 1) // 2)[(known.size - 1) // 2] if known.size else np.float32(0)  # as torch's
        level -= middle
        level[~np.isfinite(level)] = 0
    ranges = [_range(level, reach) for reach in (EDGE_REACH, WIDE_REACH)]
    bend = _bends(np.exp(-level))
    sample = bend[::MEDIAN_STEP, ::MEDIAN_STEP].ravel()
    usual = np.partition(sample, (sample.size - 1) // 2)[(sample.size - 1) // 2]
    usual = np.float32(usual / (usual + np.float32(HALF_BEND)))
    bend = cv2.dilate(bend, np.ones((3, 3), np.uint8))
    spread = np.abs(level).mean()
    frame = [
        sum(float(part[name](torch.tensor(value))) for name, value in zip(FRAME, (usual, spread), strict=True))
        for part in (calibration.kept, calibration.refined)
    ]
    mean = max(np.float32(score.mean()), np.finfo(np.float32).tiny)
    halves = np.array([HALF_RANGE, HALF_RANGE, mean, HALF_BEND], np.float32)
    out = np.empty((2, *level.shape), np.float32)
    features = *ranges, np.ascontiguousarray(score), level, bend
    curves = [tabulated(part, CELL) for part in (calibration.kept, calibration.refined)]
    counter = np.zeros(1, np.int64)
    THREAD_POOL.run(lambda: cell_odds(*features, halves, *curves, np.array(frame, np.float32), out, counter))
    return out


def _range(level: np.ndarray, reach: int) -> np.ndarray:
    """Highest less lowest within ``reach`` cells, of those within the map."""
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return np.asarray(cv2.dilate(level, window) - cv2.erode(level, window))


def _bends(inverse: np.ndarray) -> np.ndarray:
    """See ``features._bends``."""
    bends = np.zeros_like(inverse)
    if inverse.shape[0] > 2:
        np.abs(np.diff(inverse, 2, 0), out=bends[1:-1])
    if inverse.shape[1] > 2:
        inner = bends[:, 1:-1]
        np.maximum(inner, np.abs(np.diff(inverse, 2, 1)), out=inner)
    bends /= inverse
    return bends
