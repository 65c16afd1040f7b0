"""``organized.fill_cloud`` on a CUDA device: one kernel, so that only the finished points leave it."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from depth_retrofit_ros.device.launches import launch
from depth_retrofit_ros.pointcloud.organized import cloud_size

POINTS = 512  # per program


@triton.jit
def _fill(
    depth: tl.tensor,  # float32 [height, width]
    image: tl.tensor,  # uint8 [height, width, 3]
    x_slope: tl.tensor,  # float32 [width]
    y_slope: tl.tensor,  # float32 [height]
    out: tl.tensor,  # float32 [rows, columns, 4]
    count: tl.tensor,  # rows · columns
    columns: tl.tensor,
    width: tl.tensor,
    stride: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    point = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = point < count
    v, u = point // columns * stride, point % columns * stride
    z = tl.load(depth + v * width + u, mask=inside, other=0.0)
    z = tl.where((z > 0.0) & (z < float("inf")), z, float("nan"))
    tl.store(out + 4 * point, tl.load(x_slope + u, mask=inside, other=0.0) * z, mask=inside)
    tl.store(out + 4 * point + 1, tl.load(y_slope + v, mask=inside, other=0.0) * z, mask=inside)
    tl.store(out + 4 * point + 2, z, mask=inside)
    pixel = image + 3 * (v * width + u)
    red = tl.load(pixel, mask=inside, other=0).to(tl.int32)
    green = tl.load(pixel + 1, mask=inside, other=0).to(tl.int32)
    blue = tl.load(pixel + 2, mask=inside, other=0).to(tl.int32)
    packed = (red << 16) | (green << 8) | blue
    tl.store(out + 4 * point + 3, packed.to(tl.float32, bitcast=True), mask=inside)


def make_cloud_on_device(
    depth: torch.Tensor, image: torch.Tensor, slopes: tuple[torch.Tensor, torch.Tensor], stride: int = 1
) -> torch.Tensor:
    """depth ``float32 [H, W]``, image ``uint8 [H, W, 3]`` and the camera's ``RaySlopes`` on one device → ``float32 [h, w, 4]``
    there; see ``fill_cloud``."""
    rows, columns = cloud_size(depth.shape[0], depth.shape[1], stride)
    out = torch.empty((rows, columns, 4), device=depth.device)
    width, programs = depth.shape[1], (triton.cdiv(rows * columns, POINTS),)
    tensors = depth.contiguous(), image.contiguous(), *slopes, out
    launch(_fill, programs, *tensors, rows * columns, columns, width, stride, BLOCK=POINTS)
    return out
