"""CDR, the form in which ROS 2 sends messages over any middleware: fields in order, numbers at multiples of their size.

What is written here are the fields around the one that holds pixels or points (OMG DDSI-RTPS 10, plain CDR version 1), so that
these need not pass through a Python message, a C struct and a serializer, each of which copies them.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from std_msgs.msg import Header

ENCAPSULATION = bytes((0, int(sys.byteorder == "little"), 0, 0))
"""What every serialized message begins with: the byte order of all that follows, this machine's."""


class CdrWriter:
    """Fields of at most four bytes, one after the other; ``bytes(writer)`` is what was written.

    Alignment counts from behind the encapsulation, which for these fields is the same as from its start.
    """

    def __init__(self) -> None:
        self._bytes = bytearray(ENCAPSULATION)

    def __bytes__(self) -> bytes:
        return bytes(self._bytes)

    def uint8(self, value: int) -> None:
        self._bytes += struct.pack("=B", value)

    def uint32(self, value: int) -> None:
        self._align()
        self._bytes += struct.pack("=I", value)

    def int32(self, value: int) -> None:
        self._align()
        self._bytes += struct.pack("=i", value)

    def float32(self, value: float) -> None:
        self._align()
        self._bytes += struct.pack("=f", value)

    def string(self, value: str) -> None:
        """In UTF-8, up to its first zero, as rclpy has it."""
        encoded = value.encode().split(b"\0", 1)[0]
        self.uint32(len(encoded) + 1)
        self._bytes += encoded + b"\0"

    def header(self, header: Header) -> None:
        """A ``std_msgs/Header``."""
        self.int32(header.stamp.sec)
        self.uint32(header.stamp.nanosec)
        self.string(header.frame_id)

    def _align(self) -> None:
        self._bytes += bytes(-len(self._bytes) % 4)
