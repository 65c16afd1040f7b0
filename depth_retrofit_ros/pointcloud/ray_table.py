"""The cloud of an image whose pixels have rays of their own: a fisheye's that stays one. The layout is that of ``organized``."""

from __future__ import annotations

import numpy as np
import torch

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.pointcloud.organized import cloud_size


def fill_cloud_along(depth: np.ndarray, image: np.ndarray, slopes: np.ndarray, out: np.ndarray, stride: int = 1) -> None:
    """Write the cloud of every ``stride``-th pixel into ``out``; see ``organized.fill_cloud``.

    slopes: ``x/z`` and ``y/z`` of each pixel's ray, ``float32 [H, W, 2]``; NaN gives a point of NaN.
    """
    height, width = depth.shape
    rows, columns = cloud_size(height, width, stride)
    if image.shape != (height, width, 3) or slopes.shape != (height, width, 2):
        raise ValueError(f"depth {depth.shape}, image {image.shape} and rays {slopes.shape} must agree in size")
    if out.shape != (rows, columns, 4) or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ValueError(f"out must be contiguous float32 {[rows, columns, 4]}, not {out.dtype} {list(out.shape)}")
    _fill(depth, image, slopes, stride, out, out.view(np.uint32))


@cached_njit(nogil=True)
def _fill(depth: np.ndarray, image: np.ndarray, slopes: np.ndarray, stride: int, xyz: np.ndarray, packed: np.ndarray) -> None:
    """xyz: ``float32 [h, w, 4]``; packed: the same memory as uint32."""
    for row in range(xyz.shape[0]):
        v = row * stride
        for column in range(xyz.shape[1]):
            u = column * stride
            z = depth[v, u]
            if not (z > 0.0 and z < np.inf) or np.isnan(slopes[v, u, 0]):
                z = np.float32(np.nan)
            xyz[row, column, 0] = slopes[v, u, 0] * z
            xyz[row, column, 1] = slopes[v, u, 1] * z
            xyz[row, column, 2] = z
            red, green, blue = np.uint32(image[v, u, 0]), np.uint32(image[v, u, 1]), np.uint32(image[v, u, 2])
            packed[row, column, 3] = (red << np.uint32(16)) | (green << np.uint32(8)) | blue


def compile_cloud_along() -> None:
    """Compile ``fill_cloud_along`` now, as ``organized.compile_cloud`` does it."""
    depth, image, slopes = np.ones((2, 2), np.float32), np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 2), np.float32)
    fill_cloud_along(depth, image, slopes, np.empty((2, 2, 4), np.float32))


def cloud_along(depth: torch.Tensor, image: torch.Tensor, slopes: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """The same of tensors on one device, ``float32 [h, w, 4]``; its specification."""
    depth, image, slopes = depth[::stride, ::stride], image[::stride, ::stride].int(), slopes[::stride, ::stride]
    known = (depth > 0) & (depth < torch.inf) & ~slopes[..., 0].isnan()
    z = depth.masked_fill(~known, torch.nan)[..., None]
    color = (image[..., :1] << 16) | (image[..., 1:2] << 8) | image[..., 2:]
    return torch.cat((slopes * z, z, color.view(torch.float32)), -1)
