"""The last step of the sparse refiner: a median over the neighbours of like colour (Ma et al., ICCV 2013, "Constant time weighted
median filtering for stereo matching and beyond").

Each pixel has chosen its surface for itself. Where a pixel chose otherwise than its neighbours of the same colour it is mostly
wrong; their median mends it, and as it is the depth of one of them it makes nothing that lies between two surfaces.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from depth_retrofit_ros.device.buffers import BufferPool
from depth_retrofit_ros.device.launches import has_kernels
from depth_retrofit_ros.device.thread_pool import THREAD_POOL
from depth_retrofit_ros.refinement.pixels.median_cpu import median_kernel
from depth_retrofit_ros.sparse.pixel_set import PixelSet

REACH = 3  # px to each side
FARTHEST_COLOR = 40.0  # Euclidean distance of two colours in 0…255, from which on the one counts nothing for the other
UNIT = 16.0  # of weights: whole numbers add up without rounding, so that every device finds the same median
HALVINGS = 8  # of the range in which the median is looked for: by the bits of depth / least depth, nearly its logarithm
POOL = BufferPool()


def color_median(depth: torch.Tensor, image: torch.Tensor, pixels: PixelSet) -> torch.Tensor:
    """Weighted medians ``float32 [K]`` at the active pixels of ``depth float32 [H, W]`` > 0, by the frame ``uint8 [H, W, 3]``.

    A neighbour at the squared distance c of colours counts (``FARTHEST_COLOR``² − c)², in whole ``UNIT``s; one beyond that, one
    outside of the frame and one without a finite depth nothing. The median is the depth of a neighbour: the nearest above the bound
    to which, after ``HALVINGS`` bisections, less than half of the weight lies. What is not finite stays.
    """
    if has_kernels(depth.device):
        from depth_retrofit_ros.refinement.pixels import median_triton

        return median_triton.color_median(depth, image, pixels.indices, REACH, FARTHEST_COLOR, UNIT, HALVINGS)
    if depth.device.type != "cpu":
        return color_median_by_torch(depth, image, pixels.indices)
    POOL.sweep()
    out = POOL.empty((pixels.count,))
    arrays = depth.numpy(), image.contiguous().numpy(), pixels.indices.numpy(), out.numpy()
    constants = *(np.float32(constant) for constant in (FARTHEST_COLOR**2, 1 / UNIT)), np.zeros(1, np.int64)
    compiled = median_kernel(REACH, HALVINGS)
    THREAD_POOL.run(lambda: compiled(*arrays, *constants))
    return out


def color_median_by_torch(depth: torch.Tensor, image: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """``color_median`` at flat indices ``int64 [K]`` in plain torch: the specification of the compiled passes."""
    width = depth.shape[1]
    padded_width = width + 2 * REACH
    around = F.pad(depth[None, None], (REACH,) * 4, value=torch.nan).flatten()
    colors = F.pad(image.permute(2, 0, 1)[None].float(), (REACH,) * 4).view(3, -1)
    first = indices // width * padded_width + indices % width  # of the window in the padded frame
    steps = torch.arange(2 * REACH + 1, device=depth.device)
    window = first[:, None] + (steps[:, None] * padded_width + steps).flatten()
    own = depth.flatten()[indices]
    values = around[window]
    apart = (colors[:, window] - colors[:, window[:, window.shape[1] // 2]][..., None]).square().sum(0)
    weights = ((FARTHEST_COLOR**2 - apart).clamp_min(0).square() / UNIT).floor().masked_fill(~values.isfinite(), 0)
    seen = weights > 0
    least = torch.where(seen, values, torch.inf).amin(1)
    high = (torch.where(seen, values, 0).amax(1) / least).view(torch.int32)
    low = torch.ones_like(least).view(torch.int32) - 1
    half = weights.sum(1) / 2
    for _ in range(HALVINGS):
        middle = low + ((high - low) >> 1)
        bound = least * middle.view(torch.float32)
        enough = torch.where(values <= bound[:, None], weights, 0).sum(1) >= half
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    bound = least * low.view(torch.float32)
    median = torch.where(seen & (values > bound[:, None]), values, torch.inf).amin(1)
    return torch.where(own.isfinite(), median, own)
