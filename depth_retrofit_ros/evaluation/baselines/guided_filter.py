"""The guided filter with a colour guide (He, Sun & Tang, "Guided image filtering", TPAMI 2013), by box sums."""

from __future__ import annotations

import cv2
import numpy as np


def guided_filter(guide: np.ndarray, values: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """``values [H, W]`` smoothed along the edges of ``guide [H, W, 3]``, both float32; → ``float32 [H, W]``.

    In every window of (2·radius + 1)² pixels (cut at the frame's border) the values are fitted by an affine function of the colour,
    ridge-regularised by ``epsilon`` (guide units squared); a pixel gets the mean prediction of the windows that contain it.
    """
    return _apply(_mean_fit(guide, values, radius, epsilon), guide)


def guided_upsample(guide: np.ndarray, coarse_guide: np.ndarray, coarse: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """``coarse [h, w]`` at the size of ``guide [H, W, 3]``, all float32 (the fast guided filter: He & Sun, arXiv 1505.00996).

    The fits are made on the coarse grid with ``coarse_guide [h, w, 3]`` (``radius`` in coarse pixels), enlarged bilinearly and
    applied to the full-size guide. Both grids cover the same field of view.
    """
    height, width = guide.shape[:2]
    fit = _mean_fit(coarse_guide, coarse, radius, epsilon)
    return _apply(cv2.resize(fit, (width, height), interpolation=cv2.INTER_LINEAR), guide)


def _apply(fit: np.ndarray, guide: np.ndarray) -> np.ndarray:
    """``fit [H, W, 4]``: slope per colour, offset."""
    out = fit[..., 3].copy()
    for c in range(3):
        out += fit[..., c] * guide[..., c]
    return out


def _mean_fit(guide: np.ndarray, values: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """The fits of the windows (equations 19 and 20 of the paper), averaged over those of each pixel: ``float32 [H, W, 4]``."""
    mean = _Mean(guide.shape[:2], radius)
    # About the overall means: float32 differences of squares lose less.
    center, level = guide.mean((0, 1)), values.mean()
    channel = [np.ascontiguousarray(guide[..., c] - center[c]) for c in range(3)]
    values = values - level
    mu, nu = [mean(c) for c in channel], mean(values)
    cross = [mean(c * values) - m * nu for c, m in zip(channel, mu, strict=True)]
    (rr, rg, rb), (gg, gb), (bb,) = (
        [mean(channel[i] * channel[j]) - mu[i] * mu[j] + (epsilon if i == j else 0) for j in range(i, 3)] for i in range(3)
    )
    slope = _solve_symmetric(rr, rg, rb, gg, gb, bb, *cross)
    offset = level + nu - sum(s * (m + c) for s, m, c in zip(slope, mu, center, strict=True))
    return np.stack([mean(m) for m in (*slope, offset)], axis=2)


def _solve_symmetric(
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray,
    d: np.ndarray,
    e: np.ndarray,
    f: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Solve [[a b c], [b d e], [c e f]]·s = [x y z] at every pixel by the adjugate."""
    aa, ab, ac = d * f - e * e, c * e - b * f, b * e - c * d
    bb, bc, cc = a * f - c * c, b * c - a * e, a * d - b * b
    determinant = a * aa + b * ab + c * ac
    return (
        (aa * x + ab * y + ac * z) / determinant,
        (ab * x + bb * y + bc * z) / determinant,
        (ac * x + bc * y + cc * z) / determinant,
    )


class _Mean:
    """Mean over the window around each pixel, of the pixels that lie inside the frame."""

    def __init__(self, shape: tuple[int, ...], radius: int) -> None:
        self._size = (2 * radius + 1, 2 * radius + 1)
        self._count = self._sum(np.ones(shape[:2], np.float32))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return self._sum(np.asarray(values, np.float32)) / self._count

    def _sum(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.boxFilter(values, -1, self._size, normalize=False, borderType=cv2.BORDER_CONSTANT))
