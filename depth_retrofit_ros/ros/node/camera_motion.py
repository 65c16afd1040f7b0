"""The camera's own motion by TF: between two stamps, as the robot's odometry or its localization tells it."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.errors import TransformError
from depth_retrofit_ros.pointcloud.poses import rotation_matrix
from depth_retrofit_ros.ros.node.transforms import Transforms, composed, inverse
from depth_retrofit_ros.temporal.known_motion import KnownMotion, Motions


def motions_by_tf(transforms: Transforms, fixed_frame: str) -> Motions | None:
    """Of cameras by their optical frames. fixed_frame: one that stands still, such as odom; None where it is empty.

    TF of an image's stamp may come after the image: it is asked for once the coarse model has answered, and never waited for.
    """
    if not fixed_frame:
        return None

    def moved(frame_id: str, before_ns: int, now_ns: int) -> KnownMotion:
        if not frame_id or frame_id.lstrip("/") == fixed_frame.lstrip("/"):
            raise TransformError("motion_frame must be a frame that stands still, such as odom, and the images must have another")
        before, now = (transforms.lookup(fixed_frame, frame_id, at_ns) for at_ns in (before_ns, now_ns))
        pose = composed(inverse(before), now)
        return KnownMotion(rotation_matrix(pose[3:]), np.array(pose[:3]))

    return moved
