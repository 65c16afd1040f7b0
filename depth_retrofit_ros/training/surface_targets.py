"""The target of refinement: true edges at the coarse model's own depths.

A coarse model is off by a factor that drifts over the scene, and no crop can tell by how much. Asked for the raw truth, a refiner
learns to guess that factor and does harm. So each true depth is multiplied by the coarse/true ratio *of its own surface* nearby:
the target keeps the coarse model's depth of every surface and the true position of every edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from depth_retrofit_ros.device.kernel_cache import cached_njit

LANES = 16  # columns of the search at once: as many float32 as the widest vectors have
# Of u in exp(-x²) = (e^-u)^256: 1e-36 is left there, an ordinary float32. Of a larger u a subnormal would be, which takes a hundred
# times as long to multiply with.
FARTHEST = np.float32(0.33)


@dataclass(frozen=True, slots=True)
class SurfaceSearch:
    """Where the surface of a pixel is looked for, and how.

    radius: in coarse cells; sigma: in ln depth, how alike two depths are to be one surface; other, tail: what a cell of another
    surface counts, of about the same depth or, falling off as a Cauchy density, ``tail`` in ln depth away; least_pure: what a cell
    counts at least, however mixed it is. Where no cell shows the pixel's surface, the pure ones of the most similar depth decide: a
    thin thing takes the ratio of the surfaces around it, rather of near ones, and not that of its own smear. The values are those
    of docs/ablations.md.
    """

    radius: int = 12
    sigma: float = 0.06
    other: float = 0.01
    tail: float = 0.6
    least_pure: float = 1e-4


def log_ratio(
    log_true: torch.Tensor,
    rows: torch.Tensor,
    columns: torch.Tensor,
    true_map: torch.Tensor,
    coarse_map: torch.Tensor,
    search: SurfaceSearch = SurfaceSearch(),
) -> torch.Tensor:
    """ln(coarse / true) of the surface at each pixel.

    log_true ``[K]`` at the pixels; rows, columns ``int64 [K]`` of the coarse cell of each; true_map, coarse_map ``[h, w]``: ln
    depth on the coarse grid. Where no nearby cell shows the same surface (a lost thin structure) the ratio around is taken. Cells
    where either map is not finite take no part; NaN where all within reach are such.
    """
    purity, known = _purity(true_map, search.least_pure), true_map.isfinite() & coarse_map.isfinite()
    maps = (torch.where(known, m, 0.0).float().numpy() for m in (true_map, coarse_map - true_map, purity))
    span = -(-(2 * search.radius + 1) // LANES) * LANES  # columns at once, those beyond the search without weight
    right = search.radius + span - (2 * search.radius + 1)
    sides = (search.radius, search.radius), (search.radius, right)
    flat = (np.pad(m, sides, mode="edge").ravel() for m in maps)
    width = true_map.shape[1] + search.radius + right
    offsets = np.arange(span) - search.radius
    near = np.where(offsets <= search.radius, np.exp(-((offsets / search.radius) ** 2)), 0).astype(np.float32)
    how = (np.float32(value) for value in (1 / search.sigma, search.other, 1 / search.tail))
    pixels = log_true.float().numpy(), rows.numpy(), columns.numpy()
    ratio, weight = _weighted_ratio(*pixels, *flat, near, width, search.radius, *how)
    return torch.from_numpy(np.where(weight > 0, ratio, np.float32(np.nan)))


def _purity(true_map: torch.Tensor, least: float) -> torch.Tensor:
    """1 in the middle of a surface, ``least`` where a cell or its neighbours mix two. Unknown cells are no neighbours."""
    unknown = ~true_map.isfinite()
    sides = (m.masked_fill(unknown, -torch.inf)[None, None] for m in (true_map, -true_map))
    farthest, nearest = (F.max_pool2d(F.pad(m, (1, 1, 1, 1), mode="replicate"), 3, 1)[0, 0] for m in sides)
    return torch.exp(-(((farthest + nearest) / 0.1) ** 2)) + least


@cached_njit(fastmath=True, error_model="numpy")
def _weighted_ratio(
    log_true: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    true_map: np.ndarray,
    ratio: np.ndarray,
    purity: np.ndarray,
    near: np.ndarray,
    width: int,
    radius: int,
    per_sigma: float,
    other: float,
    per_tail: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean ``ratio`` of the cells within ``radius``, by nearness, purity and likeness to the pixel's own depth, and their weight.

    The maps are flat, of that width, padded by ``radius``, on the right so far that a row of ``near`` fits. All in float32 without
    calls or branches, so that the loop over columns becomes vector instructions.
    """
    one, half, part = np.float32(1), np.float32(0.5), np.float32(1 / 256)
    span = near.size
    out, weights = np.empty_like(log_true), np.empty_like(log_true)
    for i in range(log_true.size):
        own, total, weight = log_true[i], np.float32(0), np.float32(0)
        for row in range(2 * radius + 1):
            first = np.uint64((rows[i] + row) * width + columns[i])  # unsigned, for which no index is looked at twice
            row_total, row_weight = np.float32(0), np.float32(0)
            for column in range(np.uint64(span)):
                off = true_map[first + column] - own
                far, near_sigma = off * per_tail, off * per_sigma
                u = min(near_sigma * near_sigma * part, FARTHEST)
                like = one - u + half * u * u  # e^−u for a small u = x²/256; its 256th power is exp(−x²) to 1e-5
                like *= like
                like *= like
                like *= like
                like *= like
                like *= like
                like *= like
                like *= like
                like *= like
                w = near[column] * purity[first + column] * (like + other / (one + far * far))
                row_total += w * ratio[first + column]
                row_weight += w
            total += near[row] * row_total
            weight += near[row] * row_weight
        out[i], weights[i] = total / max(weight, np.float32(1e-30)), weight
    return out, weights
