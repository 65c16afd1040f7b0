"""Which reference depth belongs to which image, and both on one grid."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection

import cv2
import numpy as np

from depth_retrofit_ros.errors import BagError

SAME_VIEW = 0.01  # relative difference of the aspect ratios that rounding a size to whole pixels explains


def match_stamps(images_ns: Collection[int], references_ns: Collection[int], tolerance_ns: int) -> dict[int, int]:
    """Image stamp → nearest reference stamp [ns], the earlier of two that are equally near; images without one within the
    tolerance are left out. One reference may serve two images, where it comes at a lower rate.
    """
    ordered = sorted(set(references_ns))
    matches = {}
    for stamp in images_ns:
        place = bisect_left(ordered, stamp)
        near = ordered[max(0, place - 1) : place + 1]
        best = min(near, key=lambda other: abs(other - stamp), default=None)
        if best is not None and abs(best - stamp) <= tolerance_ns:
            matches[stamp] = best
    return matches


def on_grid(depth: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map [H, W] at the pixel centres of a ``height x width`` image of the same view: the pixel that each centre lies in.

    Depth is sampled, never averaged: between two surfaces there is none. Raises BagError where the views differ.
    """
    h, w = depth.shape
    if (h, w) == (height, width):
        return depth
    require_same_view((h, w), (height, width))
    return np.asarray(cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))


def require_same_view(image: tuple[int, int], reference: tuple[int, int]) -> None:
    """Raises BagError where these sizes (H, W) are not of one aspect ratio, so that one cannot be the other's view."""
    (h, w), (height, width) = image, reference
    if abs(width * h - w * height) > SAME_VIEW * width * h:
        raise BagError(f"the reference depth is {width}x{height}, the image {w}x{h}: give a depth topic aligned to the image")
