"""How far the boundaries of a depth map lie from the true ones, in pixels: depth boundary errors (Koch et al., 2018) on the edges
that SharpDepth's evaluation takes (arXiv 2411.18229): of depth and of inverse depth, by Canny's detector.

The detector is that of scikit-image, an interpolated suppression of what is no maximum included, up to the rounding of float32.
Other than there, the truth may be unknown in places (sky, holes): what is unknown takes no part in smoothing or scaling, and makes
no edge. Without a true edge there is no figure. Theirs leave predicted edges that are far from every true one out of accuracy, and
set no limit to completeness: by that one edge that is missing weighs as much as many that are out of place, and having none, which
counts 10 px, less than having some. Here every distance is limited to 10 px in both.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from depth_retrofit_ros.evaluation.metrics.pointwise import both_known

SIGMA_PX = 2**0.5  # of the smoothing
LOW, HIGH = 0.1, 0.2  # of the Sobel operator's magnitude, of values in 0…1
REACH_PX = 10.0  # an edge farther from every one of the other map is another edge, not one out of place
_BLUR_PX = 13  # four sigmas on each side


class BoundaryDistances(NamedTuple):
    """[px], less is better. accuracy: mean distance of the predicted edges to the true ones; completeness: of the true edges to the
    predicted ones. A distance counts ``REACH_PX`` at most, and both are that much, the worst there is, without a predicted edge."""

    accuracy: float
    completeness: float


def boundary_distances(depth: np.ndarray, reference: np.ndarray) -> BoundaryDistances:
    """Of depth ``float32 [H, W]`` from a reference ``float32 [H, W]``, of any two units; NaN where that has no edge."""
    known = both_known(depth, reference)
    predicted, true = depth_edges(depth, known), depth_edges(reference, known)
    if not true.any():
        return BoundaryDistances(float("nan"), float("nan"))
    if not predicted.any():
        return BoundaryDistances(REACH_PX, REACH_PX)
    found = (np.minimum(_distance(of)[at], REACH_PX) for of, at in ((true, predicted), (predicted, true)))
    return BoundaryDistances(*(float(distances.mean(dtype=np.float64)) for distances in found))


def depth_edges(depth: np.ndarray, known: np.ndarray) -> np.ndarray:
    """bool [H, W]: the edges of depth ``float32 [H, W]`` or of its inverse, each brought to 0…1 over the ``known`` pixels."""
    edges = np.zeros(depth.shape, bool)
    if not known.any():
        return edges
    values = np.where(known, depth, 1).astype(np.float32)
    for form in (values, np.reciprocal(values)):
        low, high = form[known].min(), form[known].max()
        if high > low:
            edges |= canny(np.where(known, (form - low) / (high - low), np.float32(0)), known)
    return edges


def canny(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """bool [H, W]: Canny's edges of ``float32 [H, W]``, which is 0 where it is not ``known``."""

    def blurred(part: np.ndarray) -> np.ndarray:
        size = (_BLUR_PX, _BLUR_PX)
        return np.asarray(cv2.GaussianBlur(part, size, SIGMA_PX, borderType=cv2.BORDER_CONSTANT))

    smooth = blurred(values) / (blurred(known.astype(np.float32)) + np.finfo(np.float32).eps)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, *order, ksize=3, borderType=cv2.BORDER_REFLECT) for order in ((1, 0), (0, 1)))
    size = cv2.magnitude(across, down)
    inner = cv2.erode(known.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    weak = np.zeros(known.shape, np.uint8)
    rows, columns = np.nonzero((inner > 0) & (size >= LOW))
    highest = _is_ridge(size, across[rows, columns], down[rows, columns], rows, columns)
    rows, columns = rows[highest], columns[highest]
    weak[rows, columns] = 1
    _, labels = cv2.connectedComponents(weak, connectivity=8)
    strong = np.unique(labels[rows, columns][size[rows, columns] >= HIGH])
    return np.asarray(np.isin(labels, strong) & (weak > 0))


def _is_ridge(size: np.ndarray, across: np.ndarray, down: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """bool [N]: whether ``size [H, W]`` falls to both sides of pixels along their gradients (across, down) ``[N]``; beside a pixel
    it is interpolated between the two of the eight neighbours that the gradient points between."""
    here = size[rows, columns]
    steep = np.abs(down) > np.abs(across)
    longer, shorter = np.where(steep, down, across), np.where(steep, across, down)
    share = np.abs(shorter) / np.maximum(np.abs(longer), np.finfo(np.float32).tiny)
    dy, dx = np.sign(down).astype(np.intp), np.sign(across).astype(np.intp)
    straight_y, straight_x = np.where(steep, dy, 0), np.where(steep, 0, dx)
    highest = np.ones(here.shape, bool)
    for side in (1, -1):
        straight = size[rows + side * straight_y, columns + side * straight_x]
        oblique = size[rows + side * dy, columns + side * dx]
        highest &= oblique * share + straight * (1 - share) <= here
    return highest


def _distance(edges: np.ndarray) -> np.ndarray:
    """``float64 [H, W]``: to the nearest of the edges [px]. Its square is a whole number, to which OpenCV, whose threads round
    differently from run to run, is brought back."""
    distance = np.asarray(cv2.distanceTransform((~edges).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float64)
    return np.asarray(np.sqrt(np.rint(distance * distance)))
