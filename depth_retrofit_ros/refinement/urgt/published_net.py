"""URGT (arXiv 2603.03026) at its published size: VGGT's transformer over tiles, with names as in its public checkpoints.

Each tile's depth and normals are embedded beside its colors and summed; VGGT's attention follows, and two of its dense heads
answer offsets. Rotary positions are those of the pixels in the frame. Where tiles lie side by side these are the published ones;
where they overlap, the published code has the positions of tiles that do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.networks.dinov2 import DinoV2, PatchEmbed, VitSize
from depth_retrofit_ros.coarse.networks.dpt import PATCH, DenseHead
from depth_retrofit_ros.coarse.networks.rotary import grid_positions
from depth_retrofit_ros.coarse.networks.vggt.aggregator import EXTRA_TOKENS, Aggregator
from depth_retrofit_ros.coarse.networks.vggt.model import VGGT_1B, VggtSize, dense_answer
from depth_retrofit_ros.io.checkpoints import load_strict
from depth_retrofit_ros.refinement.base import LARGEST_CHANGE
from depth_retrofit_ros.refinement.pixels.features import CENTER, SPREAD
from depth_retrofit_ros.refinement.tiles.refiner import TileAnswer, Tiles
from depth_retrofit_ros.refinement.urgt.prior import CoarseNormals

SIZE = VGGT_1B
WHOLE = "vggt."  # before all names in a checkpoint of the published wrapper
LEAST_SPAN = 1e-6  # of inverse depth, as a share of the median's


class JointDinoV2(DinoV2):
    """DINOv2 of seven planes ``[B, 7, H, W]``: normalized colors, depth in 0…1, normals; each is embedded by itself, and summed."""

    def __init__(
        self,
        size: VitSize,
        registers: int = 0,
        pretrained_size: int = 518,
        patch: int = PATCH,
        antialias: bool = False,
        offset: float = 0.1,
    ) -> None:
        super().__init__(size, registers, pretrained_size, patch, antialias, offset)
        self.patch_embed_depth = PatchEmbed(size.width, patch, 1)
        self.patch_embed_normal = PatchEmbed(size.width, patch, 3)

    def embed(self, image: Tensor) -> Tensor:
        """See ``DinoV2.embed``."""
        colors, depth, normals = image.split((3, 1, 3), 1)
        patches = self.patch_embed(colors) + self.patch_embed_depth(depth) + self.patch_embed_normal(normals)
        return self.beside_class(patches, image.shape[2] // self.patch, image.shape[3] // self.patch)


class PublishedUrgt(nn.Module):
    """See ``TileNetwork``. Its depth is inverse depth in 0…1 over the frame, as a model of relative depth gives it, and so is its
    answer; what comes of it here is ln(refined / coarse), which no scale changes."""

    name, together, context = "urgt", 16, 4

    def __init__(self, size: VggtSize = SIZE) -> None:
        super().__init__()
        self.size, self.side, self.overlap = size, size.pretrained_size, size.pretrained_size // 7
        self.coarse_normals = CoarseNormals()
        self.aggregator = Aggregator(size.encoder, size.layers, size.heads, size.pretrained_size, JointDinoV2)
        self.depth_head, self.normal_head = (
            DenseHead(
                2 * size.encoder.width, size.stages, size.head_width, outputs, normed=True, rectified=True, positions=torch.float64
            )
            for outputs in (2, 4)
        )
        for part in (self.depth_head, self.normal_head):  # begins as what it is given
            for parameter in part.scratch.output_conv2[2].parameters():
                nn.init.zeros_(parameter)

    def project(self, coarse: CoarsePrediction, small: Tensor, score: Tensor, model: str, camera: Camera | None) -> Tensor:
        """Normals, see ``CoarseNormals``, and inverse depth in the median's unit, ``float32 [4, h, w]``."""
        del small, score, model
        level = coarse.depth.log()
        inverse = torch.nan_to_num((level.nanmedian() - level).exp(), nan=1.0, posinf=1.0)
        return torch.cat((self.coarse_normals(coarse, camera), inverse[None]))

    def forward(self, tiles: Tiles) -> TileAnswer:
        """See ``TileNetwork``."""
        low, high = tiles.maps[3].aminmax()
        span = (high - low).clamp_min(LEAST_SPAN)
        inverse, normals = (-tiles.level).exp(), tiles.under(self.side)[:, :3]
        offset, turn = self.offsets(
            (tiles.colors * SPREAD + CENTER) / 255, ((inverse - low) / span).clamp(0, 1), normals, tiles.origins
        )
        refined = torch.maximum(inverse[:, 0] + span * offset, inverse[:, 0] * torch.e ** (-LARGEST_CHANGE))
        return TileAnswer(-tiles.level[:, 0] - refined.log(), F.normalize(normals + turn, dim=1))

    def offsets(self, colors: Tensor, depth: Tensor, normals: Tensor, origins: Tensor) -> tuple[Tensor, Tensor]:
        """colors ``[T, 3, S, S]`` and depth ``[T, 1, S, S]`` in 0…1, normals ``[T, 3, S, S]``; origins ``int64 [T, 2]`` (y, x) [px]
        → what is added to depth ``[T, S, S]``, and to the normals ``[T, 3, S, S]``."""
        patches = self.aggregator.patch_embed(torch.cat((self.aggregator.normalized(colors), depth, normals), 1))
        rows = colors.shape[2] // PATCH
        grid = grid_positions(rows, rows, EXTRA_TOKENS, colors.device).float()
        moved = (origins[:, None] / PATCH).expand(-1, rows * rows, -1)
        positions = grid + torch.cat((moved.new_zeros(len(origins), EXTRA_TOKENS, 2), moved), 1)
        key = origins[:, 0] * (origins[:, 1].max() + 1) + origins[:, 1]
        first = key == key.min()  # the upper left tile's, whatever the order
        tokens = self.aggregator.attended(patches, positions, first, self.size.taken)
        side = colors.shape[2]
        return (
            dense_answer(self.depth_head, tokens, side, side).raw[:, 0],
            dense_answer(self.normal_head, tokens, side, side).raw,
        )


def load_published(tensors: Mapping[str, Tensor], path: Path) -> PublishedUrgt:
    """A network with the weights of a public checkpoint, all of them and no others; it takes the tensors over, see ``load_vggt``.
    path: to name in errors. Raises WeightsError."""
    with torch.device("meta"):
        network = PublishedUrgt(SIZE)
    load_strict(network, {name.removeprefix(WHOLE): tensor for name, tensor in tensors.items()}, path, assign=True)
    network.aggregator.restore_constants()
    return network.float().eval()
