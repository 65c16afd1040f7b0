"""Where the camera is in the frame of the crop box, by TF or by a fixed pose; and the filter that the parameters ask for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from depth_retrofit_ros.errors import OutputError, TransformError
from depth_retrofit_ros.pointcloud.filters import EVERYTHING, CloudFilter
from depth_retrofit_ros.pointcloud.poses import Pose
from depth_retrofit_ros.ros.health.throttled_log import quoted
from depth_retrofit_ros.ros.messages.stamps import nanoseconds
from depth_retrofit_ros.ros.node.parameters import NO_BOX
from depth_retrofit_ros.ros.node.transforms import LATE_S, Transforms

if TYPE_CHECKING:
    from std_msgs.msg import Header

    from depth_retrofit_ros.ros.node.parameters import Settings

AGAIN_S = 1.0  # after one that did not come, until one is waited for again


def crops_by_tf(settings: Settings) -> bool:
    """Whether there is a box in a frame that TF tells."""
    return "points" in settings.outputs and settings.crop_box != NO_BOX and bool(settings.crop_frame)


class CropFrame:
    """The worker's. A frame that cannot be reached raises: the image then goes out without its cloud, which is told, rather than
    with points that should not be in it."""

    def __init__(self, transforms: Transforms) -> None:
        self._transforms = transforms
        self._missed_s = float("-inf")  # when one did not come

    def filter(self, header: Header, settings: Settings) -> CloudFilter:
        """The cloud that the parameters ask for. header: the image's. Raises OutputError."""
        return filter_of(settings, EVERYTHING.pose if settings.crop_box == NO_BOX else self.pose(header, settings))

    def pose(self, header: Header, settings: Settings) -> Pose:
        """Of the image's optical frame in that of the box: position [m] and unit quaternion. Raises OutputError."""
        if not settings.crop_frame:
            return settings.crop_pose
        wait_s = LATE_S if time.monotonic() - self._missed_s >= AGAIN_S else 0.0
        try:
            return self._transforms.lookup(settings.crop_frame, header.frame_id, nanoseconds(header.stamp), wait_s)
        except TransformError as error:
            if wait_s:
                self._missed_s = time.monotonic()
            raise OutputError(
                f"crop_frame {quoted(settings.crop_frame)} cannot be reached: {error}, or leave it empty and set crop_pose"
            ) from None


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
