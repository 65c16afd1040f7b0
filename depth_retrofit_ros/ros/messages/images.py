"""Image messages → RGB arrays. A message is a claim by a stranger: it is checked before anything of its size is allocated."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.ros.messages.decoder_words import damage, decoder_words

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image

MAX_PIXELS = 64_000_000
"""Larger images are refused: no camera sends them live, but a broken or hostile header claims them."""

Convert = Callable[[np.ndarray], np.ndarray]


def _color(code: int) -> Convert:
    """Conversion by one of OpenCV's colour codes."""
    return lambda pixels: np.asarray(cv2.cvtColor(pixels, code))


def _as_is(pixels: np.ndarray) -> np.ndarray:
    return pixels


def _from_16_bit(pixels: np.ndarray) -> np.ndarray:
    """65535 → 255, rounded, then grey to RGB."""
    return np.asarray(cv2.cvtColor(cv2.convertScaleAbs(pixels, alpha=255 / 65535), cv2.COLOR_GRAY2RGB))


# encoding → (channels, bytes per channel, conversion of [H, W] or [H, W, channels]).
# OpenCV names a Bayer pattern by its second row's second and third pixel: ROS's RGGB is OpenCV's BG. 8UC3 says nothing about
# colours; it comes from programs that publish an OpenCV image as it is, hence blue first.
_ENCODINGS: dict[str, tuple[int, int, Convert]] = {
    "rgb8": (3, 1, _as_is),
    "bgr8": (3, 1, _color(cv2.COLOR_BGR2RGB)),
    "8UC3": (3, 1, _color(cv2.COLOR_BGR2RGB)),
    "rgba8": (4, 1, _color(cv2.COLOR_RGBA2RGB)),
    "bgra8": (4, 1, _color(cv2.COLOR_BGRA2RGB)),
    "mono8": (1, 1, _color(cv2.COLOR_GRAY2RGB)),
    "mono16": (1, 2, _from_16_bit),
    "bayer_rggb8": (1, 1, _color(cv2.COLOR_BayerBG2RGB)),
    "bayer_bggr8": (1, 1, _color(cv2.COLOR_BayerRG2RGB)),
    "bayer_gbrg8": (1, 1, _color(cv2.COLOR_BayerGR2RGB)),
    "bayer_grbg8": (1, 1, _color(cv2.COLOR_BayerGB2RGB)),
    "yuv422": (2, 1, _color(cv2.COLOR_YUV2RGB_UYVY)),
    "uyvy": (2, 1, _color(cv2.COLOR_YUV2RGB_UYVY)),
    "yuv422_yuy2": (2, 1, _color(cv2.COLOR_YUV2RGB_YUY2)),
    "yuyv": (2, 1, _color(cv2.COLOR_YUV2RGB_YUY2)),
    "nv12": (1, 1, _color(cv2.COLOR_YUV2RGB_NV12)),
    "nv21": (1, 1, _color(cv2.COLOR_YUV2RGB_NV21)),
}
ENCODINGS = tuple(_ENCODINGS)
"""Encodings that ``image_to_rgb`` understands."""

_HALF_WIDTH_CHROMA = ("yuv422", "uyvy", "yuv422_yuy2", "yuyv")
_HALF_SIZE_CHROMA = ("nv12", "nv21")


def image_to_rgb(message: Image) -> np.ndarray:
    """``uint8 [H, W, 3]`` RGB, contiguous; a view of the message's memory where it is unpadded rgb8. Raises ImageError."""
    if message.encoding not in _ENCODINGS:
        raise ImageError(f"image encoding {message.encoding[:40]!r} is not supported: publish one of {', '.join(ENCODINGS)}")
    channels, depth_bytes, convert = _ENCODINGS[message.encoding]
    rows = _check_layout(message, channels * depth_bytes)
    dtype = np.dtype(np.uint8 if depth_bytes == 1 else (">u2" if message.is_bigendian else "<u2"))
    data = np.frombuffer(message.data, np.uint8).reshape(rows, message.step)
    pixels = data[:, : message.width * channels * depth_bytes]
    if dtype.itemsize > 1:
        pixels = np.ascontiguousarray(pixels).view(dtype).astype(np.uint16, copy=False)
    if channels > 1:
        pixels = pixels.reshape(rows, message.width, channels)
    return np.ascontiguousarray(convert(pixels))


