"""The one table of image encodings (sensor_msgs/image_encodings.hpp): how pixels lie in the data, and what they mean.

An encoding may be a picture, depth, or both (mono16). Nothing here needs ROS, because bags are read without one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType

import cv2
import numpy as np

Convert = Callable[[np.ndarray], np.ndarray]


class Layout(Enum):
    """Where the samples of a pixel lie."""

    PACKED = auto()
    """Side by side."""
    PACKED_PAIRS = auto()
    """Side by side; two neighbors share their chroma."""
    CHROMA_QUARTER = auto()
    """All luma, then half as many rows of chroma pairs, one for 2x2 pixels."""
    CHROMA_FULL = auto()
    """All luma, then a chroma pair for each pixel, in rows of twice ``step`` bytes."""

    def rows(self, height: int) -> int:
        """Rows of ``step`` bytes that an image of ``height`` takes."""
        chroma = {Layout.CHROMA_QUARTER: height // 2, Layout.CHROMA_FULL: 2 * height}
        return height + chroma.get(self, 0)

    def fits(self, width: int, height: int) -> bool:
        """Whether pixels that share chroma come out even."""
        even_width = width % 2 == 0 or self not in (Layout.PACKED_PAIRS, Layout.CHROMA_QUARTER)
        return even_width and (height % 2 == 0 or self is not Layout.CHROMA_QUARTER)


@dataclass(frozen=True, slots=True)
class Encoding:
    """One row of the table.

    channels: samples per pixel in a row; sample: NumPy's code without the byte order. to_rgb: pixels [H, W] or [H, W, channels]
    (CHROMA_QUARTER: [3H/2, W]; CHROMA_FULL: [H, 3W]) → ``uint8 [H, W, 3]``, None where it is no picture. unit_m: metres per unit
    of depth (REP-118), None where it is no depth.
    """

    channels: int
    sample: str
    to_rgb: Convert | None = None
    unit_m: float | None = None
    layout: Layout = Layout.PACKED

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel in a row."""
        return self.channels * int(self.sample[1])

    def dtype(self, is_bigendian: object) -> np.dtype:
        """Of the samples in a message's data."""
        return np.dtype((">" if is_bigendian else "<") + self.sample)


def _color(code: int) -> Convert:
    """Conversion by one of OpenCV's color codes."""
    return lambda pixels: np.asarray(cv2.cvtColor(pixels, code))


def _as_is(pixels: np.ndarray) -> np.ndarray:
    return pixels


def to_8_bit(pixels: np.ndarray) -> np.ndarray:
    """``uint16`` samples as ``uint8``: 65535 → 255, rounded, as cv_bridge does it. The one rule for 16 bit grey, wherever from."""
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=255 / 65535))


def _nv24(pixels: np.ndarray) -> np.ndarray:
    """OpenCV knows no NV24: each pixel becomes a pair of UYVY, so that all YUV encodings share one arithmetic."""
    height, width = pixels.shape[0], pixels.shape[1] // 3
    luma, chroma = pixels[:, :width], pixels[:, width:].reshape(height, width, 2)
    pairs = np.stack((chroma[..., 0], luma, chroma[..., 1], luma), axis=-1).reshape(height, 2 * width, 2)
    return np.asarray(cv2.cvtColor(pairs, cv2.COLOR_YUV2RGB_UYVY)[:, ::2])


def _deep(channels: int, convert: Convert) -> Encoding:
    """16 bit colors: converted at full depth, then scaled."""
    return Encoding(channels, "u2", lambda pixels: to_8_bit(convert(pixels)))


_GRAY, _BGR = _color(cv2.COLOR_GRAY2RGB), _color(cv2.COLOR_BGR2RGB)
_RGBA, _BGRA = _color(cv2.COLOR_RGBA2RGB), _color(cv2.COLOR_BGRA2RGB)
_UYVY, _YUYV = _color(cv2.COLOR_YUV2RGB_UYVY), _color(cv2.COLOR_YUV2RGB_YUY2)
# OpenCV names a Bayer pattern by its second row's second and third pixel: ROS's RGGB is OpenCV's BG.
_RGGB, _BGGR = _color(cv2.COLOR_BayerBG2RGB), _color(cv2.COLOR_BayerRG2RGB)
_GBRG, _GRBG = _color(cv2.COLOR_BayerGR2RGB), _color(cv2.COLOR_BayerGB2RGB)

TABLE: Mapping[str, Encoding] = MappingProxyType(
    {
        "rgb8": Encoding(3, "u1", _as_is),
        "bgr8": Encoding(3, "u1", _BGR),
        "rgba8": Encoding(4, "u1", _RGBA),
        "bgra8": Encoding(4, "u1", _BGRA),
        "mono8": Encoding(1, "u1", _GRAY),
        "rgb16": _deep(3, _as_is),
        "bgr16": _deep(3, _BGR),
        "rgba16": _deep(4, _RGBA),
        "bgra16": _deep(4, _BGRA),
        "mono16": Encoding(1, "u2", lambda pixels: _GRAY(to_8_bit(pixels)), unit_m=1e-3),
        # These say nothing about colors; they come from programs that publish an OpenCV image as it is, hence blue first.
        "8UC1": Encoding(1, "u1", _GRAY),
        "8UC3": Encoding(3, "u1", _BGR),
        "8UC4": Encoding(4, "u1", _BGRA),
        "16UC3": _deep(3, _BGR),
        "16UC4": _deep(4, _BGRA),
        "bayer_rggb8": Encoding(1, "u1", _RGGB),
        "bayer_bggr8": Encoding(1, "u1", _BGGR),
        "bayer_gbrg8": Encoding(1, "u1", _GBRG),
        "bayer_grbg8": Encoding(1, "u1", _GRBG),
        "bayer_rggb16": _deep(1, _RGGB),
        "bayer_bggr16": _deep(1, _BGGR),
        "bayer_gbrg16": _deep(1, _GBRG),
        "bayer_grbg16": _deep(1, _GRBG),
        "yuv422": Encoding(2, "u1", _UYVY, layout=Layout.PACKED_PAIRS),
        "uyvy": Encoding(2, "u1", _UYVY, layout=Layout.PACKED_PAIRS),
        "yuv422_yuy2": Encoding(2, "u1", _YUYV, layout=Layout.PACKED_PAIRS),
        "yuyv": Encoding(2, "u1", _YUYV, layout=Layout.PACKED_PAIRS),
        "nv12": Encoding(1, "u1", _color(cv2.COLOR_YUV2RGB_NV12), layout=Layout.CHROMA_QUARTER),
        "nv21": Encoding(1, "u1", _color(cv2.COLOR_YUV2RGB_NV21), layout=Layout.CHROMA_QUARTER),
        "nv24": Encoding(1, "u1", _nv24, layout=Layout.CHROMA_FULL),
        "16UC1": Encoding(1, "u2", unit_m=1e-3),  # by itself no picture: millimetres
        "32FC1": Encoding(1, "f4", unit_m=1.0),
    }
)
PICTURES = tuple(name for name, encoding in TABLE.items() if encoding.to_rgb is not None)
"""Encodings of camera images."""
DEPTHS: Mapping[str, float] = MappingProxyType({name: e.unit_m for name, e in TABLE.items() if e.unit_m is not None})
"""Encodings of depth images → metres per unit."""
