"""Depth as files: 16-bit PNG, float NumPy, and pictures side by side."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import NoRoomError, OutputError

MILLIMETER = 1e-3
_PNG_MAX = 65535
_RELATIVE_MEDIAN = 8192  # PNG value of the median of a relative depth map, 1/8192 of which is resolved, unless that is too fine
_LEAST_MEDIAN = 256  # its least one


@dataclass(frozen=True, slots=True)
class PngDepth:
    """How a depth map was put into 16 bits: ``depth = value * unit``, 0 where unknown.

    unit: metres (0.001) for metric depth, else in the map's own relative unit. beyond: known pixels that lie too far
    for 16 bits and are 0 too (the float file has them).
    """

    unit: float
    beyond: int


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tells a failure to write ``path`` as OutputError, one line; NoRoomError where it is of the disk rather than of this file."""
    try:
        yield
    except OSError as error:
        kind = NoRoomError if error.errno in _NO_ROOM else OutputError
        raise kind(f"cannot write {path} ({error.strerror}): choose a writable --out with free space") from None


def make_folder(path: Path) -> Path:
    """The folder, made with its parents where absent. Raises OutputError."""
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def write_text(path: Path, text: str) -> None:
    """UTF-8; what is none, such as the bytes of a file name, as its escape. Raises OutputError."""
    with writing(path):
        path.write_text(text, encoding="utf-8", errors="backslashreplace")


def copy_file(source: Path, path: Path) -> None:
    """``source`` as ``path``, where they are not the same file. Raises OutputError."""
    with writing(path), suppress(shutil.SameFileError):
        shutil.copyfile(source, path)


def write_image(path: Path, image: np.ndarray) -> None:
    """``uint8 [H, W, 3]`` RGB or ``uint16 [H, W]`` in the format of the suffix (``.png``, ``.jpg``). Raises OutputError."""
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    ok, data = cv2.imencode(path.suffix, pixels)
    if not ok:
        raise ValueError(f"OpenCV cannot encode {image.dtype} {list(image.shape)} as {path.suffix}")
    with writing(path):
        path.write_bytes(data.tobytes())


def write_depth_png(path: Path, depth: np.ndarray, metric: bool) -> PngDepth:
    """``float32 [H, W]`` as a 16-bit PNG: millimetres where ``metric`` (REP-118's raw form), else see ``PngDepth``.

    Relative depth has a unit in which its farthest fits, too, as long as the median is left with ``_LEAST_MEDIAN`` of them.
    """
    known = np.isfinite(depth) & (depth > 0)
    median, farthest = (float(np.median(depth[known])), float(depth[known].max())) if known.any() else (1.0, 1.0)
    unit = MILLIMETER if metric else min(max(median / _RELATIVE_MEDIAN, farthest / _PNG_MAX), median / _LEAST_MEDIAN)
    with np.errstate(invalid="ignore", over="ignore"):
        counts = np.rint(depth / np.float32(unit))
        fits = known & (counts <= _PNG_MAX)
    write_image(path, np.where(fits, counts, 0).astype(np.uint16))
    return PngDepth(unit, int(np.count_nonzero(known & ~fits)))


def read_depth_png(path: Path, unit: float = MILLIMETER) -> np.ndarray:
    """The inverse of ``write_depth_png``: ``float32 [H, W]``, NaN where unknown. Raises OutputError for what is no 16-bit PNG."""
    counts = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if counts is None or counts.dtype != np.uint16 or counts.ndim != 2:
        raise OutputError(f"{path} is not a 16-bit grey PNG")
    return np.where(counts > 0, counts * np.float32(unit), np.float32(np.nan))


def write_depth_npy(path: Path, depth: np.ndarray) -> None:
    """``float32 [H, W]`` as ``.npy``. Raises OutputError."""
    with writing(path):
        np.save(path, np.asarray(depth, np.float32))


def write_depth_npz(path: Path, depth: np.ndarray, stamp_ns: int, metric: bool, camera: Camera | None, **more: np.ndarray) -> None:
    """``.npz`` with ``depth`` float32 [H, W], ``stamp_ns``, ``metric``, ``more`` and, where known, ``fx fy cx cy``.

    Raises OutputError.
    """
    arrays: dict[str, Any] = {"depth": np.asarray(depth, np.float32), "stamp_ns": np.int64(stamp_ns), "metric": np.bool_(metric)}
    arrays |= more
    if camera is not None:
        arrays |= {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy}
    with writing(path):
        np.savez(path, **arrays)


def side_by_side(panels: Sequence[tuple[str, np.ndarray]], panel_width: int) -> np.ndarray:
    """Titled RGB pictures in a row, each ``uint8 [H, W, 3]`` and at most ``panel_width`` px wide; they are of one shape [H, W]."""
    height, width = panels[0][1].shape[:2]
    scale = min(1.0, panel_width / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    gap = np.full((size[1], 4, 3), 255, np.uint8)
    row: list[np.ndarray] = []
    for title, picture in panels:
        small = picture if scale == 1.0 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        row += [gap, _titled(small, title)]
    return np.concatenate(row[1:], axis=1)


def _titled(picture: np.ndarray, title: str) -> np.ndarray:
    """With ``title`` in the upper left corner, white with a dark rim, legible on anything."""
    out = np.ascontiguousarray(picture).copy()
    size = max(0.4, picture.shape[1] / 1200)
    at = (round(12 * size), round(36 * size))
    for color, thickness in (((0, 0, 0), 5), ((255, 255, 255), 2)):
        cv2.putText(out, title, at, cv2.FONT_HERSHEY_SIMPLEX, size, color, max(1, round(thickness * size)), cv2.LINE_AA)
    return out
