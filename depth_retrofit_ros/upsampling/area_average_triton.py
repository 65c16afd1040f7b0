"""``area_average.box_average`` of a frame in one kernel, for CUDA."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from depth_retrofit_ros.device.launches import launch

BLOCK = 32  # cells of a program


@triton.jit
def average_kernel(
    image: tl.tensor,  # uint8 [height, width, 3]
    out: tl.tensor,  # float32 [3, h, w]
    height: tl.tensor,
    width: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    WIDEST: tl.constexpr,  # columns that a cell can touch
    BLOCK: tl.constexpr,
) -> None:
    """Grid: rows of cells, blocks of cells. The ends of a cell, row · height / h, are whole numbers over h: exact in integers."""
    row, column = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = column < w
    first_y, last_y = row * height // h, ((row + 1) * height + h - 1) // h
    first_x, end_x = column * width // w, (column + 1) * width
    red = tl.zeros((BLOCK,), tl.float32)
    green, blue = red, red
    for y in range(first_y, last_y):
        tall = tl.minimum((row + 1) * height, (y + 1) * h) - tl.maximum(row * height, y * h)
        line_r = tl.zeros((BLOCK,), tl.float32)
        line_g, line_b = line_r, line_r
        for i in range(WIDEST):
            x = first_x + i
            wide = tl.minimum(end_x, (x + 1) * w) - tl.maximum(column * width, x * w)
            share = tl.maximum(wide, 0).to(tl.float32) / width
            used = there & (x < width) & (wide > 0)
            pixel = image + (y * width + x) * 3
            line_r += share * tl.load(pixel, used, 0).to(tl.float32)
            line_g += share * tl.load(pixel + 1, used, 0).to(tl.float32)
            line_b += share * tl.load(pixel + 2, used, 0).to(tl.float32)
        share_y = tall.to(tl.float32) / height
        red += share_y * line_r
        green += share_y * line_g
        blue += share_y * line_b
    place = out + row.to(tl.int64) * w + column
    tl.store(place, red / 255.0, there)
    tl.store(place + h * w, green / 255.0, there)
    tl.store(place + 2 * h * w, blue / 255.0, there)


def average(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """image ``uint8 [H, W, 3]`` → ``float32 [3, h, w]`` 0…1, the mean over each cell's own area; size: (h, w), no larger than
    the frame."""
    (height, width), (h, w) = image.shape[:2], size
    out = torch.empty(3, h, w, device=image.device)
    widest = -(-width // w) + 1
    sizes = height, width, h, w
    launch(average_kernel, (h, triton.cdiv(w, BLOCK)), image.contiguous(), out, *sizes, WIDEST=widest, BLOCK=BLOCK)
    return out
