"""Sparse depth as it comes in on two topics: which message belongs to a frame, and what it knows of it."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from sensor_msgs.msg import Image, PointCloud2

from depth_retrofit_ros.errors import SparseDepthError, TransformError
from depth_retrofit_ros.frame import Frame, SparseDepth
from depth_retrofit_ros.pointcloud.poses import Pose
from depth_retrofit_ros.ros.health.throttled_log import quoted
from depth_retrofit_ros.ros.messages.sparse_depth import from_image, from_points, rectified
from depth_retrofit_ros.ros.messages.stamps import nanoseconds
from depth_retrofit_ros.ros.node.parameters import NO_POSE
from depth_retrofit_ros.ros.node.transforms import Transforms

if TYPE_CHECKING:
    pass

TOLERANCE_S = 0.1  # between the stamps of image and sparse depth, and of image and TF that is late: no image waits for that
REMEMBERED_S = 3.0  # of sparse depth, by its stamps: an image that a slow model answers is as old
LATE_S = 0.05  # that a frame waits for sparse depth of its time, which is made and sent in another process
STREAMING_S = 1.0  # since the last message, on the wall and by the stamps, after which none is waited for
REMEMBERED_ALL = 10  # messages, the newest; older ones are thinned to one per half tolerance, which bounds their memory


class SparseInput:
    """Takes messages in from the executor's thread (``offer``) and finds those of frames in the worker's (``wait``, ``of``).

    pose: of the points' frame in the image's optical frame; ``NO_POSE``: as transforms say, at the image's stamp or the last before
    it that they know. topics: their names, for the words.
    """

    def __init__(self, pose: tuple[float, ...], topics: str, transforms: Transforms | None = None) -> None:
        self._pose = pose
        self._topics = topics
        self._transforms = transforms or Transforms()
        self._lock = threading.Condition()
        self._came_s = float("-inf")  # when the last message came
        self._newest: deque[Image | PointCloud2] = deque()
        self._older: dict[int, Image | PointCloud2] = {}  # by their stamp in half tolerances

    def offer(self, message: Image | PointCloud2) -> None:
        """Remember a message; it is read only if a frame needs it."""
        stamp_ns = nanoseconds(message.header.stamp)
        with self._lock:
            self._newest.append(message)
            self._came_s = time.monotonic()
            self._lock.notify_all()
            if len(self._newest) > REMEMBERED_ALL:
                older = self._newest.popleft()
                self._older[round(2e-9 * nanoseconds(older.header.stamp) / TOLERANCE_S)] = older
            self._older = {slot: older for slot, older in self._older.items() if _apart_s(older, stamp_ns) <= REMEMBERED_S}

    def forget(self) -> None:
        """What came so far."""
        with self._lock:
            self._newest.clear()
            self._older = {}

    def wait(self, stamp_ns: int) -> None:
        """Until there is a message of the frame's time or later, or none can be expected that is nearer than what is there;
        ``LATE_S`` at most."""
        end_s = time.monotonic() + LATE_S
        with self._lock:
            while self._may_come(stamp_ns) and (left_s := end_s - time.monotonic()) > 0:
                self._lock.wait(left_s)

    def _may_come(self, stamp_ns: int) -> bool:
        """Whether a message nearer to the stamp is to be expected of what came so far, which is earlier."""
        if time.monotonic() - self._came_s > STREAMING_S:
            return False
        if not self._newest:
            return False  # forgotten
        last_ns, *before = sorted({nanoseconds(message.header.stamp) for message in self._newest}, reverse=True)
        behind_ns = stamp_ns - last_ns
        if not 0 < behind_ns <= 1e9 * STREAMING_S:
            return False
        return not before or behind_ns > (last_ns - before[0]) / 2

    @property
    def remembered(self) -> int:
        """Number of messages that are kept."""
        with self._lock:
            return len(self._newest) + len(self._older)

    def of(self, frame: Frame) -> SparseDepth:
        """What is known of a frame: what it carries, else what the message nearest in time says. Raises SparseDepthError where
        none fits."""
        if frame.sparse is not None:
            return frame.sparse
        if frame.stamp_ns is None:
            raise SparseDepthError("an image without a stamp has no sparse depth of its time: give the frame its stamp")
        message = self._nearest(frame.stamp_ns)
        height, width = frame.image.shape[:2]
        if isinstance(message, Image):
            return rectified(from_image(message, width, height), frame.optics)
        if frame.camera is None:
            raise SparseDepthError("sparse points need the camera_info of the image: publish it")
        pose = self._pose_of(message.header.frame_id, frame.frame_id, frame.stamp_ns)
        return from_points(message, frame.camera, pose, frame.optics)

    def _pose_of(self, there: str, here: str, stamp_ns: int) -> Pose:
        """The points' frame ``there`` in the image's: the given one, else by TF."""
        if there == here or self._pose != NO_POSE:
            return self._pose
        try:
            return self._transforms.newest(here, there, stamp_ns, TOLERANCE_S)
        except TransformError as error:
            raise SparseDepthError(
                f"sparse points are in frame {quoted(there)}, the image in {quoted(here)}: {error}, or set sparse_points_pose"
            ) from None

    def _nearest(self, stamp_ns: int) -> Image | PointCloud2:
        with self._lock:
            messages = [*reversed(self._newest), *self._older.values()]  # of one stamp, the last that came
        if not messages:
            raise SparseDepthError(f"no sparse depth on {self._topics}")
        nearest = min(messages, key=lambda message: _apart_s(message, stamp_ns))
        apart_s = _apart_s(nearest, stamp_ns)
        if apart_s > TOLERANCE_S:
            raise SparseDepthError(
                f"the nearest sparse depth on {self._topics} is {apart_s:.2f} s from the image ({TOLERANCE_S} s are allowed): "
                "check its rate and its clock"
            )
        return nearest


def _apart_s(message: Image | PointCloud2, stamp_ns: int) -> float:
    return 1e-9 * abs(nanoseconds(message.header.stamp) - stamp_ns)
