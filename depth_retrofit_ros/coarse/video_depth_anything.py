"""Video Depth Anything Small as a coarse model (arXiv 2501.12375), frame by frame: each one attends to those before it.

Disparity of unknown scale and shift, which hardly change from frame to frame. Its authors call this mode experimental: the network
was trained on whole clips, and frame by frame it is less accurate than on clips.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.depth_anything import IMAGENET_MEAN, IMAGENET_STD, depth_from_disparity
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.coarse.networks.dpt import to_precision
from depth_retrofit_ros.coarse.networks.temporal import TemporalMemory
from depth_retrofit_ros.coarse.networks.video_depth_anything import SMALL, VideoDepth
from depth_retrofit_ros.io.checkpoints import load_strict, load_tensors
from depth_retrofit_ros.upsampling.area_average import downsample

NAME = "video-depth-anything-small"
LONGEST_GAP_NS = 1_000_000_000  # between two frames of one video


class VideoDepthAnything:
    """``CoarseModel`` with a memory: of the video's first frame and its last 41, bounded (53 MB in float16 for each 100,000 px of
    the input).

    A frame belongs to the video if its stamp is later than the last one's by ``LONGEST_GAP_NS`` at most, and its size the same; any
    other begins a new one. A frame without a stamp stands alone. size, dtype: as in ``DepthAnything3``.
    """

    def __init__(
        self, net: VideoDepth, claim: ScaleClaim, device: torch.device, size: InputSize, dtype: torch.dtype | None = None
    ) -> None:
        self.name, self.claim, self.device, self.size = NAME, claim, device, size
        self._dtype = dtype or (torch.float16 if device.type == "cuda" else torch.float32)
        self._net = to_precision(net.to(device), self._dtype).eval()
        self._mean, self._std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        self._memory = TemporalMemory()
        self._last_stamp_ns, self._frame_size = 0, (0, 0)

    @torch.no_grad()
    def predict(self, image: Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel``. The camera is not used. features: the 32 channels before the disparity's last projection."""
        frame_size = (image.shape[0], image.shape[1])
        if not self._continues(hints.stamp_ns, frame_size):
            self._memory.clear()
        planes = (downsample(image, self.size.of(*frame_size)) - self._mean) / self._std
        disparity, features, state = self._net(planes.to(self._dtype), self._memory.past())
        if hints.stamp_ns is not None:
            self._memory.add(state)
            self._last_stamp_ns, self._frame_size = hints.stamp_ns, frame_size
        return CoarsePrediction(depth_from_disparity(disparity[0]), features[0])

    def _continues(self, stamp_ns: int | None, frame_size: tuple[int, int]) -> bool:
        """Whether a frame belongs to the video that is remembered."""
        if stamp_ns is None or frame_size != self._frame_size:
            return False
        return 0 < stamp_ns - self._last_stamp_ns <= LONGEST_GAP_NS


def load(weights: Path, device: torch.device, claim: ScaleClaim, size: InputSize) -> VideoDepthAnything:
    """weights: the published ``video_depth_anything_vits.pth``, read as tensors only. Raises WeightsError."""
    tensors, _ = load_tensors(weights)
    with torch.device("meta"):  # no weights of its own: all come from the file
        net = VideoDepth(SMALL)
    load_strict(net.to_empty(device="cpu"), tensors, weights)
    return VideoDepthAnything(net, claim, device, size)