def _check_layout(message: Image, pixel_bytes: int) -> int:
    """The number of rows of ``step`` bytes in the data. Raises ImageError where size, step, encoding and data disagree."""
    height, width, step, encoding = message.height, message.width, message.step, message.encoding
    check_size(height, width)
    if step < width * pixel_bytes:
        raise ImageError(f"image step {step} is too small: {width} pixels of {encoding} take {width * pixel_bytes} bytes")
    if (encoding in _HALF_WIDTH_CHROMA + _HALF_SIZE_CHROMA and width % 2) or (encoding in _HALF_SIZE_CHROMA and height % 2):
        raise ImageError(f"{encoding} images share colour between pixel pairs: {width}x{height} must be even")
    rows: int = height + height // 2 if encoding in _HALF_SIZE_CHROMA else height
    if len(message.data) != rows * step:
        raise ImageError(
            f"image data is {len(message.data)} bytes but {width}x{height} {encoding} with step {step} is {rows * step}: "
            "truncated or mislabelled by its publisher"
        )
    return rows


def check_size(height: int, width: int) -> None:
    """Raises ImageError for an empty image and for one that no camera sends."""
    if height == 0 or width == 0:
        raise ImageError(f"image is empty ({width}x{height}): check the camera driver")
    if height * width > MAX_PIXELS:
        raise ImageError(f"image of {width}x{height} is larger than {MAX_PIXELS // 1_000_000} megapixels: crop or scale it first")


def compressed_to_rgb(message: CompressedImage) -> np.ndarray:
    """Decode JPEG or PNG → ``uint8 [H, W, 3]`` RGB, contiguous. Raises ImageError.

    The size is read from the file's own header first, so that a small file cannot make the decoder allocate gigabytes.
    """
    data = np.frombuffer(message.data, np.uint8)
    check_size(*_coded_size(memoryview(message.data)))
    # image_transport sends a Bayer mosaic as a grey image and tells its pattern in `format`.
    pattern = message.format.split(";")[0].strip()
    is_mosaic = pattern.startswith("bayer_") and pattern in _ENCODINGS
    # The Exif orientation is ignored: the message's camera_info describes the pixels as they were taken.
    flags = (cv2.IMREAD_GRAYSCALE if is_mosaic else cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    with decoder_words() as said:
        try:
            pixels = cv2.imdecode(data, flags)
        except cv2.error:
            pixels = None
    if pixels is None or (damage(said) is not None):
        raise ImageError(f"compressed image ({message.format[:40]!r}, {len(data)} bytes) cannot be decoded: it is damaged")
    return _ENCODINGS[pattern][2](pixels) if is_mosaic else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels))


def _coded_size(data: memoryview) -> tuple[int, int]:
    """(height, width) from the header of a complete PNG or JPEG file. Raises ImageError.

    Decoders paint what is missing from a truncated file grey and call it a success; hence the look for the end mark.
    """
    if bytes(data[:8]) == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        (width, height), body, end_mark = struct.unpack(">II", data[16:24]), data[24:], b"IEND"
    elif bytes(data[:2]) == b"\xff\xd8":
        position = _jpeg_frame_header(data)
        (height, width), body, end_mark = struct.unpack(">HH", data[position + 5 : position + 9]), data[position:], b"\xff\xd9"
    else:
        raise ImageError(f"compressed image of {len(data)} bytes is neither JPEG nor PNG: set the publisher to one of these")
    if bytes(body).rfind(end_mark) < 0:
        raise ImageError(f"compressed image of {len(data)} bytes has no end: it was truncated on its way")
    return height, width


def _jpeg_frame_header(data: memoryview) -> int:
    """Position of the frame header's marker (SOF) in a JPEG; ITU T.81, B.2. Raises ImageError."""
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return position
        if marker == 0xFF:  # a fill byte before the real marker
            position += 1
        else:
            position += 2 + int(struct.unpack(">H", data[position + 2 : position + 4])[0])
    raise ImageError(f"compressed image of {len(data)} bytes is a JPEG without a frame header: it is damaged")


def decode(message: Any) -> np.ndarray:
    """Either kind of image message → ``uint8 [H, W, 3]`` RGB. Raises ImageError."""
    return compressed_to_rgb(message) if hasattr(message, "format") else image_to_rgb(message)
