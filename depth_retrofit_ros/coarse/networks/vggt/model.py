"""The whole network, and what its heads' raw answers mean. Parameters are named as in the public checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.networks.dinov2 import VIT_LARGE, VitSize
from depth_retrofit_ros.coarse.networks.dpt import DenseHead
from depth_retrofit_ros.coarse.networks.vggt.aggregator import EXTRA_TOKENS, Aggregator
from depth_retrofit_ros.coarse.networks.vggt.camera_head import CameraHead
from depth_retrofit_ros.io.checkpoints import load_strict

LEFT_OUT = ("track_head.",)  # point tracks, which no depth is made of
VIEWS_AT_ONCE = 8  # that a dense head works on: its full-size maps bound the memory


@dataclass(frozen=True, slots=True)
class VggtSize:
    """encoder: DINOv2's; layers, heads: of the alternating attention; taken: its layers that the dense heads read, the last one
    being the camera head's, too; stages, head_width: channels and features of ``DptHead``; camera_layers, camera_heads: see
    ``CameraHead``; pretrained_size: side of the images of the training [px].
    """

    encoder: VitSize = VIT_LARGE
    layers: int = 24
    heads: int = 16
    taken: tuple[int, int, int, int] = (4, 11, 17, 23)
    stages: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    head_width: int = 256
    camera_layers: int = 4
    camera_heads: int = 16
    pretrained_size: int = 518


VGGT_1B = VggtSize()


@dataclass(frozen=True, slots=True)
class DenseAnswer:
    """Of one head, before its output map.

    raw: ``[S, C, H, W]``, ln depth (C = 1) or signed-log points (C = 3), see ``signed_log``; confidence ``[S, H, W]``, ≥ 1;
    features: ``[S, 32, H, W]`` before the last projection, ≥ 0.
    """

    raw: Tensor
    confidence: Tensor
    features: Tensor


class Vggt(nn.Module):
    """Views ``[S, 3, H, W]`` of one scene → tokens (``forward``) → cameras, depth, points."""

    def __init__(self, size: VggtSize = VGGT_1B) -> None:
        super().__init__()
        self.size = size
        width = 2 * size.encoder.width
        self.aggregator = Aggregator(size.encoder, size.layers, size.heads, size.pretrained_size)
        self.camera_head = CameraHead(width, size.camera_layers, size.camera_heads)
        self.point_head, self.depth_head = (
            DenseHead(width, size.stages, size.head_width, outputs, normed=True, rectified=True, positions=torch.float64)
            for outputs in (4, 2)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """images ``[S, 3, H, W]`` in 0…1, the first one being the world's; sides multiples of 14 → tokens of four layers."""
        tokens: list[Tensor] = self.aggregator(images, self.size.taken)
        return tokens

    def poses(self, tokens: list[Tensor]) -> Tensor:
        """Pose encodings ``[S, 9]``: see ``camera_head.decode_poses``."""
        encoding: Tensor = self.camera_head(tokens[-1].float())
        return encoding

    def depth(self, tokens: list[Tensor], height: int, width: int) -> DenseAnswer:
        """ln depth along each view's optical axis, in one unknown unit for all views."""
        return dense_answer(self.depth_head, tokens, height, width)

    def points(self, tokens: list[Tensor], height: int, width: int) -> DenseAnswer:
        """Signed-log points in the first camera's frame, in the unit of depth."""
        return dense_answer(self.point_head, tokens, height, width)


def load_vggt(tensors: Mapping[str, Tensor], path: Path, size: VggtSize = VGGT_1B) -> Vggt:
    """A network with the weights of a public checkpoint: all of ours must be there, and nothing else but ``LEFT_OUT``.

    The network takes the tensors over, so that its five gigabytes are in memory once. path: to name in errors. Raises WeightsError.
    """
    with torch.device("meta"):
        net = Vggt(size)
    load_strict(net, {name: tensor for name, tensor in tensors.items() if not name.startswith(LEFT_OUT)}, path, assign=True)
    net.aggregator.restore_constants()
    return net.float().eval()


def dense_answer(head: Callable[..., tuple[Tensor, Tensor]], tokens: list[Tensor], height: int, width: int) -> DenseAnswer:
    """What a ``DenseHead`` says of views of that size, from four layers' tokens ``[S, EXTRA_TOKENS + N, C]``, few at a time."""
    parts = []
    for begin in range(0, tokens[0].shape[0], VIEWS_AT_ONCE):
        patches = [layer[begin : begin + VIEWS_AT_ONCE, EXTRA_TOKENS:].float() for layer in tokens]
        parts.append(head(patches, height, width))
    features, raw = (torch.cat(part) for part in zip(*parts, strict=True))
    return DenseAnswer(raw[:, :-1], 1 + raw[:, -1].exp(), features)
