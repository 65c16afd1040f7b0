"""Reading a photo: upright RGB pixels, and the focal length that its EXIF data tells."""

from __future__ import annotations

import io
import math
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError, features

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import CameraError, ImageError
from depth_retrofit_ros.io.decoding import damaged
from depth_retrofit_ros.io.encodings import to_8_bit
from depth_retrofit_ros.io.exif import FULL_FRAME_DIAGONAL_MM, block_tags, read_exif, upright
from depth_retrofit_ros.io.jpeg import SOI, decode_jpeg, exif_block
from depth_retrofit_ros.io.png import SIGNATURE, decode_png, exif_tags

MAX_PIXELS = 1 << 30
"""Larger photos are refused; so are sides above ``MAX_SIDE``."""
MAX_SIDE = 1 << 20
_PILLOW = threading.Lock()  # its size limit and Python's warning filters belong to the whole process
_TOO_LARGE = f"larger than {MAX_PIXELS // 1_000_000} megapixels, or {MAX_SIDE} a side: scale it first"
_FORMATS = ("TIFF", "WEBP", "AVIF", "BMP", "GIF", "PPM", "JPEG2000")  # of Pillow's; by others EPS would start Ghostscript
_EXPECTED = "give a JPEG, PNG, TIFF, WebP or AVIF file"


@dataclass(frozen=True, slots=True)
class Photo:
    """image: ``uint8 [H, W, 3]`` RGB, turned upright as EXIF says; focal_35mm: the 35 mm equivalent focal length [mm], or None;
    orientation: how EXIF said that the stored pixels are to be turned, 1…8, 1 for not at all."""

    image: np.ndarray
    focal_35mm: float | None
    orientation: int = 1

    def exif_camera(self) -> Camera | None:
        """The camera that the 35 mm equivalent focal length describes, principal point at the centre.

        None without one, and where no real camera has it.
        """
        if self.focal_35mm is None:
            return None
        height, width = self.image.shape[:2]
        f_px = self.focal_35mm * math.hypot(width, height) / FULL_FRAME_DIAGONAL_MM
        camera = Camera(width, height, f_px, f_px, (width - 1) / 2, (height - 1) / 2)
        try:
            camera.require_plausible()
        except CameraError:
            return None
        return camera


def read_photo(path: Path) -> Photo:
    """Read JPEG, PNG, TIFF, WebP, AVIF, BMP, GIF, PNM or JPEG 2000. Raises ImageError, one line, or MemoryError."""
    try:
        data = path.read_bytes()
    except IsADirectoryError as error:
        raise ImageError(f"{path} is a directory: give its files") from error
    except OSError as error:
        raise ImageError(f"cannot read {path} ({error.strerror}): {_EXPECTED} that is there and can be read") from error
    if not data:
        raise ImageError(f"{path} is empty")
    try:
        with _pillow():
            return _decode(data)
    except ImageError as error:
        raise ImageError(f"{path} cannot be decoded: {error}") from error


def _decode(data: bytes) -> Photo:
    """Raises ImageError."""
    if data.startswith(SOI):
        stored = decode_jpeg(data, _check_size)
        exif = read_exif(lambda: block_tags(exif_block(data)), stored.shape[1], stored.shape[0])
    elif data.startswith(SIGNATURE):
        stored = decode_png(data, _check_size)
        exif = read_exif(lambda: exif_tags(data), stored.shape[1], stored.shape[0])
    else:
        return _decode_other(data)
    return Photo(upright(stored, exif.orientation), exif.focal_35mm, exif.orientation)


def _decode_other(data: bytes) -> Photo:
    """By Pillow alone, which is strict about all formats but JPEG and PNG. Raises ImageError."""
    try:
        with Image.open(io.BytesIO(data), formats=_known_formats()) as image:
            width, height = image.size
            _check_size(height, width)
            exif = read_exif(image.getexif, width, height)
            image.load()
            left = read_exif(image.getexif, width, height).orientation  # of a TIFF, Pillow turns the pixels while it loads them
            return Photo(upright(_to_rgb(image), left), exif.focal_35mm, exif.orientation)
    except UnidentifiedImageError as error:
        if data[4:12] == b"ftypavif" and not features.check("avif"):
            raise ImageError("AVIF needs Pillow 11.3 or newer: pip install -U pillow") from error
        raise ImageError(f"it is not an image: {_EXPECTED}") from error
    except (ImageError, MemoryError, cv2.error):  # a lack of memory is no damage
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"it is {_TOO_LARGE}") from error
    except Exception as error:  # Pillow's parsers over a stranger's bytes: what they may raise is not a short list
        raise damaged(error) from error


@cache
def _known_formats() -> tuple[str, ...]:
    """Those of ours that this Pillow has."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _to_rgb(image: Image.Image) -> np.ndarray:
    """``uint8 [H, W, 3]`` without alpha; 16 bit grey by ``to_8_bit``. Raises ImageError."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        deep = np.asarray(image)
        if deep.min(initial=0) < 0 or deep.max(initial=0) > 0xFFFF:
            raise ImageError(f"its pixels are 32 bit integers: {_EXPECTED} of 8 or 16 bit")
        return np.repeat(to_8_bit(deep.astype(np.uint16))[..., None], 3, axis=2)
    if image.mode == "F":
        raise ImageError(f"its pixels are floating-point numbers: {_EXPECTED} of 8 or 16 bit")
    return np.array(image.convert("RGB"))


@contextmanager
def _pillow() -> Iterator[None]:
    """Pillow with the size limit of photos, and without its warnings on stderr: what is wrong is raised, in one line."""
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # an error from twice this on
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _check_size(height: int, width: int) -> None:
    """Raises ImageError for an empty picture, and for one that is larger than any photo."""
    if height == 0 or width == 0:
        raise ImageError(f"it is empty ({width}x{height})")
    if height * width > MAX_PIXELS or max(height, width) > MAX_SIDE:
        raise ImageError(f"{width}x{height} is {_TOO_LARGE}")
