"""Depth as a picture for people: near is warm, far is cold, unknown is dark grey."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

UNKNOWN_RGB = (40, 40, 40)

# Indices 0…254 carry colour; 255 is kept for "unknown", so that one look-up paints everything.
UNKNOWN = 255
SHARES = (0.02, 0.98)  # of the known depth, nearer than the warmest colour and nearer than the coldest
_SAMPLES = 40_000


@cache
def palette() -> np.ndarray:
    """``uint8 [256, 1, 3]`` RGB, far → near, the last entry for unknown depth."""
    turbo = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)
    colors = np.ascontiguousarray(turbo[..., ::-1])
    colors[UNKNOWN] = UNKNOWN_RGB
    return colors


def sample_step(height: int, width: int) -> int:
    """Pixels between the samples that ``depth_range`` takes, in both directions."""
    return max(1, int((height * width / _SAMPLES) ** 0.5))


def depth_range(depth: np.ndarray) -> tuple[float, float] | None:
    """(near, far): the 2nd and 98th percentile of the known depth, taken from a regular sample; None where nothing is known.

    Percentiles, because a few flying or far-away pixels must not decide the colours of all others.
    """
    step = sample_step(*depth.shape)
    sample = depth[::step, ::step]
    known = sample[_is_known(sample)]
    if known.size == 0:
        known = depth[_is_known(depth)]
    if known.size == 0:
        return None
    near, far = np.percentile(known, [100 * share for share in SHARES])
    return float(near), float(far)


def colorize(depth: np.ndarray, near_far: tuple[float, float] | None = None, out: np.ndarray | None = None) -> np.ndarray:
    """Colour a depth map by its inverse, which spends the colours where a robot looks: near.

    depth: ``float32 [H, W]``, unknown where not finite or not positive. near_far: depths of the warmest and coldest colour, by
    default ``depth_range(depth)``. out: ``uint8 [H, W, 3]`` to write into. Returns RGB.
    """
    near_far = near_far or depth_range(depth) or (1.0, 2.0)
    near, far = near_far
    cold, warm = 1.0 / far, 1.0 / near
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.reciprocal(depth)
        level -= np.float32(cold)
        level *= np.float32((UNKNOWN - 1) / max(warm - cold, 1e-9 * warm))
    np.clip(level, 0, UNKNOWN - 1, out=level)
    np.copyto(level, UNKNOWN, where=~_is_known(depth))
    return np.asarray(cv2.applyColorMap(level.astype(np.uint8), palette(), dst=out))


def colorize_normals(normals: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Unit normals ``float32 [3, H, W]`` in the customary colours: red to the right, green up, blue towards the camera, each from 0
    for the opposite direction; unknown is dark grey. out: ``uint8 [H, W, 3]`` to write into. Returns RGB."""
    picture = np.empty((*normals.shape[1:], 3), np.uint8) if out is None else out
    with np.errstate(invalid="ignore"):
        for channel, (plane, sign) in enumerate(zip(normals, (1, -1, -1), strict=True)):
            np.copyto(picture[..., channel], plane * np.float32(127.5 * sign) + np.float32(128), casting="unsafe")
    picture[np.isnan(normals[0])] = UNKNOWN_RGB
    return picture


def _is_known(depth: np.ndarray) -> np.ndarray:
    return (depth > 0) & (depth < np.inf)  # false for NaN as well
