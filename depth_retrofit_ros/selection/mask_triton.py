"""The picture of the selected pixels in one kernel, for CUDA."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from depth_retrofit_ros.device.launches import launch

BLOCK = 1024  # pixels of a program


@triton.jit
def mask_kernel(
    index_image: tl.tensor,  # int32 [count]
    out: tl.tensor,  # uint8 [count]
    count: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = pixel < count
    chosen = tl.load(index_image + pixel, there, -1) >= 0
    tl.store(out + pixel, tl.where(chosen, 255, 0).to(tl.uint8), there)


def picture(index_image: torch.Tensor) -> torch.Tensor:
    """``int32 [H, W]`` of a ``PixelSet`` → ``uint8 [H, W]``, 255 at its pixels, 0 elsewhere."""
    out = torch.empty(index_image.shape, dtype=torch.uint8, device=index_image.device)
    count = index_image.numel()
    launch(mask_kernel, (triton.cdiv(count, BLOCK),), index_image.contiguous(), out, count, BLOCK=BLOCK)
    return out
