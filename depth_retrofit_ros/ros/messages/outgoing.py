"""Images and clouds to be sent: serialized messages whose memory is allocated once per size and written in place.

Whoever computes an output writes straight into the bytes that the middleware takes. A Python message would be converted to a C
struct (a copy, into memory that is zeroed first) and that be serialized (another), with Python's lock held throughout.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
from sensor_msgs.msg import PointField

from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.pointcloud.organized import POINT_STEP
from depth_retrofit_ros.ros.messages.cdr import CdrWriter

if TYPE_CHECKING:
    from std_msgs.msg import Header

_MOST_BYTES = (1 << 32) - 1  # of a sequence: CDR counts its elements with 32 bits
_IS_BIGENDIAN = int(sys.byteorder == "big")
_ALIGNMENT = 64  # bytes, a cache line
_HEADROOM = 512  # bytes, for all that comes before the data; more is allocated where a frame's name is that long
_POSITION_FIELDS = (("x", 0), ("y", 4), ("z", 8))


class SerializedBuffer:
    """Memory of one serialized message: what comes before the data, the data, and what comes after.

    The data stays where it is, at a cache line, whatever comes before it: that is written in front of it, towards lower addresses.
    """

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)
        self._start = self._size = self._before = self._after = 0

    def data(self, size: int, before: bytes, after: bytes = b"") -> np.ndarray:
        """The message's data, ``uint8 [size]``, to be written to, between these two; allocated anew only where the size changed."""
        if size != self._size or len(before) > self._start or len(after) > len(self._memory) - self._start - size:
            headroom = max(_HEADROOM, len(before))
            memory = np.empty(headroom + _ALIGNMENT + size + len(after), np.uint8)
            self._start = headroom + -(memory.ctypes.data + headroom) % _ALIGNMENT
            self._memory, self._size = memory, size
        start, end = self._start, self._start + size
        self._before, self._after = len(before), len(after)
        self._memory[start - len(before) : start] = np.frombuffer(before, np.uint8)
        self._memory[end : end + len(after)] = np.frombuffer(after, np.uint8)
        return self._memory[start:end]

    @property
    def serialized(self) -> np.ndarray:
        """The whole message as it is now, ``uint8 [n]``, contiguous."""
        return self._memory[self._start - self._before : self._start + self._size + self._after]


class ImageMessage:
    """A ``sensor_msgs/Image`` that is reused: ``prepare`` gives its pixels to write to, ``serialized`` is what to send."""

    def __init__(self, encoding: str, dtype: type[np.generic], channels: int) -> None:
        self._buffer = SerializedBuffer()
        self._encoding = encoding
        self._dtype = np.dtype(dtype)
        self._channels = channels

    @property
    def serialized(self) -> np.ndarray:
        """``uint8 [n]``; the same memory for every frame."""
        return self._buffer.serialized

    def prepare(self, height: int, width: int, header: Header) -> np.ndarray:
        """The message's own memory as ``[H, W]`` or, with several channels, ``[H, W, channels]``."""
        step = width * self._channels * self._dtype.itemsize
        _require_sendable(height * step)
        before = CdrWriter()
        before.header(header)
        before.uint32(height)
        before.uint32(width)
        before.string(self._encoding)
        before.uint8(_IS_BIGENDIAN)
        before.uint32(step)
        before.uint32(height * step)
        shape = (height, width) if self._channels == 1 else (height, width, self._channels)
        return self._buffer.data(height * step, bytes(before)).view(self._dtype).reshape(shape)


class CloudMessage:
    """A ``sensor_msgs/PointCloud2`` of x, y, z and color or intensity (16 bytes a point) that is reused, as ``ImageMessage`` is."""

    def __init__(self) -> None:
        self._buffer = SerializedBuffer()

    @property
    def serialized(self) -> np.ndarray:
        """``uint8 [n]``; the same memory for every frame."""
        return self._buffer.serialized

    def prepare(self, height: int, width: int, header: Header, *, last_field: str = "rgb", is_dense: bool = False) -> np.ndarray:
        """The message's own memory as ``float32 [h, w, 4]``. last_field: what is called so follows x, y, z; is_dense: no point is
        NaN."""
        fields = (*_POSITION_FIELDS, (last_field, 12))
        row_step = width * POINT_STEP
        _require_sendable(height * row_step)
        before = CdrWriter()
        before.header(header)
        before.uint32(height)
        before.uint32(width)
        before.uint32(len(fields))
        for name, offset in fields:
            before.string(name)
            before.uint32(offset)
            before.uint8(PointField.FLOAT32)
            before.uint32(1)
        before.uint8(_IS_BIGENDIAN)
        before.uint32(POINT_STEP)
        before.uint32(row_step)
        before.uint32(height * row_step)
        return self._buffer.data(height * row_step, bytes(before), bytes([is_dense])).view(np.float32).reshape(height, width, 4)


def _require_sendable(size: int) -> None:
    """Raises OutputError, before these many bytes are allocated. Of 64 megapixels, the most that are taken in, no image and no
    cloud of one view comes near; the cloud of five views does."""
    if size > _MOST_BYTES:
        raise OutputError(f"a message of {size / 1e9:.1f} GB cannot be sent, ROS 2 ends at 4.3: raise cloud_stride or lower views")
