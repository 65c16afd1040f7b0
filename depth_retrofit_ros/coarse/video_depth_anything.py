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
from depth_retrofit_ros.coarse.imagenet import NormalizedInput, usual_precision
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.coarse.networks.dpt import to_precision
from depth_retrofit_ros.coarse.networks.temporal import TemporalMemory
from depth_retrofit_ros.coarse.networks.video_depth_anything import SMALL, VideoDepth
from depth_retrofit_ros.coarse.transformers_model import depth_from_disparity
from depth_retrofit_ros.io.checkpoints import load_strict, load_tensors

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
        self._input = NormalizedInput(device, dtype or usual_precision(device))
        self._net = to_precision(net.to(device), self._input.dtype).eval()
        self._memory = TemporalMemory()
        self._last_stamp_ns = 0
        self._sizes = (0, 0), (0, 0)  # of the last frame, and of the network's input for it

    @torch.no_grad()
    def predict(self, image: Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel``. The camera is not used. features: the 32 channels before the disparity's last projection."""
        height, width = image.shape[:2]
        sizes = (height, width), self.size.of(height, width)
        if not self._continues(hints.stamp_ns, sizes):
            self._memory.clear()
        disparity, features, state = self._net(self._input(image, sizes[1]), self._memory.past())
        if hints.stamp_ns is not None:
            self._memory.add(state)
            self._last_stamp_ns, self._sizes = hints.stamp_ns, sizes
        return CoarsePrediction(depth_from_disparity(disparity[0]), features[0])

    def _continues(self, stamp_ns: int | None, sizes: tuple[tuple[int, int], tuple[int, int]]) -> bool:
        """Whether a frame belongs to the video that is remembered."""
        if stamp_ns is None or sizes != self._sizes:
            return False
        return 0 < stamp_ns - self._last_stamp_ns <= LONGEST_GAP_NS


def load(weights: Path, device: torch.device, claim: ScaleClaim, size: InputSize) -> VideoDepthAnything:
    """weights: the published ``video_depth_anything_vits.pth``, read as tensors only. Raises WeightsError."""
    tensors, _ = load_tensors(weights)
    with torch.device("meta"):  # no weights of its own: all come from the file
        net = VideoDepth(SMALL)
    load_strict(net.to_empty(device="cpu"), tensors, weights)
    return VideoDepthAnything(net, claim, device, size)
