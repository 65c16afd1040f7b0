"""Image messages → RGB arrays. A message is a claim by a stranger: it is checked before anything of its size is allocated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.io.encodings import PICTURES, TABLE, Encoding, Layout
from depth_retrofit_ros.io.jpeg import SOI, decode_jpeg
from depth_retrofit_ros.io.png import SIGNATURE, decode_png

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image

MAX_PIXELS = 64_000_000
"""Larger images are refused: no camera sends them live, but a broken or hostile header claims them."""

ENCODINGS = PICTURES
"""Encodings that ``image_to_rgb`` understands."""


def image_to_rgb(message: Image) -> np.ndarray:
    """``uint8 [H, W, 3]`` RGB, contiguous; a view of the message's memory where it is unpadded rgb8. Raises ImageError."""
    encoding = check_layout(message)
    assert encoding.to_rgb is not None  # checked
    return np.ascontiguousarray(encoding.to_rgb(_pixels(message, encoding)))


def check_layout(message: Image) -> Encoding:
    """The image's encoding. Raises ImageError where that is no picture's, or size, step, encoding and data disagree; looks at no
    pixel. Whoever does anything of an image's size without ``image_to_rgb`` calls this before."""
    height, width, step, name = message.height, message.width, message.step, message.encoding
    encoding = TABLE.get(name)
    if encoding is None or encoding.to_rgb is None:
        raise ImageError(f"image encoding {name[:40]!r} is not supported: publish one of {', '.join(ENCODINGS)}")
    check_size(height, width)
    if step < width * encoding.pixel_bytes:
        raise ImageError(f"image step {step} is too small: {width} pixels of {name} take {width * encoding.pixel_bytes} bytes")
    if not encoding.layout.fits(width, height):
        raise ImageError(f"{name} images share colour between pixel pairs: {width}x{height} must be even")
    expected = encoding.layout.rows(height) * step
    if len(message.data) != expected:
        raise ImageError(
            f"image data is {len(message.data)} bytes but {width}x{height} {name} with step {step} is {expected}: "
            "truncated or mislabelled by its publisher"
        )
    return encoding


def _pixels(message: Image, encoding: Encoding) -> np.ndarray:
    """The samples without padding, in the machine's byte order, shaped as ``Encoding.to_rgb`` takes them."""
    height, width, step, channels = message.height, message.width, message.step, encoding.channels
    data = np.frombuffer(message.data, np.uint8).reshape(-1, step)
    pixels = data[:, : width * encoding.pixel_bytes]
    if encoding.layout is Layout.CHROMA_FULL:
        chroma = data[height:].reshape(height, 2 * step)[:, : 2 * width]
        return np.hstack((pixels[:height], chroma))
    dtype = encoding.dtype(message.is_bigendian)
    if dtype.itemsize > 1:
        pixels = np.ascontiguousarray(pixels).view(dtype).astype(dtype.newbyteorder("="), copy=False)
    return pixels.reshape(-1, width, channels) if channels > 1 else pixels


def check_size(height: int, width: int) -> None:
    """Raises ImageError for an empty image and for one that no camera sends."""
    if height == 0 or width == 0:
        raise ImageError(f"image is empty ({width}x{height}): check the camera driver")
    if height * width > MAX_PIXELS:
        raise ImageError(f"image of {width}x{height} is larger than {MAX_PIXELS // 1_000_000} megapixels: crop or scale it first")


def compressed_to_rgb(message: CompressedImage) -> np.ndarray:
    """Decode JPEG or PNG → ``uint8 [H, W, 3]`` RGB, contiguous. Raises ImageError.

    The Exif orientation is ignored: the message's camera_info describes the pixels as they were taken.
    """
    data = bytes(message.data)
    decoder = decode_jpeg if data.startswith(SOI) else decode_png if data.startswith(SIGNATURE) else None
    if decoder is None:
        raise ImageError(f"compressed image of {len(data)} bytes is neither JPEG nor PNG: set the publisher to one of these")
    # image_transport sends a Bayer mosaic as a grey image and tells its pattern in `format`.
    pattern = message.format.split(";")[0].strip()
    is_mosaic = pattern.startswith("bayer_") and pattern in TABLE
    try:
        pixels = decoder(data, check_size, gray=is_mosaic)
    except ImageError as error:
        raise ImageError(f"compressed image ({message.format[:40]!r}, {len(data)} bytes) cannot be decoded: {error}") from error
    return _demosaiced(pixels, pattern) if is_mosaic else pixels


def _demosaiced(mosaic: np.ndarray, pattern: str) -> np.ndarray:
    """``mosaic``: ``uint8`` or ``uint16 [H, W]``, which need not be the depth that the pattern's name tells: a JPEG has 8 bit."""
    convert = TABLE[pattern.rstrip("0123456789") + str(8 * mosaic.itemsize)].to_rgb
    assert convert is not None  # every Bayer pattern is a picture
    return np.ascontiguousarray(convert(mosaic))


def decode(message: Any) -> np.ndarray:
    """Either kind of image message → ``uint8 [H, W, 3]`` RGB. Raises ImageError."""
    return compressed_to_rgb(message) if hasattr(message, "format") else image_to_rgb(message)
