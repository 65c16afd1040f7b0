"""Sparse depth of a photo from a file, for models that take it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depth_retrofit_ros.errors import SparseDepthError
from depth_retrofit_ros.frame import SparseDepth
from depth_retrofit_ros.io.depth_files import read_depth_png
from depth_retrofit_ros.upsampling.interpolation import cell_index

_SAME_ASPECT = 0.02


def sparse_path(given: Path, name: str) -> Path:
    """Where the sparse depth of image ``name`` (without suffix) lies. given: the file itself, or the folder that has it."""
    return given / f"{name}.png" if given.is_dir() else given


def read_sparse(path: Path, height: int, width: int) -> SparseDepth:
    """A 16-bit PNG in mm (0 unknown) of any size that shows the view of the photo ``height x width``.

    Raises SparseDepthError, or OutputError for what is no such PNG; one line.
    """
    if not path.is_file():
        raise SparseDepthError(f"no sparse depth at {path}: give the file of this photo, or a folder with NAME.png for each")
    depth = read_depth_png(path)
    rows, columns = depth.shape
    if abs(rows * width - columns * height) > _SAME_ASPECT * rows * width:
        raise SparseDepthError(
            f"{path} is {columns}x{rows} and cannot show the view of a {width}x{height} photo: register it to it"
        )
    v, u = np.nonzero(np.isfinite(depth))
    pixels = cell_index(v, height, rows) * width + cell_index(u, width, columns)
    return SparseDepth(pixels, depth[v, u].astype(np.float64))
