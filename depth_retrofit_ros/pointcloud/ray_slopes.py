"""``Camera.ray_slopes`` on a device."""

from __future__ import annotations

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.device.cuda_streams import Upload


class RaySlopes:
    """Sent once a camera, without waiting: a stream of images has mostly one."""

    def __init__(self, device: torch.device) -> None:
        self._upload = Upload(device)
        self._camera: Camera | None = None
        self._slopes = torch.empty(0), torch.empty(0)

    def __call__(self, camera: Camera) -> tuple[torch.Tensor, torch.Tensor]:
        """``x/z`` of every column, float32 [W], and ``y/z`` of every row, float32 [H]."""
        if camera != self._camera:
            both = self._upload(np.concatenate(camera.ray_slopes()))
            self._slopes, self._camera = (both[: camera.width], both[camera.width :]), camera
        return self._slopes
