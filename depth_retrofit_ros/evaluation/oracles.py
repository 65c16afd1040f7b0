"""What a perfect refiner would reach: known answers in place of the refined ones, at the same pixels and at better ones.

- ``oracle``: the true depth. No refiner reaches it, because no crop tells by which factor a whole surface is off.
- ``attainable``: the training's target (``training.surface_targets``): true edges, at the coarse map's own depths.
- ``oracle_selection``: the same at as many pixels, but those that are most wrong beyond the error of their surface.

All else is the upsampled coarse map that the refiner starts from.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from depth_retrofit_ros.evaluation.metrics.coverage import excess_error
from depth_retrofit_ros.evaluation.metrics.pointwise import both_known, depth_edge_band
from depth_retrofit_ros.refinement.pixels.features import cell_of
from depth_retrofit_ros.training.surface_targets import log_ratio

ORACLES = ("oracle", "attainable", "oracle_selection")


def oracle_maps(
    base: np.ndarray, coarse: np.ndarray, truth: np.ndarray, sky: np.ndarray, selected: np.ndarray
) -> dict[str, np.ndarray]:
    """Depth ``float32 [H, W]`` m of each of ``ORACLES``.

    base ``[H, W]`` and coarse ``[h, w]`` are aligned with the truth ``float32 [H, W]``, which is NaN where unknown; sky and
    selected (the refined pixels): bool [H, W]. Where the truth is unknown, and where there is no target, base stays.
    """
    known = both_known(base, truth)
    smear_px = math.ceil(max(truth.shape) / max(coarse.shape))  # no pixel this close to an edge tells the error of a surface
    wrong = most_wrong(excess_error(base, truth, depth_edge_band(truth, reach_px=smear_px)), known, int(selected.sum()))
    at = np.flatnonzero((selected | wrong) & known)
    target = np.full(truth.shape, np.nan, np.float32)
    target.flat[at] = surface_targets(at, coarse, truth, sky)
    return {
        "oracle": np.where(selected & known, truth, base),
        "attainable": np.where(selected & np.isfinite(target), target, base),
        "oracle_selection": np.where(wrong & np.isfinite(target), target, base),
    }


def most_wrong(error: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
    """bool [H, W]: the ``count`` known pixels with the largest error, all known ones where there are no more."""
    candidates = np.flatnonzero(known)
    if count < candidates.size:
        candidates = candidates[np.argpartition(-error.flat[candidates], count)[:count]]
    mask = np.zeros(known.shape, bool)
    mask.flat[candidates] = True
    return mask


def surface_targets(at: np.ndarray, coarse: np.ndarray, truth: np.ndarray, sky: np.ndarray) -> np.ndarray:
    """Depth ``float32 [K]`` m of the training's target at flat indices ``int64 [K]`` of pixels whose truth is known; NaN where no
    coarse cell around is.

    The sky's distance is a matter of taste: it is taken to be where the coarse map puts it, off by as much as the frame as a whole.
    """
    height, width = truth.shape
    h, w = coarse.shape
    log_coarse, low_truth = np.log(coarse), at_cell_centers(truth, (h, w))
    log_truth = np.full((h, w), np.nan, np.float32)
    np.log(low_truth, out=log_truth, where=both_known(low_truth, coarse))
    if not np.isfinite(log_truth).any():
        return np.full(at.size, np.nan, np.float32)
    usual = np.nanmedian(log_coarse - log_truth)
    log_truth = np.where(at_cell_centers(sky, (h, w)), log_coarse - usual, log_truth)  # NaN where coarse is
    pixels, log_true = torch.from_numpy(at), torch.from_numpy(np.log(truth.flat[at]))
    cells = cell_of(pixels, (height, width), (h, w))
    ratio = log_ratio(log_true, *cells, torch.from_numpy(log_truth), torch.from_numpy(log_coarse))
    return np.asarray(torch.exp(log_true + ratio).numpy())


def at_cell_centers(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixel of [H, W] in which the centre of each cell of a grid of ``size = (h, w)`` lies, [h, w]."""
    rows, columns = (((2 * np.arange(n) + 1) * full) // (2 * n) for n, full in zip(size, values.shape, strict=True))
    return np.asarray(values[np.ix_(rows, columns)])
