"""Where one frame of TF stood in another at a time, from what /tf and /tf_static said.

tf2's own rules: a tree of frames, each with its pose in one parent; between two stamps the pose is interpolated, before the first
and after the last one there is none; what is static holds always. This is not tf2's library, which no Python wheel has: one way,
tested on every machine, instead of two. (``tf_listener`` brings the messages.)
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from depth_retrofit_ros.errors import TransformError
from depth_retrofit_ros.pointcloud.poses import IDENTITY, Pose
from depth_retrofit_ros.ros.health.throttled_log import quoted
from depth_retrofit_ros.ros.messages.stamps import nanoseconds

if TYPE_CHECKING:
    from geometry_msgs.msg import TransformStamped

HISTORY_S = 10.0  # of each frame, by its stamps, as tf2 keeps it
STREAMING_S = 1.0  # a frame whose last transform is older than the image by more is not about to have a newer one
JUMP_S = 1.0  # stamps of a frame that go back by more are a recording or a simulation that begins again
POSES = 4096  # of a frame at most: 400 a second
FRAMES = 2048  # a stranger's messages may name any number
LATE_S = 0.05  # that a frame waits for a transform of its time, which is made and sent in another process


@dataclass(slots=True)
class _Link:
    """A frame's pose in its parent: static, or by stamp [ns]."""

    parent: str
    is_static: bool
    stamps_ns: list[int] = field(default_factory=list)
    poses: list[Pose] = field(default_factory=list)

    def add(self, stamp_ns: int, pose: Pose) -> None:
        if self.is_static or (self.stamps_ns and self.stamps_ns[-1] - stamp_ns > 1e9 * JUMP_S):
            self.stamps_ns, self.poses = [], []
        place = bisect_left(self.stamps_ns, stamp_ns)
        if self.stamps_ns[place : place + 1] == [stamp_ns]:
            self.poses[place] = pose
            return
        self.stamps_ns.insert(place, stamp_ns)
        self.poses.insert(place, pose)
        old = bisect_left(self.stamps_ns, self.stamps_ns[-1] - int(1e9 * HISTORY_S))
        old = max(old, len(self.stamps_ns) - POSES)
        del self.stamps_ns[:old], self.poses[:old]

    def at(self, stamp_ns: int) -> Pose | float:
        """The pose at that time; where there is none, how much later [s] than the last it is, negative: than the first."""
        stamps = self.stamps_ns
        if self.is_static:
            return self.poses[0]
        if stamp_ns > stamps[-1]:
            return 1e-9 * (stamp_ns - stamps[-1])
        if stamp_ns < stamps[0]:
            return 1e-9 * (stamp_ns - stamps[0])
        place = bisect_left(stamps, stamp_ns)
        if stamps[place] == stamp_ns:
            return self.poses[place]
        before, after = stamps[place - 1], stamps[place]
        return interpolated(self.poses[place - 1], self.poses[place], (stamp_ns - before) / (after - before))


class _NotYetError(TransformError):
    """What is missing may be on its way. last_ns: up to when it is known."""

    def __init__(self, text: str, last_ns: int) -> None:
        super().__init__(text)
        self.last_ns = last_ns


