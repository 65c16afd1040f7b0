"""``stereo_msgs/DisparityImage`` to be sent, written in place as ``messages.outgoing`` has it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from depth_retrofit_ros.errors import GraphError
from depth_retrofit_ros.ros.messages.cdr import ENCAPSULATION, CdrWriter
from depth_retrofit_ros.ros.messages.outgoing import SerializedBuffer

if TYPE_CHECKING:
    from std_msgs.msg import Header

    from depth_retrofit_ros.io.disparity_image import DisparityRange

_ITEM = 4  # bytes of a float32


def disparity_type() -> type:
    """The message's class. Raises GraphError where its package is not installed; nothing else of the node needs it."""
    try:
        from stereo_msgs.msg import DisparityImage
    except ImportError:
        remedy = "apt install ros-$ROS_DISTRO-stereo-msgs, or pip install ros-stereo-msgs where ROS 2 comes from wheels"
        raise GraphError(f"output disparity needs the package stereo_msgs: {remedy}") from None
    return DisparityImage


class DisparityMessage:
    """One that is reused: ``prepare`` gives its pixels to write to, ``finish`` the message once these are there."""

    def __init__(self) -> None:
        self._buffer = SerializedBuffer()

    def prepare(self, height: int, width: int, header: Header) -> np.ndarray:
        """The message's own memory as ``float32 [H, W]``."""
        step = width * _ITEM
        before = CdrWriter()
        before.header(header)
        before.header(header)  # of the image in it
        before.uint32(height)
        before.uint32(width)
        before.string("32FC1")
        before.uint8(int(sys.byteorder == "big"))
        before.uint32(step)
        before.uint32(height * step)
        self._shape, self._before = (height, width), bytes(before)
        return self._data(b"")

    def finish(self, focal_length: float, baseline: float, found: DisparityRange) -> np.ndarray:
        """The serialized message, ``uint8 [n]``; the same memory for every frame.

        focal_length: [px]; baseline: [m]. A disparity below the smallest is invalid, as the message has it, and so is the 0 of what
        is unknown; ``delta_d`` is the step of a float at the largest, for these disparities are no matcher's.
        """
        height, width = self._shape
        after = CdrWriter()
        for value in (focal_length, baseline):
            after.float32(value)
        for number in (0, 0, height, width):  # the window of possibly valid disparities: the whole image
            after.uint32(number)
        after.uint8(0)  # do_rectify
        for value in (found.smallest, found.largest, float(np.spacing(np.float32(found.largest)))):
            after.float32(value)
        self._data(bytes(after)[len(ENCAPSULATION) :])
        return self._buffer.serialized

    def _data(self, after: bytes) -> np.ndarray:
        height, width = self._shape
        room = after or bytes(_AFTER)
        return self._buffer.data(height * width * _ITEM, self._before, room).view(np.float32).reshape(height, width)


_AFTER = 2 * 4 + 4 * 4 + 4 + 3 * 4  # f, T; valid_window, its flag filled up to four bytes; three disparities
