"""Video Depth Anything Small as a coarse model (arXiv 2501.12375), frame by frame: each one attends to those before it.

Disparity of unknown scale and shift, which hardly change from frame to frame. Its authors call this mode experimental: the network
was trained on whole clips, and frame by frame it is less accurate than on clips.
"""

from __future__ import annotations

from copy import copy
from pathlib import Path

import torch
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.disparity import depth_from_disparity
from depth_retrofit_ros.coarse.engines.precision import in_precision
from depth_retrofit_ros.coarse.imagenet import NormalizedInput, usual_precision
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.coarse.networks.temporal import REACH, TemporalMemory
from depth_retrofit_ros.coarse.networks.video_depth_anything import SMALL, VideoDepth
from depth_retrofit_ros.coarse.past import Past
from depth_retrofit_ros.io.checkpoints import load_strict, load_tensors

NAME = "video-depth-anything-small"
HELD = REACH + 2  # the first frame, the newest, and those in between


class VideoDepthAnything:
    """``CoarseModel`` with a memory: of the video's first frame and its last 42, bounded (53 MB in float16 for each 100,000 px of
    the input).

    ``Past`` says which frames are one video; they have one size, too. A frame without a stamp stands alone. size, dtype: as in
    ``DepthAnything3``.
    """

    def __init__(
        self, net: VideoDepth, claim: ScaleClaim, device: torch.device, size: InputSize, dtype: torch.dtype | None = None
    ) -> None:
        self.name, self.claim, self.device, self.size = NAME, claim, device, size
        self._input = NormalizedInput(device, dtype or usual_precision(device))
        self._net = in_precision(net.to(device), self._input.dtype).eval()
        self._memory = TemporalMemory()  # of what is before the newest frame
        self._newest: list[Tensor] | None = None  # its state, until the next frame is there
        self._past = Past(HELD)

    @property
    def remembered(self) -> int:
        """Frames of the video that are remembered."""
        return self._past.count

    def forget(self) -> None:
        """The next frame begins a video."""
        self._memory, self._newest = TemporalMemory(), None
        self._past.forget()

    def for_another_stream(self) -> VideoDepthAnything:
        """The same network with a memory of its own."""
        other = copy(self)
        other._memory, other._newest, other._past = TemporalMemory(), None, Past(HELD)
        return other

    @torch.no_grad()
    def predict(self, image: Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel``. The camera is not used. features: the 32 channels before the disparity's last projection.

        A frame is remembered when the network has answered it: one that fails can be tried again.
        """
        height, width = image.shape[:2]
        sizes = (height, width), self.size.of(height, width)  # of the frame, and of the network's input for it
        place = self._past.place(hints.stamp_ns, sizes)
        memory = TemporalMemory() if place in ("first", "alone") else self._memory
        if place == "next" and self._newest is not None:
            memory.add(self._newest)
            self._newest = None
        disparity, features, state = self._net(self._input(image, sizes[1]), memory.past())
        self._past.answered(place, hints.stamp_ns, sizes)
        if place in ("first", "next", "again"):
            self._memory, self._newest = memory, state
        return CoarsePrediction(depth_from_disparity(disparity[0]), features[0])


def load(weights: Path, device: torch.device, claim: ScaleClaim, size: InputSize) -> VideoDepthAnything:
    """weights: the published ``video_depth_anything_vits.pth``, read as tensors only. Raises WeightsError."""
    tensors, _ = load_tensors(weights)
    with torch.device("meta"):  # no weights of its own: all come from the file
        net = VideoDepth(SMALL)
    load_strict(net.to_empty(device="cpu"), tensors, weights)
    return VideoDepthAnything(net, claim, device, size)
