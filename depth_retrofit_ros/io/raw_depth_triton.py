"""``raw_depth.fill_millimeters`` in one kernel, for CUDA."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from depth_retrofit_ros.device.launches import launch

BLOCK = 1024  # pixels of a program


@triton.jit
def millimeters_kernel(
    depth: tl.tensor,  # float32 [count], metres
    out: tl.tensor,  # int16 [count], the bits of uint16
    count: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = pixel < count
    rounded = tl.load(depth + pixel, there, 0.0) * 1000.0 + 0.5
    known = (rounded >= 1.0) & (rounded < 65536.0)
    tl.store(out + pixel, tl.where(known, rounded, 0.0).to(tl.int32).to(tl.int16), there)


def millimeters(depth: torch.Tensor) -> torch.Tensor:
    """Depth ``float32 [H, W]`` m → ``int16 [H, W]`` that holds the bits of uint16; see ``fill_millimeters``."""
    out = torch.empty(depth.shape, dtype=torch.int16, device=depth.device)
    programs = (triton.cdiv(depth.numel(), BLOCK),)
    launch(millimeters_kernel, programs, depth.contiguous(), out, depth.numel(), BLOCK=BLOCK)
    return out
