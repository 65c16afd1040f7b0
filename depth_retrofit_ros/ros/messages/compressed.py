"""``sensor_msgs/CompressedImage`` to be sent: encoders write into the serialized message's memory, and tell its size afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from depth_retrofit_ros.ros.messages.cdr import CdrWriter

if TYPE_CHECKING:
    from std_msgs.msg import Header

_ALIGNMENT = 64  # bytes, a cache line


class CompressedMessage:
    """One that is reused: ``prepare`` gives memory for the data, ``finish`` the message with as much of it as was written."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def prepare(self, capacity: int, header: Header, form: str) -> np.ndarray:
        """The message's own memory, ``uint8 [capacity]``, at a cache line. form: the message's ``format``."""
        self._before = CdrWriter()
        self._before.header(header)
        self._before.string(form)
        self._before.uint32(0)
        self._size_at = len(bytes(self._before)) - 4
        headroom = -(-(self._size_at + 4) // _ALIGNMENT) * _ALIGNMENT
        if len(self._memory) < headroom + capacity + _ALIGNMENT:
            self._memory = np.empty(headroom + capacity + _ALIGNMENT, np.uint8)
        self._start = headroom + -(self._memory.ctypes.data + headroom) % _ALIGNMENT
        return self._memory[self._start : self._start + capacity]

    def finish(self, size: int) -> np.ndarray:
        """The serialized message of the first ``size`` bytes, ``uint8 [n]``; the same memory for every frame."""
        before = np.frombuffer(bytes(self._before), np.uint8).copy()
        before[self._size_at :] = np.frombuffer(np.uint32(size).tobytes(), np.uint8)
        first = self._start - len(before)
        self._memory[first : self._start] = before
        return self._memory[first : self._start + size]
