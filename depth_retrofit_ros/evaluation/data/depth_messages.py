"""Depth images as they are recorded: raw (REP-118), PNG, and what compressed_depth_image_transport makes of them."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from depth_retrofit_ros.errors import BagError, ImageError
from depth_retrofit_ros.evaluation.data.bag import COMPRESSED_TYPE, IMAGE_TYPE, deserialize
from depth_retrofit_ros.io.encodings import DEPTHS, TABLE
from depth_retrofit_ros.io.png import SIGNATURE, decode_png

DEPTH_TYPES = (IMAGE_TYPE, COMPRESSED_TYPE)
_MOST_PIXELS = 64_000_000  # no depth camera has more, but a broken header claims them
_CONFIG = struct.Struct("<iff")  # compressed_depth_image_transport/ConfigHeader: format, depthParam[2]


def depth_image(data: bytes, msgtype: str = IMAGE_TYPE) -> np.ndarray:
    """A serialised depth image as ``float32 [H, W]`` metres, NaN where invalid.

    ``sensor_msgs/Image`` of encoding 16UC1 / mono16 (millimetres, 0 invalid) or 32FC1 (metres, NaN or <= 0 invalid), as in REP-118;
    ``sensor_msgs/CompressedImage`` as compressedDepth (PNG or RVL, of either encoding) or as a 16-bit PNG. Raises BagError.
    """
    message = deserialize(data, msgtype)
    depth = _raw(message) if msgtype == IMAGE_TYPE else _compressed(message.format, message.data.tobytes())
    depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
    return depth


def _raw(message: Any) -> np.ndarray:
    unit_m = _unit_m(message.encoding)
    dtype = TABLE[message.encoding].dtype(message.is_bigendian)
    height, width, step, raw = int(message.height), int(message.width), int(message.step), np.asarray(message.data)
    if height == 0 or width == 0 or step < width * dtype.itemsize or step % dtype.itemsize or raw.size < height * step:
        raise BagError(f"depth image {width}x{height} with step {step} does not fit its {raw.size} bytes: it was cut off")
    rows = raw[: height * step].view(dtype).reshape(height, step // dtype.itemsize)[:, :width]
    return np.asarray(rows.astype(np.float32) * np.float32(unit_m))


def _unit_m(encoding: str) -> float:
    if encoding not in DEPTHS:
        raise BagError(f"depth encoding {encoding[:40]!r} is not known: give a topic with 16UC1 (mm) or 32FC1 (m)")
    return DEPTHS[encoding]


def _compressed(told: str, data: bytes) -> np.ndarray:
    """told: the message's format, such as ``32FC1; compressedDepth rvl``; older drivers leave the codec away, which is PNG."""
    encoding, _, codec = (part.strip() for part in told.partition(";"))
    unit_m, is_float = _unit_m(encoding), TABLE[encoding].sample == "f4"
    old = not codec and not data.startswith(SIGNATURE)  # the first version of the transport told the encoding alone
    if not (codec.startswith("compressedDepth") or old):
        if is_float or not data.startswith(SIGNATURE):
            raise BagError(f"depth as {told[:60]!r} has lost its values: give a raw or a compressedDepth topic")
        return np.asarray(_png(data).astype(np.float32) * np.float32(unit_m))
    if len(data) < _CONFIG.size:
        raise BagError(f"compressed depth of {len(data)} bytes has no header: it was cut off")
    _, a, b = _CONFIG.unpack_from(data)
    body = data[_CONFIG.size :]
    values = _png(body) if body.startswith(SIGNATURE) else _rvl(body)
    if not is_float:
        return np.asarray(values.astype(np.float32) * np.float32(unit_m))
    with np.errstate(all="ignore"):  # inverse depth, quantized: value = a / depth + b, 0 where unknown
        depth = np.float32(a) / (values.astype(np.float32) - np.float32(b))
    return np.asarray(np.where(values == 0, np.float32(np.nan), depth))


def _check_size(height: int, width: int) -> None:
    if not 0 < height * width <= _MOST_PIXELS:
        raise BagError(f"compressed depth of {width}x{height} is none: its header is damaged")


def _png(data: bytes) -> np.ndarray:
    """``uint16 [H, W]``."""
    try:
        values = decode_png(data, _check_size, gray=True)
    except ImageError as error:
        raise BagError(f"depth as PNG of {len(data)} bytes is damaged ({error})") from error
    if values.dtype != np.uint16:
        raise BagError("depth as PNG of 8 bits or of colors is none: give a topic with 16-bit grey")
    return values


def _rvl(data: bytes) -> np.ndarray:
    """``uint16 [H, W]`` of Wilson's RVL (2017): width and height, then runs of zeros and of differences, in 3-bit digits.

    A digit is a nibble whose highest bit says that another one follows; nibbles fill 32-bit words from the top.
    """
    if len(data) < 8 or (len(data) - 8) // 4 == 0:
        raise BagError(f"depth as RVL of {len(data)} bytes has no content: it was cut off")
    width, height = struct.unpack_from("<II", data)
    _check_size(height, width)
    words = np.frombuffer(data, "<u4", (len(data) - 8) // 4, 8)
    nibbles = ((words[:, None] >> np.arange(28, -1, -4, dtype=np.uint32)) & 15).ravel().astype(np.int64)
    starts = np.concatenate(([0], np.flatnonzero(nibbles < 8) + 1))
    starts = starts[starts < nibbles.size]
    place = np.arange(nibbles.size) - np.repeat(starts, np.diff(np.append(starts, nibbles.size)))
    numbers = np.add.reduceat((nibbles & 7) << np.minimum(3 * place, 60), starts)  # more digits are damage, found below
    return _runs(numbers, height * width).reshape(height, width)


def _runs(numbers: np.ndarray, size: int) -> np.ndarray:
    """``uint16 [size]`` from RVL's numbers: how many zeros, how many others, their differences; and so on."""
    at, filled = 0, 0
    targets, sources = [], []
    while filled < size and at + 1 < numbers.size:
        zeros, others = int(numbers[at]), int(numbers[at + 1])
        begin = filled + zeros
        if begin + others > size or at + 2 + others > numbers.size or (zeros == others == 0):
            break
        targets.append(np.arange(begin, begin + others))
        sources.append(np.arange(at + 2, at + 2 + others))
        at, filled = at + 2 + others, begin + others
    if filled != size:
        raise BagError(f"depth as RVL ends after {filled} of {size} pixels: it is damaged")
    folded = numbers[np.concatenate(sources)]
    values = np.zeros(size, np.uint16)
    values[np.concatenate(targets)] = np.cumsum((folded >> 1) ^ -(folded & 1)).astype(np.uint16)  # 0, −1, 1, −2, …
    return values
