"""``sensor_msgs/LaserScan`` to be sent, written in place as ``messages.outgoing`` has it, and the frame that it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.ros.messages.cdr import CdrWriter
from depth_retrofit_ros.ros.messages.outgoing import SerializedBuffer

if TYPE_CHECKING:
    from std_msgs.msg import Header

    from depth_retrofit_ros.runtime.laser_scan import ScanAngles

_OPTICAL, _BODY = "_optical_frame", "_frame"  # REP-103's names: z forward, and x forward at the same place
_NO_INTENSITIES = bytes(4)


def scan_frame(chosen: str, optical: str) -> str:
    """The frame with x forward and z up at the camera's place: the chosen one; else that of REP-103's name, which drivers publish
    beside the optical one. Raises OutputError where there is no such name, because a scan in an optical frame would lie in a
    vertical plane."""
    if chosen:
        return chosen
    if not optical.endswith(_OPTICAL):
        raise OutputError(f"a scan needs a frame with x forward, and {optical!r} does not end in {_OPTICAL}: set scan_frame")
    return optical.removesuffix(_OPTICAL) + _BODY


class ScanMessage:
    """One that is reused: ``prepare`` gives its ranges to write to, ``serialized`` is what to send."""

    def __init__(self) -> None:
        self._buffer = SerializedBuffer()

    @property
    def serialized(self) -> np.ndarray:
        """``uint8 [n]``; the same memory for every frame."""
        return self._buffer.serialized

    def prepare(self, beams: int, header: Header, frame: str, angles: ScanAngles, range_min: float, range_max: float) -> np.ndarray:
        """The message's own memory as ``float32 [beams]``. frame: its frame_id; the header gives the stamp alone. All beams
        are of one moment, and what is between two scans (``scan_time``) is 0, unknown."""
        before = CdrWriter()
        before.int32(header.stamp.sec)
        before.uint32(header.stamp.nanosec)
        before.string(frame)
        for value in (angles.first, angles.last, angles.increment, 0.0, 0.0, range_min, range_max):
            before.float32(value)
        before.uint32(beams)
        return self._buffer.data(4 * beams, bytes(before), _NO_INTENSITIES).view(np.float32)
