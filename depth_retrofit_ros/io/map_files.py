"""Depth and disparity maps that other programs wrote: ``.npz``, ``.npy``, ``.pfm`` and grey ``.png``, values as they are stored."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from depth_retrofit_ros.errors import DatasetError, ImageError
from depth_retrofit_ros.io.npz import open_npz
from depth_retrofit_ros.io.png import SIGNATURE, decode_png

SUFFIXES = (".npz", ".npy", ".pfm", ".png")
LARGEST = 1 << 28  # values of a map
_PFM_HEADER = re.compile(rb"(P[fF])\s+(\d{1,9})\s+(\d{1,9})\s+([-+.\deE]{1,32})\s")
_DEEP_COLORS = (2, 6)  # PNG color types of which 16 bit do not survive decoding

Said = Literal["depth", "metric", "disparity"]


@dataclass(frozen=True, slots=True)
class MapFile:
    """values: ``float32 [h, w]`` as stored, whatever they mean; whole: whether the file holds whole numbers.

    said: what the file itself says that they are, None where it says nothing. features: ``float32 [C, h', w']``, or None.
    """

    values: np.ndarray
    whole: bool
    said: Said | None = None
    features: np.ndarray | None = None


def read_map(path: Path) -> MapFile:
    """By the file's suffix, one of ``SUFFIXES``. Raises DatasetError, one line that names the file."""
    readers = {".npz": _read_npz, ".npy": _read_npy, ".pfm": _read_pfm, ".png": _read_png}
    if path.suffix.lower() not in readers:
        raise DatasetError(f"{path} is no {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file: convert it to one, numpy.save does")
    return readers[path.suffix.lower()](path)


def _read_npz(path: Path) -> MapFile:
    """``depth`` (with ``metric``, in metres), or ``disparity``, or the only array of two dimensions; perhaps ``features``."""
    with open_npz(path) as arrays:
        name = next((name for name in ("depth", "disparity") if name in arrays), None) or arrays.only_map()
        values = arrays.raw(name)
        features = arrays.array("features", 3) if "features" in arrays else None
        metric = bool(arrays.number("metric")) if "metric" in arrays else False
    if features is not None and not np.isfinite(features).all():
        raise DatasetError(f"{path}: features must be finite: save the ones of the model's last layer before its projection")
    said: dict[str, Said] = {"depth": "metric" if metric else "depth", "disparity": "disparity"}
    return _map(path, values, said.get(name), features, name)


def _read_npy(path: Path) -> MapFile:
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise DatasetError(f"{path} is damaged, holds Python objects or is no .npy file: write it again with numpy.save") from None
    except OSError as error:
        raise DatasetError(f"cannot read {path} ({error.strerror or error}): check the path") from None
    if not isinstance(values, np.ndarray):
        values.close()
        raise DatasetError(f"{path} holds several arrays: name it .npz")
    return _map(path, values)


def _read_pfm(path: Path) -> MapFile:
    """Portable float map: rows from the bottom up; the scale's sign tells the byte order, its size is not used."""
    data = _bytes(path)
    header = _PFM_HEADER.match(data)
    if header is None:
        raise DatasetError(f"{path} is no PFM file: write it again")
    if header[1] != b"Pf":
        raise DatasetError(f"{path} is a colour PFM: save the values of one channel")
    width, height, size = int(header[2]), int(header[3]), len(data) - header.end()
    if size != 4 * width * height:
        raise DatasetError(f"{path}: {width}x{height} takes {4 * width * height} bytes but it has {size}: write it again")
    order = "<" if header[4].startswith(b"-") else ">"
    return _map(path, np.frombuffer(data, f"{order}f4", offset=header.end()).reshape(height, width)[::-1])


def _read_png(path: Path) -> MapFile:
    """8 or 16 bit; a grey picture that is stored in three channels is one, too."""
    data = _bytes(path)
    try:
        grey = len(data) > 25 and data.startswith(SIGNATURE) and data[25] in (0, 4)
        values = decode_png(data, _check_size, gray=grey)
    except ImageError as error:
        raise DatasetError(f"{path}: {error}") from None
    if not grey and (values.min(2) != values.max(2)).any():
        raise DatasetError(f"{path} is a colour picture: save the values themselves, not through a colour map")
    if data[24] == 16 and data[25] in _DEEP_COLORS:
        raise DatasetError(f"{path} is 16 bit grey in three channels: save one")
    return _map(path, values if grey else values[..., 0])


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot read {path} ({error.strerror}): check the path") from None


def _check_size(height: int, width: int) -> None:
    if not 0 < height * width <= LARGEST:
        raise ImageError(f"{width}x{height} is no size of a depth map")


def _map(path: Path, values: np.ndarray, said: Said | None = None, features: np.ndarray | None = None, name: str = "") -> MapFile:
    """Axes of one element around two others are left out."""
    flat = values
    while flat.ndim > 2 and 1 in (flat.shape[0], flat.shape[-1]):
        flat = flat[0] if flat.shape[0] == 1 else flat[..., 0]
    if values.dtype.kind not in "fiu" or flat.ndim != 2 or 0 in flat.shape:
        what = f"'{name}' is " if name else "it holds "
        raise DatasetError(f"{path}: {what}{values.dtype} {list(values.shape)} but a map is numbers of 2 dimensions, and not empty")
    with np.errstate(over="ignore"):
        return MapFile(np.ascontiguousarray(flat, np.float32), values.dtype.kind in "iu", said, features)
