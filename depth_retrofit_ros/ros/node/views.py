"""What a window of frames gives beside the newest one's depth: one cloud of all its views, and where their cameras stood.

Both are in the newest image's optical frame, at its stamp, in metres: they are made only where its depth is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from geometry_msgs.msg import Pose, PoseArray
from std_msgs.msg import Header

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.window import WindowPrediction
from depth_retrofit_ros.frame import DepthFrame
from depth_retrofit_ros.lens import Optics, RayTable
from depth_retrofit_ros.reconstruction.cloud import cloud_points, confidence_limit
from depth_retrofit_ros.reconstruction.geometry import composed, inverse, moved, rays
from depth_retrofit_ros.reconstruction.reconstruct import in_first_camera
from depth_retrofit_ros.reconstruction.refined_view import RefinedView, ViewRefiner, full_confidence

DROP = 0.25  # share of the window's coarse pixels, those of least confidence, whose points are left out


@dataclass(frozen=True, slots=True)
class Window:
    """A window whose newest frame has been refined.

    prediction: of all its views; newest: the frame as refined, before it was brought to metres; camera: of all its images, which
    are one camera's; metres: per unit of ``newest``.
    """

    prediction: WindowPrediction
    newest: DepthFrame
    camera: Camera
    metres: float

    def poses(self, header: Header) -> PoseArray:
        """The cameras in the newest one's frame, the newest first: there the identity."""
        first, *_ = poses = self.prediction.cameras_from_world
        in_newest = (composed(first, inverse(pose)) for pose in poses)
        return PoseArray(header=header, poses=[_pose(pose, self.metres) for pose in in_newest])

    def points(self, refine: ViewRefiner, stride: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions ``float32 [N, 3]`` m in the newest camera's frame, and colours ``uint8 [N, 3]`` RGB.

        The earlier frames' depth is told and refined now, once more: each window has a scale of its own.
        """
        views = [replace(view, camera=self.camera) for view in in_first_camera(self.prediction.views())]
        limit = confidence_limit((view.confidence for view in views), DROP)
        parts = []
        for index, (image, view) in enumerate(zip(self.prediction.images, views, strict=True)):
            picture = image.cpu().numpy()
            if index:
                refined = refine(picture, view)
            else:
                points = moved(rays(self.camera) * self.newest.depth.cpu().numpy(), inverse(view.camera_from_world))
                sure = full_confidence(view.confidence, (picture.shape[0], picture.shape[1]))
                refined = RefinedView(picture, self.newest, points, sure, self.camera, view.camera_from_world)
            parts.append(cloud_points(refined, limit, stride))
        positions, colors = (np.concatenate(part) for part in zip(*parts, strict=True))
        return positions * np.float32(self.metres), colors


def window_of(prediction: object, newest: DepthFrame, scaled: DepthFrame, optics: Optics | None = None) -> Window | None:
    """The window that a frame's coarse prediction was made of; None where it was not, or has no metres, or no pinhole camera.

    scaled: the newest frame as it is published. Its depth must be that of ``newest`` by one factor. optics: see ``Frame``.
    """
    if not isinstance(prediction, WindowPrediction) or not scaled.metric or scaled.camera is None or isinstance(optics, RayTable):
        return None
    factor = (scaled.depth / newest.depth).nanmedian()
    return Window(prediction, newest, scaled.camera, float(factor)) if bool(torch.isfinite(factor)) else None


def _pose(world_from_camera: np.ndarray, metres: float) -> Pose:
    pose = Pose()
    position = world_from_camera[:, 3] * metres
    pose.position.x, pose.position.y, pose.position.z = (float(value) for value in position)
    o = pose.orientation
    o.x, o.y, o.z, o.w = (float(value) for value in quaternion(world_from_camera[:, :3]))
    return pose


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """Of a rotation ``[3, 3]``: x, y, z, w, of length 1, w ≥ 0."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    # The symmetric matrix whose largest eigenvector it is: no case is near a division by 0.
    matrix = np.array(
        [
            [a - e - i, b + d, c + g, h - f],
            [b + d, e - a - i, f + h, c - g],
            [c + g, f + h, i - a - e, d - b],
            [h - f, c - g, d - b, a + e + i],
        ]
    )
    vector = np.linalg.eigh(matrix)[1][:, -1]
    return vector if vector[3] >= 0 else -vector
