"""What lies on the host unchanged from frame to frame, on a device."""

from __future__ import annotations

import numpy as np
import torch

from depth_retrofit_ros.device.cuda_streams import Upload


class Resident:
    """Sent once for each array, without waiting: the next frame mostly brings the same one."""

    def __init__(self, device: torch.device) -> None:
        self._upload = Upload(device)
        self._array: np.ndarray | None = None
        self._sent: torch.Tensor | None = None

    def __call__(self, array: np.ndarray | None) -> torch.Tensor | None:
        """The array on the device; nothing for None."""
        if array is not self._array:
            self._array, self._sent = array, None if array is None else self._upload(array)
        return self._sent
