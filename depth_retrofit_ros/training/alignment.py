"""The target of refinement: true edges at the coarse model's own depths.

A coarse model is off by a factor that drifts over the scene, and no crop can tell by how much. Asked for the raw truth, a refiner
learns to guess that factor and does harm. So each true depth is multiplied by the coarse/true ratio *of its own surface* nearby:
the target keeps the coarse model's depth of every surface and the true position of every edge.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

RADIUS = 4  # coarse pixels
DEPTH_SIGMA = 0.06  # in ln depth: how alike two depths are to be one surface


def log_ratio(
    log_true: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, true_map: torch.Tensor, coarse_map: torch.Tensor
) -> torch.Tensor:
    """ln(coarse / true) of the surface at each pixel.

    log_true ``[K]`` at the pixels; rows, columns ``int64 [K]`` of the coarse cell of each; true_map, coarse_map ``[h, w]``: ln
    depth on the coarse grid. Where no nearby cell shows the same surface (a lost thin structure) the ratio around is taken.
    """
    ratio = coarse_map - true_map
    padded = F.pad(true_map[None, None], (1, 1, 1, 1), mode="replicate")
    spread = (F.max_pool2d(padded, 3, 1) + F.max_pool2d(-padded, 3, 1))[0, 0]
    pure = torch.exp(-((spread / 0.1) ** 2)) + 1e-3
    r = RADIUS
    table = torch.stack([F.pad(m[None, None], (r, r, r, r), mode="replicate")[0, 0] for m in (true_map, ratio, pure)], -1)
    width = table.shape[1]
    base = (rows + r) * width + columns + r
    flat = table.view(-1, 3)
    total, weight = torch.zeros_like(log_true), torch.zeros_like(log_true)
    for dy in range(-r, r + 1):
        for dx in range(-r, r + 1):
            t, q, p = flat[base + dy * width + dx].unbind(1)
            near = float(torch.exp(torch.tensor(-(dy * dy + dx * dx) / (r * r))))
            w = near * p * (torch.exp(-(((t - log_true) / DEPTH_SIGMA) ** 2)) + 1e-4)
            total += w * q
            weight += w
    return total / weight
