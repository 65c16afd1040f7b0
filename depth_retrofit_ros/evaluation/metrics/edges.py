"""How sharp and well placed the depth edges are: soft edge error, scale-invariant boundary F1, and the band around true edges."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.evaluation.metrics.pointwise import both_known, depth_edge_band, mark_both_sides

BAND_SHARE = 1 / 256  # of the long side: one pixel of a coarse map of 256, which is how far its upsampling smears an edge
BASELINE_M = 0.2
DISPARITY_JUMP_PX = 1.0
F1_THRESHOLDS = np.linspace(1.05, 1.25, 10)


def band_reach(height: int, width: int) -> int:
    """Reach [px] of the edge band in a frame of this size: one 256th of the long side, at least 1 (10 at 2560×1440)."""
    return max(1, round(max(height, width) * BAND_SHARE))


def edge_band(reference: np.ndarray) -> np.ndarray:
    """bool [H, W]: the pixels that count as edge; see ``depth_edge_band`` and ``band_reach``."""
    return depth_edge_band(reference, reach_px=band_reach(*reference.shape))


def disparity_edges(reference: np.ndarray, fx: float) -> np.ndarray:
    """bool [H, W]: both pixels of each pair of 4-neighbours whose disparity differs by more than 1 px.

    reference ``[H, W]`` m; fx: focal length [px] at this size. Disparity is that of a stereo camera with this focal length and a
    baseline of 0.2 m. A pair with an unknown depth is no edge.
    """
    disparity = np.full(reference.shape, np.nan, np.float32)
    np.divide(np.float32(fx * BASELINE_M), reference, out=disparity, where=both_known(reference, reference))
    return mark_both_sides(*(np.abs(np.diff(disparity, axis=axis)) > DISPARITY_JUMP_PX for axis in (1, 0)))


def soft_edge_error(depth: np.ndarray, reference: np.ndarray, fx: float) -> float:
    """SEE [m] (Chen et al. 2019; SMD-Nets, 2021): mean of ``soft_edge_errors``; NaN without any."""
    errors = soft_edge_errors(depth, reference, fx)
    return float(np.mean(errors, dtype=np.float64)) if errors.size else float("nan")


def soft_edge_errors(depth: np.ndarray, reference: np.ndarray, fx: float) -> np.ndarray:
    """How far the depth at an edge is from *either* side of the true edge, ``float32 [N]`` m.

    Over ``disparity_edges`` where ``depth [H, W]`` is known: min |r − d|, r being the known reference depths of the 3×3
    neighbourhood.
    """
    edges = disparity_edges(reference, fx) & both_known(depth, depth)
    rows, columns = np.nonzero(edges)
    known = np.where(both_known(reference, reference), reference, np.nan)
    padded = np.pad(known, 1, constant_values=np.nan)
    here = depth[rows, columns]
    nearest = np.full(rows.size, np.inf, np.float32)
    for dy in range(3):
        for dx in range(3):
            np.fmin(nearest, np.abs(padded[rows + dy, columns + dx] - here), out=nearest)  # fmin passes over the NaN of the unknown
    return nearest


def boundary_f1(depth: np.ndarray, reference: np.ndarray) -> float:
    """Scale-invariant boundary F1 (Depth Pro, arXiv 2410.02073, section 4): 0…1; NaN where the reference has no boundary.

    At threshold t a pixel bounds its neighbour if it is nearer by more than the factor t; left, right, upper and lower neighbours
    are four kinds of boundary. Precision and recall are means over the four kinds, a kind without boundaries counting as 0 (as in
    the authors' code); F1 is averaged over ten t from 1.05 to 1.25 with weight t. Only pairs that both maps know take part.
    """
    known = both_known(depth, reference)
    counts = np.stack([_counts(depth, reference, known, axis, nearer) for axis in (1, 0) for nearer in (0, 1)])
    hits, predicted, true = counts[:, 0], counts[:, 1], counts[:, 2]  # each [4 kinds, thresholds]
    if not true.any():
        return float("nan")
    recall, precision = (np.mean(hits / np.maximum(n, 1), axis=0) for n in (true, predicted))
    both = recall + precision
    f1 = np.where(both > 0, 2 * recall * precision / np.where(both > 0, both, 1), 0)
    return float(np.average(f1, weights=F1_THRESHOLDS))


def _counts(depth: np.ndarray, reference: np.ndarray, known: np.ndarray, axis: int, nearer: int) -> np.ndarray:
    """``int [3, thresholds]``: boundaries in both maps, depth, reference; nearer: 0 a pair's first pixel, 1 its second."""
    size = depth.shape[axis]
    first, second = ((slice(None),) * axis + (part,) for part in (slice(0, size - 1), slice(1, size)))
    near, far = (second, first) if nearer else (first, second)
    pairs = known[first] & known[second]
    levels = [_level(m[near], m[far], pairs) for m in (depth, reference)]
    either = (levels[0] > 0) | (levels[1] > 0)
    grades = F1_THRESHOLDS.size + 1
    cells = levels[0][either].astype(np.int64) * grades + levels[1][either]
    table = np.bincount(cells, minlength=grades * grades).reshape(grades, grades)
    # Sums over "level above k" turn the table of levels into counts at every threshold at once.
    above = table[::-1, ::-1].cumsum(0).cumsum(1)[::-1, ::-1]
    k = np.arange(1, grades)
    return np.stack([above[k, k], above[k, 0], above[0, k]])


def _level(near: np.ndarray, far: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """How many thresholds ``far / near`` exceeds, ``int8`` of their shape; 0 outside ``pairs``."""
    ratio = np.zeros(near.shape, np.float32)
    np.divide(far, near, out=ratio, where=pairs)
    level = np.zeros(near.shape, np.int8)
    above = ratio > float(F1_THRESHOLDS[0])
    level[above] = np.searchsorted(F1_THRESHOLDS, ratio[above], side="left")
    return level
