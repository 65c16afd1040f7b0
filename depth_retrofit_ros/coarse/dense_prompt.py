"""Sparse depth → the small dense depth map that prompts a model."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from depth_retrofit_ros.coarse.input_size import long_side
from depth_retrofit_ros.frame import SparseDepth
from depth_retrofit_ros.upsampling.interpolation import cell_index

GRID = long_side(256, 1)
"""The prompts of Prompt Depth Anything's training are 192 x 256 (arXiv 2412.14015, section 3.2)."""


class DensePrompt(NamedTuple):
    """depth: ``float32 [h, w]`` in 0…1 between the nearest and the farthest that is known, near and far [m]."""

    depth: np.ndarray
    near: float
    far: float


def dense_prompt(sparse: SparseDepth, height: int, width: int) -> DensePrompt:
    """What is known of a frame ``height x width``, at least one depth, spread over it.

    A cell has the nearest of the depths within it, as what a sensor sees behind that is hidden from the camera; a cell without one
    has the depth of the closest cell that has. The authors spread the known points of their simulated sensor by their closest
    neighbours, too; one neighbour instead of several keeps edges, where a mean would hang in the air.
    """
    rows, columns = GRID.of(height, width)
    v, u = np.divmod(sparse.pixels, width)
    cells = cell_index(v, rows, height) * columns + cell_index(u, columns, width)
    order = np.argsort(-sparse.depth, kind="stable")  # the nearest is written last, and stays
    depth = np.zeros(rows * columns)
    depth[cells[order]] = sparse.depth[order]
    is_unknown = np.ones(rows * columns, np.uint8)
    is_unknown[cells] = 0
    _, closest = cv2.distanceTransformWithLabels(
        is_unknown.reshape(rows, columns), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    labels, known = closest.ravel(), np.flatnonzero(is_unknown == 0)
    of_label = np.zeros(int(labels.max()) + 1)
    of_label[labels[known]] = depth[known]
    near, far = float(depth[known].min()), float(depth[known].max())
    spread = of_label[labels].reshape(rows, columns)
    return DensePrompt(((spread - near) / max(far - near, 1e-6)).astype(np.float32), near, far)
