"""Surfaces that no coarse cell shows by itself: thin things, of which every cell is a mixture with what lies behind.

A cell that a thin thing covers to the share a has the inverse depth far + a·(near − far), and its colour is mixed alike. The
pixel's own colour tells a where the thing differs from its background (the compositing equation of image matting), and a tells how
near the thing is. Where colour tells nothing, the extremes of the surroundings remain, and an extrapolation beyond the nearest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from depth_retrofit_ros.device.thread_pool import THREAD_POOL
from depth_retrofit_ros.refinement.pixels.mixtures_cpu import mixture_kernel

WINDOWS = ((3, 2), (5, 3))  # of a mixture: side of the mean, reach to the background, both in cells
REACH = 2  # to the extremes
OVERSHOOT = 2.0  # of the extrapolated surface: times as far in front of the background as the nearest cell
COUNT = len(WINDOWS) + 3  # the mixtures; nearest, overshot and farthest
LEAST_SHARE = 0.1  # of a cell that a thing covers: below, the mixture says nothing about it
LEAST_OWN_COLOR = 0.01  # squared, in the unit of colours
CHANNELS = 8 * len(WINDOWS) + 9
MIXTURE_LAYOUT = (len(WINDOWS), LEAST_SHARE, LEAST_OWN_COLOR)
"""What the compiled pass takes as constants."""


@dataclass(frozen=True, slots=True)
class Extreme:
    """inverse ``[h, w]``: the highest or lowest inverse depth around each cell; color ``[3, h, w]``: of the cell that has it."""

    inverse: torch.Tensor
    color: torch.Tensor


def mixture_maps(depth: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """What ``mixture_candidates`` needs of each cell, ``float32 [h, w, CHANNELS]``.

    depth ``[h, w]``; image ``float32 [h, w, 3]``, the frame averaged to the coarse grid. Per window: inverse depth and colour of
    the background, then how much nearer, and of what other colour, the mean is. Then ln depth and colour of the nearest and of the
    farthest cell, and ln depth of the overshot surface.
    """
    if depth.device.type != "cpu":
        return mixture_maps_by_torch(depth, image)
    out = torch.empty(*depth.shape, CHANNELS)
    compiled = mixture_kernel(WINDOWS, REACH, OVERSHOOT)
    arguments = depth.reciprocal().numpy(), image.contiguous().numpy(), out.numpy(), np.zeros(1, np.int64)
    THREAD_POOL.run(lambda: compiled(*arguments))
    return out


def mixture_maps_by_torch(depth: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """``mixture_maps`` in plain torch: the specification of the compiled pass, and what runs on CUDA without Triton."""
    inverse, colors = depth.reciprocal(), image.permute(2, 0, 1).contiguous()
    parts = []
    for side, reach in WINDOWS:
        far = _extreme(-inverse, colors, reach)
        mean = _mean(torch.cat([inverse[None], colors]), side)
        parts += [-far.inverse[None], far.color, mean[:1] + far.inverse, mean[1:] - far.color]
    near, far = _extreme(inverse, colors, REACH), _extreme(-inverse, colors, REACH)
    beyond = -far.inverse + OVERSHOOT * (near.inverse + far.inverse)
    parts += [-near.inverse.log()[None], near.color, -(-far.inverse).log()[None], far.color, -beyond.log()[None]]
    return torch.cat(parts).permute(1, 2, 0).contiguous()


def mixture_candidates(rgb: torch.Tensor, cells: torch.Tensor, log_depth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """ln(candidate / upsampled coarse depth) and the distance of colour that speaks against it, both ``[K, COUNT]``.

    rgb ``[K, 3]``; cells ``[K, CHANNELS]`` of ``mixture_maps``; log_depth ``[K]`` of the upsampled coarse depth. A mixture's
    distance is that of the mean from the nearest mix of the pixel's colour with the background's.
    """
    log, distance = [], []
    for start in range(0, 8 * len(WINDOWS), 8):
        far, background, nearer, other = (
            cells[:, start],
            cells[:, start + 1 : start + 4],
            cells[:, start + 4],
            cells[:, start + 5 : start + 8],
        )
        own = rgb - background
        share = ((other * own).sum(1) / (own * own).sum(1).clamp_min(LEAST_OWN_COLOR)).clamp(LEAST_SHARE, 1)
        log.append(-(far + nearer / share).log())
        distance.append((other - share[:, None] * own).abs().mean(1))
    rest = cells[:, 8 * len(WINDOWS) :]
    to_near, to_far = ((rest[:, start + 1 : start + 4] - rgb).abs().mean(1) for start in (0, 4))
    log += [rest[:, 0], rest[:, 8], rest[:, 4]]
    distance += [to_near, to_near, to_far]
    return torch.stack(log, 1) - log_depth[:, None], torch.stack(distance, 1)


def _extreme(values: torch.Tensor, colors: torch.Tensor, reach: int) -> Extreme:
    """The highest of ``values [h, w]`` within ``reach`` cells, NaN passed over, and the colour there."""
    known = torch.where(values.isnan(), -torch.inf, values)
    padded = F.pad(known[None, None], (reach,) * 4, mode="replicate")
    highest, where = F.max_pool2d(padded, 2 * reach + 1, 1, return_indices=True)
    around = F.pad(colors[None], (reach,) * 4, mode="replicate")[0].flatten(1)
    highest = highest[0, 0].masked_fill(highest[0, 0] == -torch.inf, torch.nan)
    return Extreme(highest, around[:, where.flatten()].view(3, *values.shape))


def _mean(planes: torch.Tensor, side: int) -> torch.Tensor:
    """``[C, h, w]`` → the mean over ``side`` × ``side`` cells."""
    return F.avg_pool2d(F.pad(planes[None], (side // 2,) * 4, mode="replicate"), side, 1)[0]
