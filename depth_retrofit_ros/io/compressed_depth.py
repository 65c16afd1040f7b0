"""Depth as ``compressed_depth_image_transport`` sends it: a header of 12 bytes, then a 16-bit PNG or an RVL stream.

Float depth is sent as its inverse in steps, ``value = a / depth + b``, so that far depth is as coarse as a stereo camera's: 1 m at
``depth_quantization``, and a 10,000th of that at a hundredth of the distance. 0 is unknown. Millimetres are sent as they are.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
import torch

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.io.rvl import encode_rvl, rvl_capacity

DepthCodec = Literal["rvl", "png"]
DEPTH_CODECS: tuple[str, ...] = get_args(DepthCodec)

# compressed_depth_image_transport/ConfigHeader: format, of which 0 is inverse depth and the only one there is; depthParam[2].
_CONFIG = struct.Struct("<iff")
_INVERSE_DEPTH = 0
_HIGHEST = 65535
# What suits depth: differences to the row above, and of their repetitions no more than runs. As small as OpenCV's default, in a
# third of its time. Its older versions choose the differences themselves.
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
if hasattr(cv2, "IMWRITE_PNG_FILTER"):
    _PNG += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]


@dataclass(frozen=True, slots=True)
class InverseDepth:
    """value = ``a / depth + b``, rounded; ``a`` [m]. far: [m], where depth ends: from there on it is unknown.

    Depth nearer than ``a / (65535 - b)`` (0.15 m by default) has the value of that: what is near stays near.
    """

    a: np.float32
    b: np.float32
    far: np.float32

    @classmethod
    def of(cls, depth_max: float, depth_quantization: float) -> InverseDepth:
        """As the transport computes them of its parameters, both [m], in its float32."""
        quantization, far = np.float32(depth_quantization), np.float32(depth_max)
        a = quantization * (quantization + np.float32(1.0))
        return cls(a, np.float32(1.0) - a / far, far)


def config_header(form: InverseDepth | None) -> bytes:
    """The 12 bytes before the picture; None for depth in millimetres, where nobody reads the two numbers."""
    return _CONFIG.pack(_INVERSE_DEPTH, 0.0, 0.0) if form is None else _CONFIG.pack(_INVERSE_DEPTH, form.a, form.b)


HEADER_SIZE = _CONFIG.size


def fill_inverse_depth(depth: np.ndarray, form: InverseDepth, out: np.ndarray) -> None:
    """depth: ``float32 [H, W]`` m; out: ``uint16 [H, W]``, written in one pass: 0 for what is no depth or from ``far`` on.

    Rounded to the nearest step, where the transport's own publisher cuts off: the error is half of its, and to no side.
    """
    if depth.shape != out.shape or out.dtype != np.uint16:
        raise ValueError(f"out must be uint16 {list(depth.shape)}, not {out.dtype} {list(out.shape)}")
    _fill(depth, form.a, form.b, form.far, out)


@cached_njit(nogil=True)
def _fill(depth: np.ndarray, a: float, b: float, far: float, out: np.ndarray) -> None:
    a, shift, far = np.float32(a), np.float32(b) + np.float32(0.5), np.float32(far)
    for row in range(depth.shape[0]):
        for column in range(depth.shape[1]):
            z = depth[row, column]
            known = z > np.float32(0.0) and z < far  # written so that NaN fails
            value = min(a / (z if known else far) + shift, np.float32(_HIGHEST))
            out[row, column] = np.uint16(np.int32(value)) if known else np.uint16(0)


def inverse_depth(depth: torch.Tensor, form: InverseDepth) -> torch.Tensor:
    """``fill_inverse_depth`` where the depth lies: ``float32 [H, W]`` → ``int16 [H, W]`` that holds the bits of uint16."""
    known = (depth > 0) & (depth < float(form.far))
    values = (float(form.a) / depth + float(np.float32(form.b) + np.float32(0.5))).clamp(max=_HIGHEST)
    return torch.where(known, values, 0.0).to(torch.int32).to(torch.int16)


def cut_off(millimeters: np.ndarray, depth_max: float) -> None:
    """What is farther than ``depth_max`` [m] becomes unknown, in place; ``uint16 [H, W]``."""
    if 1000.0 * depth_max < _HIGHEST:  # none is farther otherwise
        cv2.threshold(millimeters, 1000.0 * depth_max, 0, cv2.THRESH_TOZERO_INV, dst=millimeters)


def capacity(height: int, width: int, codec: str) -> int:
    """Bytes to have ready for ``encode`` of an image of this size; a PNG that needs more is refused there."""
    return HEADER_SIZE + max(rvl_capacity(height, width), 4096 if codec == "png" else 0)


def encode(values: np.ndarray, form: InverseDepth | None, codec: str, out: np.ndarray) -> int:
    """Header and picture of ``values``, ``uint16 [H, W]``, into ``out``, ``uint8 [capacity(H, W, codec)]`` at a multiple of four
    bytes; returns how many were written. Raises OutputError where OpenCV makes no PNG."""
    out[:HEADER_SIZE] = np.frombuffer(config_header(form), np.uint8)
    picture = out[HEADER_SIZE:]
    if codec == "rvl":
        return HEADER_SIZE + encode_rvl(values, picture)
    ok, made = cv2.imencode(".png", values, _PNG)
    if not ok or made.size > picture.size:
        raise OutputError(f"OpenCV made no PNG of {values.shape[1]}x{values.shape[0]} depth: set compressed_depth_format to rvl")
    picture[: made.size] = made.reshape(-1)
    return HEADER_SIZE + int(made.size)


def compile_inverse_depth() -> None:
    """Compile ``fill_inverse_depth`` now instead of with the first image."""
    fill_inverse_depth(np.ones((2, 2), np.float32), InverseDepth.of(10.0, 100.0), np.zeros((2, 2), np.uint16))
