"""Which camera_info belongs to an image: that of its stamp, else the nearest in time, else the newest there is."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from depth_retrofit_ros.ros.health.throttled_log import quoted
from depth_retrofit_ros.ros.messages.stamps import nanoseconds

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo
    from std_msgs.msg import Header

NEAR_S = 0.1  # between the stamps of image and camera_info: three frames of a 30 Hz camera
LATE_S = 0.02  # that an image waits for the camera_info of its stamp, where the one before it had one: two topics have no order
JUMP_S = 1.0  # stamps that go back by more are a recording or a simulation that begins again
REMEMBERED = 256  # messages: those of eight seconds at 30 Hz, as old as an image that waits for a slow model
MOST_BYTES = 1 << 20  # of coefficients and names in them: a sound message has 200

TOO_FAR = f"no camera_info within {NEAR_S:g} s of the image, the newest is used: publish one with each image, of its stamp"

Match = Literal["stamp", "nearest", "newest", "no stamp", "none"]


@dataclass(frozen=True, slots=True)
class MatchedInfo:
    """What ``CameraInfos`` has for an image.

    info: None where none came. by: how it was found; ``no stamp``: it has a stamp of zero, as a calibration that is published once,
    and holds for every image. apart_s: between the two stamps [s], 0 without any. stamp_problem, frame_problem: what is to be told
    of either, None where there is nothing.
    """

    info: CameraInfo | None = None
    by: Match = "none"
    apart_s: float = 0.0
    stamp_problem: str | None = None
    frame_problem: str | None = None


class CameraInfos:
    """Takes camera_info in from the executor's thread (``offer``) and finds that of images in the worker's (``of``)."""

    def __init__(self) -> None:
        self._came = threading.Condition()
        self._by_stamp_ns: OrderedDict[int, CameraInfo] = OrderedDict()  # in the order in which they came
        self._bytes = 0
        self._newest: CameraInfo | None = None
        self._was_exact = False  # the last image's

    @property
    def newest(self) -> CameraInfo | None:
        """The last that came."""
        return self._newest

    def __len__(self) -> int:
        with self._came:
            return len(self._by_stamp_ns)

    def offer(self, info: CameraInfo) -> None:
        """Remember a camera_info; of one stamp, the last that came."""
        stamp_ns = nanoseconds(info.header.stamp)
        with self._came:
            self._newest = info
            if (replaced := self._by_stamp_ns.pop(stamp_ns, None)) is not None:
                self._bytes -= _bytes(replaced)
            self._by_stamp_ns[stamp_ns] = info
            self._bytes += _bytes(info)
            while len(self._by_stamp_ns) > (REMEMBERED if self._bytes <= MOST_BYTES else 1):
                self._bytes -= _bytes(self._by_stamp_ns.popitem(last=False)[1])
            self._came.notify_all()

    def of(self, header: Header) -> MatchedInfo:
        """That of the image with this header; it may wait ``LATE_S``."""
        stamp_ns = nanoseconds(header.stamp)
        with self._came:
            if self._was_exact:
                end_s = time.monotonic() + LATE_S
                while self._may_come(stamp_ns) and (left_s := end_s - time.monotonic()) > 0:
                    self._came.wait(left_s)
            info, by, apart_s = self._found(stamp_ns)
            self._was_exact = by == "stamp"
        if info is None:
            return MatchedInfo()
        return MatchedInfo(info, by, apart_s, TOO_FAR if by == "newest" else None, _frame_problem(info.header, header))

    def _may_come(self, stamp_ns: int) -> bool:
        """Whether the last that came is from before the stamp, or from before a jump back to it."""
        ahead_ns = next(reversed(self._by_stamp_ns)) - stamp_ns
        return stamp_ns not in self._by_stamp_ns and not 0 <= ahead_ns <= 1e9 * JUMP_S

    def _found(self, stamp_ns: int) -> tuple[CameraInfo | None, Match, float]:
        newest = self._newest
        if newest is None:
            return None, "none", 0.0
        if (exact := self._by_stamp_ns.get(stamp_ns)) is not None:
            return exact, "stamp", 0.0
        newest_ns = nanoseconds(newest.header.stamp)
        if newest_ns == 0:
            return newest, "no stamp", 0.0
        nearest_ns = min(filter(None, self._by_stamp_ns), key=lambda there_ns: abs(there_ns - stamp_ns))
        apart_s = 1e-9 * abs(nearest_ns - stamp_ns)
        if apart_s <= NEAR_S:
            return self._by_stamp_ns[nearest_ns], "nearest", apart_s
        return newest, "newest", 1e-9 * abs(newest_ns - stamp_ns)


def _frame_problem(info: Header, image: Header) -> str | None:
    if info.frame_id in ("", image.frame_id):  # one that nobody filled in contradicts nothing
        return None
    there, here = quoted(info.frame_id), quoted(image.frame_id)
    return f"camera_info is in frame {there}, the image in {here}, which is used: remap camera_info to that of the image's camera"


def _bytes(info: CameraInfo) -> int:
    """Of what a message may have any number of."""
    return 8 * len(info.d) + len(info.distortion_model) + len(info.header.frame_id)
