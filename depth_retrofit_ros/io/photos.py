"""Reading a photo: upright RGB pixels, and the focal length that its EXIF data tells."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import ImageError

FULL_FRAME_DIAGONAL_MM = math.hypot(36.0, 24.0)  # what a "35 mm equivalent" focal length refers to (CIPA DCG-001)
_EXIF_IFD, _FOCAL_35MM = 0x8769, 0xA405  # TIFF tags, EXIF 2.3


@dataclass(frozen=True, slots=True)
class Photo:
    """image: ``uint8 [H, W, 3]`` RGB, turned upright as EXIF says; focal_35mm: the 35 mm equivalent focal length [mm], or None."""

    image: np.ndarray
    focal_35mm: float | None

    def exif_camera(self) -> Camera | None:
        """The camera that the 35 mm equivalent focal length describes, principal point at the centre; None without one."""
        if self.focal_35mm is None:
            return None
        height, width = self.image.shape[:2]
        f_px = self.focal_35mm * math.hypot(width, height) / FULL_FRAME_DIAGONAL_MM
        return Camera(width, height, f_px, f_px, (width - 1) / 2, (height - 1) / 2)


def read_photo(path: Path) -> Photo:
    """Read JPEG, PNG, TIFF, WebP or whatever else OpenCV decodes. Raises ImageError, one line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}") from error
    if not data:
        raise ImageError(f"{path} is empty")
    if data[:2] == b"\xff\xd8" and not _jpeg_is_whole(data):
        raise ImageError(f"{path} is a truncated JPEG: copy it again")
    if data.startswith(b"\x89PNG\r\n\x1a\n") and b"IEND" not in data:  # told here, because libpng adds lines of its own
        raise ImageError(f"{path} is a truncated PNG: copy it again")
    try:
        with _quiet():
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"{path} cannot be decoded: {' '.join(str(error.err).split())}") from error
    if pixels is None:
        raise ImageError(f"{path} is not an image that OpenCV can decode: give a JPEG, PNG, TIFF or WebP file")
    return Photo(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), focal_length_35mm(data))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without OpenCV's own log on stderr: what is wrong is raised, in one line."""
    log = cv2.utils.logging
    level = log.setLogLevel(log.LOG_LEVEL_SILENT)  # returns the level before
    try:
        yield
    finally:
        log.setLogLevel(level)


def focal_length_35mm(data: bytes) -> float | None:
    """FocalLengthIn35mmFilm [mm] from a JPEG's EXIF block; None where it is absent, zero, or the block is damaged."""
    try:
        tiff = _exif_block(data)
        if tiff is None:
            return None
        order = {b"II": "<", b"MM": ">"}[tiff[:2]]
        (first,) = struct.unpack_from(order + "I", tiff, 4)
        pointer = _entry(tiff, order, first, _EXIF_IFD)
        focal = None if pointer is None else _entry(tiff, order, pointer, _FOCAL_35MM)
    except (KeyError, struct.error):
        return None
    return float(focal) if focal else None


def _jpeg_is_whole(data: bytes) -> bool:
    """Whether the pixels end with an end-of-image marker: libjpeg only warns, and fills what is missing with grey."""
    start = next((at for marker, at, _ in _jpeg_segments(data) if marker == 0xDA), None)
    return start is not None and data.find(b"\xff\xd9", start) >= 0


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(marker, offset, payload) of a JPEG's header segments, up to and with the one that begins the pixels (0xDA)."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, at, data[at + 4 : at + 2 + size]
        if marker == 0xDA:
            return
        at += 2 + size


def _exif_block(data: bytes) -> bytes | None:
    """The TIFF structure inside a JPEG's APP1 segment."""
    if data[:2] != b"\xff\xd8":
        return None
    return next((block[6:] for marker, _, block in _jpeg_segments(data) if marker == 0xE1 and block[:6] == b"Exif\0\0"), None)


def _entry(tiff: bytes, order: str, directory: int, tag: int) -> int | None:
    """Value of a SHORT or LONG entry of the TIFF directory at offset ``directory``."""
    (count,) = struct.unpack_from(order + "H", tiff, directory)
    for index in range(count):
        at = directory + 2 + 12 * index
        found, kind = struct.unpack_from(order + "HH", tiff, at)
        if found == tag and kind in (3, 4):  # SHORT, LONG
            (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), tiff, at + 8)
            return int(value)
    return None
