"""Where the camera is in the frame of the crop box: by TF, or by a fixed pose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.pointcloud.filters import EVERYTHING, CloudFilter, Pose
from depth_retrofit_ros.ros.health.throttled_log import quoted
from depth_retrofit_ros.ros.node.parameters import NO_BOX

if TYPE_CHECKING:
    from rclpy.node import Node
    from std_msgs.msg import Header

    from depth_retrofit_ros.ros.node.parameters import Settings

OLDEST_S = 0.5  # how far from the image's stamp a transform may be that is not there at the stamp


class CropFrame:
    """Listens to TF where, and as long as, a box lies in another frame. A frame that cannot be reached raises: the frame then goes
    out without its cloud, which is told, rather than with points that should not be in it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._tf: tuple[Any, Any] | None = None  # buffer and listener
        self._missing = False

    def follow(self, settings: Settings) -> None:
        """Begin or end to listen, in the executor's thread."""
        wanted = settings.crop_box != NO_BOX and bool(settings.crop_frame)
        if wanted and self._tf is None:
            try:
                import tf2_ros
            except ImportError:
                self._missing = True
                return
            buffer = tf2_ros.Buffer()
            self._tf = buffer, tf2_ros.TransformListener(buffer, self._node)
        elif not wanted:
            self.destroy()

    def destroy(self) -> None:
        """Stop listening."""
        if self._tf is not None:
            tf, self._tf = self._tf, None
            tf[1].unregister()

    def pose(self, header: Header, settings: Settings) -> Pose:
        """Of the image's optical frame in that of the box: position [m] and unit quaternion. Raises OutputError."""
        x, y, z, qx, qy, qz, qw = settings.crop_pose
        if settings.crop_frame in ("", header.frame_id):
            return (x, y, z, qx, qy, qz, qw) if not settings.crop_frame else EVERYTHING.pose
        if self._tf is None:
            remedy = "install tf2_ros, or leave crop_frame empty and set crop_pose" if self._missing else "wait for TF"
            raise OutputError(f"crop_frame {quoted(settings.crop_frame)} cannot be reached: {remedy}")
        transform = self._looked_up(self._tf[0], settings.crop_frame, header)
        at, turn = transform.translation, transform.rotation
        return at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w

    def _looked_up(self, buffer: Any, frame: str, header: Header) -> Any:
        """At the image's stamp; else the newest one, if it is static or near."""
        from rclpy.time import Time

        stamp = Time.from_msg(header.stamp)
        for when in (stamp, Time()):
            try:
                found = buffer.lookup_transform(frame, header.frame_id, when)
            except Exception as error:  # tf2's own have no common ancestor but this
                reason = error
                continue
            newest_ns = Time.from_msg(found.header.stamp).nanoseconds
            if newest_ns == 0 or abs(newest_ns - stamp.nanoseconds) <= 1e9 * OLDEST_S:
                return found.transform
            reason = ValueError(f"the newest transform is {1e-9 * (stamp.nanoseconds - newest_ns):.1f} s older than the image")
        said = (str(reason).strip().splitlines() or [type(reason).__name__])[0]
        raise OutputError(f"crop_frame {quoted(frame)} cannot be reached from {quoted(header.frame_id)}: {said}; publish its TF")


def filter_of(settings: Settings, pose: Pose) -> CloudFilter:
    """The cloud that the parameters ask for. pose: see ``CropFrame.pose``, of no matter without a box."""
    x0, y0, z0, x1, y1, z1 = settings.crop_box
    return CloudFilter(
        range_min=settings.range_min,
        range_max=settings.range_max,
        flying_pixels=settings.flying_pixels,
        box=None if settings.crop_box == NO_BOX else (x0, y0, z0, x1, y1, z1),
        pose=pose,
        keep_sky=settings.sky == "far",
        voxel_size=settings.voxel_size,
        voxel_point="first" if settings.voxel_point == "first" else "centroid",
        max_points=settings.max_points,
        intensity=settings.cloud_fields == "intensity",
    )
