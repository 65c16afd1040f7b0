"""Video Depth Anything (arXiv 2501.12375), one frame at a time: DINOv2 with a DPT head whose coarser maps attend over time.

Names as in its public checkpoints. The network itself keeps nothing: the past comes in and the frame's state goes out, to be held
in a ``TemporalMemory``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from depth_retrofit_ros.coarse.networks.dinov2 import VIT_SMALL, DinoV2, VitSize
from depth_retrofit_ros.coarse.networks.dpt import DptHead, project, projections
from depth_retrofit_ros.coarse.networks.temporal import TemporalModule

STATES = 8  # tensors in a frame's state: two attentions in each of four temporal modules


@dataclass(frozen=True, slots=True)
class Architecture:
    """encoder: its size; taken: after which four blocks the head takes tokens; channels, features: see ``DptHead``."""

    encoder: VitSize
    taken: tuple[int, int, int, int]
    channels: tuple[int, int, int, int]
    features: int


SMALL = Architecture(VIT_SMALL, (2, 5, 8, 11), (48, 96, 192, 384), 64)


class VideoDepth(nn.Module):
    """Frame and past → disparity, features and state."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.taken = architecture.taken
        self.pretrained = DinoV2(architecture.encoder)
        self.head = TemporalHead(architecture.encoder.width, architecture.channels, architecture.features)

    def exact(self) -> Iterator[nn.Module]:
        """See ``HasExactParts``."""
        return projections(self)

    def forward(self, image: Tensor, past: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor, list[Tensor]]:
        """image ``[1, 3, H, W]``, normalised, sides multiples of the patch; past: of ``TemporalMemory.past``, None at the start.

        Gives disparity ``float32 [1, H, W]`` ≥ 0 of unknown scale and shift, the 32 features before its projection
        ``[1, 32, H, W]``, and the frame's state, ``STATES`` tensors ``[places, 1, C]``.
        """
        tokens = [patches for patches, _ in self.pretrained.intermediate(image, self.taken)]
        features, disparity, state = self.head(tokens, image.shape[2], image.shape[3], past)
        return disparity[:, 0].relu(), features, state


class TemporalHead(DptHead):
    """DPT with attention over time on the two coarser levels of its pyramid and after the two coarser fusions."""

    def __init__(self, width: int, channels: Sequence[int], features: int) -> None:
        super().__init__(width, channels, features, lateral4=True)
        self.motion_modules = nn.ModuleList([TemporalModule(count) for count in (channels[2], channels[3], features, features)])

    def forward(
        self, tokens: Sequence[Tensor], height: int, width: int, past: Sequence[Tensor] | None
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """tokens: four times ``[1, N, C]`` of an image of that size → features, projection ``[1, 1, H, W]``, and state."""
        state: list[Tensor] = []

        def over_time(index: int, x: Tensor) -> Tensor:
            y, added = self.motion_modules[index](x, None if past is None else past[2 * index : 2 * index + 2])
            state.extend(added)
            made: Tensor = y
            return made

        fine, middle, coarse, coarsest = self.reassemble(tokens, height, width)
        levels = self.scratch.adapt((fine, middle, over_time(0, coarse), over_time(1, coarsest)))
        path = over_time(2, self.scratch.refinenet4(levels[3], size=levels[2].shape[2:]))
        path = over_time(3, self.scratch.refinenet3(path, levels[2], size=levels[1].shape[2:]))
        path = self.scratch.refinenet2(path, levels[1], size=levels[0].shape[2:])
        fused = self.at_image_size(self.scratch.refinenet1(path, levels[0]), height, width)
        features, disparity = project(self.scratch.output_conv2, fused)
        return features, disparity, state
