"""Joint bilateral upsampling (Kopf, Cohen, Lischinski & Uyttendaele, SIGGRAPH 2007)."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.upsampling.interpolation import coarse_position

RADIUS = 2  # coarse pixels: a window of 5×5, as in the paper


def joint_bilateral_upsample(
    guide: np.ndarray, coarse_guide: np.ndarray, coarse: np.ndarray, sigma_space: float, sigma_color: float
) -> np.ndarray:
    """``coarse [h, w]`` at the size of ``guide [H, W, 3]`` → ``float32 [H, W]``.

    Each fine pixel is the mean of the 5×5 coarse values around it, weighted by a Gaussian of their distance (``sigma_space``
    [coarse px]) and one of the colour difference (``sigma_color``) between the pixel and the coarse pixel, ``coarse_guide [h, w,
    3]``. Colours are float32, of one unit. Both grids cover the same field of view.
    """
    height, width = guide.shape[:2]
    out = np.empty((height, width), np.float32)
    space, color = 0.5 / sigma_space**2, 0.5 / sigma_color**2
    rows, columns = (
        coarse_position(np.arange(n), low, n).astype(np.float32) for n, low in zip(out.shape, coarse.shape, strict=True)
    )
    values = np.asarray(coarse, np.float32)
    _upsample(guide, coarse_guide, values, rows, columns, np.float32(space), np.float32(color), out)
    return out


@cached_njit(nogil=True, fastmath=True)
def _upsample(
    guide: np.ndarray,
    coarse_guide: np.ndarray,
    coarse: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    space: np.float32,
    color: np.float32,
    out: np.ndarray,
) -> None:
    """rows, columns: where the fine rows and columns lie on the coarse grid."""
    height, width = out.shape
    h, w = coarse.shape
    side = 2 * RADIUS + 1
    for y in range(height):
        exponent = np.empty(side * side, np.float32)
        value = np.empty(side * side, np.float32)
        v = rows[y]
        middle_v = int(np.floor(v + np.float32(0.5)))
        for x in range(width):
            u = columns[x]
            middle_u = int(np.floor(u + np.float32(0.5)))
            count = 0
            least = np.float32(np.inf)
            for j in range(max(0, middle_v - RADIUS), min(h, middle_v + RADIUS + 1)):
                for i in range(max(0, middle_u - RADIUS), min(w, middle_u + RADIUS + 1)):
                    red = guide[y, x, 0] - coarse_guide[j, i, 0]
                    green = guide[y, x, 1] - coarse_guide[j, i, 1]
                    blue = guide[y, x, 2] - coarse_guide[j, i, 2]
                    far = space * ((v - j) * (v - j) + (u - i) * (u - i)) + color * (red * red + green * green + blue * blue)
                    exponent[count] = far
                    value[count] = coarse[j, i]
                    count += 1
                    least = min(least, far)
            # Relative to the largest weight: where nothing looks alike the ratio of the weights is still right.
            total, weight = np.float32(0), np.float32(0)
            for k in range(count):
                share = np.exp(least - exponent[k])
                total += share * value[k]
                weight += share
            out[y, x] = total / weight
