"""``estimate`` in compiled passes, for the CPU: over the coarse cells, then over the frame's rows with its refined pixels."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from depth_retrofit_ros.confidence.calibration import Calibration, bundled_calibration
from depth_retrofit_ros.confidence.curves_cpu import fill_8bit, fill_cells, fill_cut, fill_frame, tabulated
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
    choices,
    reaches,
)
from depth_retrofit_ros.device.buffers import BufferPool
from depth_retrofit_ros.device.thread_pool import THREAD_POOL
from depth_retrofit_ros.frame import DepthFrame
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.interpolation import bilinear_table

POOL = BufferPool()


def estimate(result: DepthFrame, calibration: Calibration) -> torch.Tensor:
    """``float32 [H, W]``, see ``estimate.confidence_by_torch``."""
    assert result.score is not None, "of an answer of Retrofit"
    (height, width), (h, w) = result.selection.size, result.coarse.shape
    likely, odds = _cells(result.coarse.numpy(), result.score.numpy(), result.model, calibration)
    POOL.sweep()
    out = POOL.empty((height, width))
    given = [tensor.contiguous().numpy() for tensor in (result.depth, result.base, *choices(result))]
    curves = [tabulated(calibration.refined.curves, names) for names in (PIXEL, CHOICE)]
    tables = bilinear_table(h, height), bilinear_table(w, width)
    arguments = *given, likely, odds, *tables, *reaches((height, width), (h, w)), *curves
    counter = np.zeros(1, np.int64)
    THREAD_POOL.run(lambda: fill_frame(*arguments, out.numpy(), counter))
    return out


def cut(depth: torch.Tensor, least: float, confidence: torch.Tensor) -> torch.Tensor:
    """Depth ``float32 [H, W]``, NaN where its confidence is below ``least``."""
    out, counter = POOL.empty((depth.shape[0], depth.shape[1])), np.zeros(1, np.int64)
    given = depth.contiguous().numpy(), confidence.contiguous().numpy(), np.float32(least)
    THREAD_POOL.run(lambda: fill_cut(*given, out.numpy(), counter))
    return out


def to_8bit(confidence: torch.Tensor) -> torch.Tensor:
    """See ``estimate.to_8bit``."""
    out, counter = POOL.empty((confidence.shape[0], confidence.shape[1]), torch.uint8), np.zeros(1, np.int64)
    THREAD_POOL.run(lambda: fill_8bit(confidence.contiguous().numpy(), out.numpy(), counter))
    return out


def compile_confidence() -> None:
    """Compile every kernel now (some seconds on the first run, then cached on disk)."""
    depth, coarse = torch.ones(4, 4), torch.ones(2, 2)
    one, pixels = torch.ones(1), PixelSet.from_indices(torch.zeros(1, dtype=torch.int64), (4, 4))
    answer = DepthFrame(depth, depth, coarse, None, pixels, one, score=coarse, choice_entropy=one)
    confidence = estimate(answer, bundled_calibration())
    cut(depth, 0.5, confidence)
    to_8bit(confidence)


def _cells(coarse: np.ndarray, score: np.ndarray, model: str, calibration: Calibration) -> tuple[np.ndarray, np.ndarray]:
    """By what is known of each cell, the frame and the model, ``float32 [h, w]``: the probability of kept pixels, and log odds of
    refined ones."""
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
    parts = calibration.kept, calibration.refined
    common = dict(zip(FRAME, (usual, spread), strict=True))
    frame = [part.offset(model) + sum(float(part.curves[name](torch.tensor(v))) for name, v in common.items()) for part in parts]
    mean = max(np.float32(score.mean()), np.finfo(np.float32).tiny)
    halves = np.array([HALF_RANGE, HALF_RANGE, mean, HALF_BEND], np.float32)
    likely, odds = np.empty(level.shape, np.float32), np.empty(level.shape, np.float32)
    features = *ranges, np.ascontiguousarray(score), level, bend
    curves = [tabulated(part.curves, CELL) for part in parts]
    counter = np.zeros(1, np.int64)
    THREAD_POOL.run(lambda: fill_cells(*features, halves, *curves, np.array(frame, np.float32), likely, odds, counter))
    return likely, odds


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