class Transforms:
    """Takes transforms in from the executor's thread (``offer``) and answers the worker's ``lookup``.

    missing: why none can come at all, empty where they can.
    """

    def __init__(self, missing: str = "") -> None:
        self.missing = missing
        self._links: dict[str, _Link] = {}  # by the child's name
        self._came = threading.Condition()
        self._refused = ""

    def offer(self, transforms: Iterable[TransformStamped], is_static: bool) -> None:
        """Remember what a message says. What means nothing (NaN, a quaternion of no length, a frame in itself) is left out; errors
        of ``lookup`` name the last of these."""
        with self._came:
            for transform in transforms:
                child, parent = _name(transform.child_frame_id), _name(transform.header.frame_id)
                pose = _pose(transform)
                if pose is None or not child or not parent or child == parent:
                    self._refused = f"; TF of {quoted(child)} in {quoted(parent)} means nothing and was left out"
                    continue
                link = self._links.get(child)
                if link is None and len(self._links) >= FRAMES:
                    continue
                if link is None or (link.parent, link.is_static) != (parent, is_static):
                    link = self._links[child] = _Link(parent, is_static)
                link.add(nanoseconds(transform.header.stamp), pose)
            self._came.notify_all()

    def forget(self) -> None:
        """All that moves. What is static is said once, and stays."""
        with self._came:
            self._links = {child: link for child, link in self._links.items() if link.is_static}

    def lookup(self, target: str, source: str, stamp_ns: int, wait_s: float = 0.0) -> Pose:
        """The pose of frame ``source`` in frame ``target`` at that time: x y z [m] and a unit quaternion qx qy qz qw.

        wait_s: for a transform that may be on its way: TF of an image's time is often sent after it. A frame that nobody publishes,
        or that ended long before, is not waited for: that would slow down every image. Raises TransformError.
        """
        target, source = _name(target), _name(source)
        if target == source:
            return IDENTITY
        if self.missing and not self._links:  # whoever has no messages may be given a recording
            raise TransformError(self.missing)
        end_s = time.monotonic() + wait_s
        with self._came:
            while True:
                try:
                    return self._looked_up(target, source, stamp_ns)
                except _NotYetError:
                    left_s = end_s - time.monotonic()
                    if left_s <= 0:
                        raise
                self._came.wait(left_s)

    def newest(self, target: str, source: str, stamp_ns: int, lag_s: float) -> Pose:
        """As ``lookup``, without a wait: where TF of that time is yet to come, the pose at the last time of which all is known,
        which may be ``lag_s`` earlier. Raises TransformError."""
        at_ns = stamp_ns
        while True:
            try:
                return self.lookup(target, source, at_ns)
            except _NotYetError as error:
                if not stamp_ns - 1e9 * lag_s <= error.last_ns < at_ns:
                    return self.lookup(target, source, stamp_ns)  # which tells how late it is
                at_ns = error.last_ns

    def _looked_up(self, target: str, source: str, stamp_ns: int) -> Pose:
        up, down = list(self._upwards(source)), list(self._upwards(target))
        if (common := next((frame for frame in up if frame in down), None)) is None:
            unknown = [quoted(frame) for frame, way in ((source, up), (target, down)) if not self._is_known(frame, way)]
            if unknown:
                raise TransformError(f"TF has no frame {' and no frame '.join(unknown)}: publish it{self._refused}")
            raise TransformError(
                f"TF does not connect {quoted(source)} and {quoted(target)}: publish what is between{self._refused}"
            )
        pose_of_source = self._pose_in(common, up, stamp_ns)
        return composed(inverse(self._pose_in(common, down, stamp_ns)), pose_of_source)

    def _upwards(self, frame: str) -> Iterator[str]:
        """The frame, its parent and so on; a circle is gone round once."""
        seen = {frame}
        yield frame
        while (link := self._links.get(frame)) is not None and link.parent not in seen:
            frame = link.parent
            seen.add(frame)
            yield frame

    def _is_known(self, frame: str, way: Sequence[str]) -> bool:
        return len(way) > 1 or any(link.parent == frame for link in self._links.values())

    def _pose_in(self, ancestor: str, way: Iterable[str], stamp_ns: int) -> Pose:
        """Of the first frame of the way up."""
        pose = IDENTITY
        for frame in way:
            if frame == ancestor:
                break
            link = self._links[frame]
            there = link.at(stamp_ns)
            if isinstance(there, float):
                known = "ends" if there > 0 else "begins"
                when = "before" if there > 0 else "after"
                told = (
                    f"TF of {quoted(frame)} in {quoted(link.parent)} {known} {abs(there):.3f} s {when} the image: "
                    "check its rate and its clock"
                )
                raise _NotYetError(told, link.stamps_ns[-1]) if 0 < there <= STREAMING_S else TransformError(told)
            pose = composed(there, pose)
        return pose


def composed(first: Pose, second: Pose) -> Pose:
    """The pose in the first one's parent of what has pose ``second`` in the first."""
    x, y, z = rotated(first[3:], second[:3])
    return (first[0] + x, first[1] + y, first[2] + z, *_product(first[3:], second[3:]))


def inverse(pose: Pose) -> Pose:
    """The parent's pose in the frame."""
    quaternion = (-pose[3], -pose[4], -pose[5], pose[6])
    x, y, z = rotated(quaternion, pose[:3])
    return (-x, -y, -z, *quaternion)


def rotated(quaternion: Sequence[float], vector: Sequence[float]) -> tuple[float, float, float]:
    """The vector [3], turned by a unit quaternion qx qy qz qw."""
    qx, qy, qz, qw = quaternion
    x, y, z = vector
    tx, ty, tz = 2 * (qy * z - qz * y), 2 * (qz * x - qx * z), 2 * (qx * y - qy * x)
    return (
        x + qw * tx + qy * tz - qz * ty,
        y + qw * ty + qz * tx - qx * tz,
        z + qw * tz + qx * ty - qy * tx,
    )


def interpolated(before: Pose, after: Pose, share: float) -> Pose:
    """Between two poses: the position on the line, the turn the shorter way at constant speed. share: 0 before, 1 after."""
    position = (1 - share) * np.asarray(before[:3]) + share * np.asarray(after[:3])
    p, q = np.asarray(before[3:]), np.asarray(after[3:])
    cosine = float(p @ q)
    if cosine < 0:  # the same turn, from the nearer side
        q, cosine = -q, -cosine
    angle = math.acos(min(cosine, 1.0))
    if angle < 1e-6:  # where a sine is its angle
        quaternion = (1 - share) * p + share * q
    else:
        quaternion = (math.sin((1 - share) * angle) * p + math.sin(share * angle) * q) / math.sin(angle)
    quaternion /= np.linalg.norm(quaternion)
    return (*map(float, position), *map(float, quaternion))


def _product(p: Sequence[float], q: Sequence[float]) -> tuple[float, float, float, float]:
    ax, ay, az, aw = p
    bx, by, bz, bw = q
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def _name(frame: str) -> str:
    """Of a frame; tf wrote a slash before it."""
    return frame.lstrip("/")


def _pose(transform: TransformStamped) -> Pose | None:
    """With a quaternion of unit length; None where there is none to be had."""
    t, r = transform.transform.translation, transform.transform.rotation
    length = math.hypot(r.x, r.y, r.z, r.w)
    if not all(map(math.isfinite, (t.x, t.y, t.z, length))) or length < 1e-6:
        return None
    return (t.x, t.y, t.z, r.x / length, r.y / length, r.z / length, r.w / length)
