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
    with NaN in ``true_map``, whose truth is unknown, take no part; NaN where all within reach are such.
    """
    purity, known = _purity(true_map, search.least_pure), true_map.isfinite()
    maps = (torch.where(known, m, 0.0).float().numpy() for m in (true_map, coarse_map - true_map, purity))
    padded = (np.pad(m, search.radius, mode="edge") for m in maps)
    how = search.radius, search.sigma, search.other, search.tail
    ratio, weight = _weighted_ratio(log_true.float().numpy(), rows.numpy(), columns.numpy(), *padded, *how)
    return torch.from_numpy(np.where(weight > 0, ratio, np.float32(np.nan)))


def _purity(true_map: torch.Tensor, least: float) -> torch.Tensor:
    """1 in the middle of a surface, ``least`` where a cell or its neighbours mix two. NaN cells are no neighbours."""
    unknown = true_map.isnan()
    sides = (m.masked_fill(unknown, -torch.inf)[None, None] for m in (true_map, -true_map))
    farthest, nearest = (F.max_pool2d(F.pad(m, (1, 1, 1, 1), mode="replicate"), 3, 1)[0, 0] for m in sides)
    return torch.exp(-(((farthest + nearest) / 0.1) ** 2)) + least


@cached_njit(fastmath=True)
def _weighted_ratio(
    log_true: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    true_map: np.ndarray,
    ratio: np.ndarray,
    purity: np.ndarray,
    radius: int,
    sigma: float,
    other: float,
    tail: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean ``ratio`` of the cells within ``radius``, by nearness, purity and likeness to the pixel's own depth, and their weight;
    the maps are padded by ``radius``."""
    side = 2 * radius + 1
    near = np.exp(-((np.arange(-radius, radius + 1) / radius) ** 2))
    out, weights = np.empty_like(log_true), np.empty_like(log_true)
    like = np.empty(side)
    for i in range(log_true.size):
        total, weight = 0.0, 0.0
        for row in range(side):
            cells = slice(columns[i], columns[i] + side)
            true, pure, ratios = true_map[rows[i] + row, cells], purity[rows[i] + row, cells], ratio[rows[i] + row, cells]
            # Three short loops: the first and the last have no branch and no call, and become vector instructions.
            for column in range(side):
                off = true[column] - log_true[i]
                like[column] = other / (1 + (off / tail) ** 2)
            for column in range(side):
                off = (true[column] - log_true[i]) / sigma
                if off * off < 16:
                    like[column] += np.exp(-off * off)
            for column in range(side):
                w = near[row] * near[column] * pure[column] * like[column]
                total += w * ratios[column]
                weight += w
        out[i], weights[i] = total / max(weight, 1e-30), weight
    return out, weights
