"""Pictures compared with small stored ones (test/golden/*.png), within a tolerance for rounding and no more.

``UPDATE_GOLDEN=1 make golden`` stores them anew. A comparison that fails leaves the new picture and what differs in out/golden/.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.io.depth_files import write_image
from test.paths import ROOT

STORED = ROOT / "test" / "golden"
FAILED = ROOT / "out" / "golden"
UPDATE_VARIABLE = "UPDATE_GOLDEN"
LARGEST = 20_000  # bytes of a stored picture

STEP = 8  # levels of a channel that are stored as one: keeps the files small
SEEN = 2 * STEP  # from which on a pixel counts as another one: more than any rounding
OTHERS = 0.005  # the share of other pixels that is tolerated: rounding can move the edge of a color


def other_pixels(picture: np.ndarray, golden: np.ndarray) -> np.ndarray:
    """bool [H, W]: which pixels of two pictures ``uint8 [H, W, 3]`` are not the same."""
    return np.asarray(np.abs(picture.astype(int) - golden).max(axis=2) >= SEEN)


def is_like(picture: np.ndarray, golden: np.ndarray) -> bool:
    """Whether the two show the same."""
    return picture.shape == golden.shape and float(other_pixels(picture, golden).mean()) <= OTHERS


def check(name: str, picture: np.ndarray, stored: Path = STORED, failed: Path = FAILED) -> None:
    """``picture`` (RGB ``uint8 [H, W, 3]``) is that of ``stored``/name.png, or the test fails; with ``UPDATE_GOLDEN=1`` it becomes
    that."""
    path, picture = stored / f"{name}.png", picture // STEP * STEP
    if os.environ.get(UPDATE_VARIABLE):
        cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
        assert path.stat().st_size <= LARGEST, f"{path} has {path.stat().st_size} bytes: show less"
        return
    golden = read(path)
    if is_like(picture, golden):
        return
    failed.mkdir(parents=True, exist_ok=True)
    write_image(failed / f"{name}.new.png", picture)
    told = f"{picture.shape[1]}x{picture.shape[0]} instead of {golden.shape[1]}x{golden.shape[0]} pixels"
    if picture.shape == golden.shape:
        others = other_pixels(picture, golden)
        write_image(failed / f"{name}.difference.png", np.where(others[..., None], picture, golden // 4))
        told = f"{others.mean():.1%} of the pixels are others"
    pytest.fail(f"{name} is not that of {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}: {told}; see {failed}")


def read(path: Path) -> np.ndarray:
    """RGB ``uint8 [H, W, 3]``."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert picture is not None, f"{path} is missing: {UPDATE_VARIABLE}=1 makes it"
    return np.ascontiguousarray(picture[..., ::-1])
