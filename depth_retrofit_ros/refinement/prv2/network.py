"""PatchRefiner V2 (arXiv 2501.01121) as a refiner of the selected pixels: what it adds to ln coarse depth within a tile."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.refinement.prv2.encoder_net import WIDTHS, SmallEncoder
from depth_retrofit_ros.refinement.prv2.fusion_net import FusionWidths, TwoWayFusion
from depth_retrofit_ros.refinement.tiles.projection import Projection
from depth_retrofit_ros.refinement.tiles.refiner import TileAnswer, Tiles
from depth_retrofit_ros.upsampling.interpolation import bilinear

PATH = 24
SMALL = FusionWidths(fine=WIDTHS, coarse=(PATH,) * 6, path=PATH, joint=(12, 12, 16, 24, 32, 48), decoder=(48, 32, 24, 16, 12))
SAMPLES = 32  # of the coarse maps along a tile: about one for each of their pixels


class PatchRefinerV2(nn.Module):
    """See ``TileNetwork``. channels: of the features of each coarse model that it is trained with, by name; guided: whether by
    Guided Denoising Units, as everywhere but in the ablation.

    The paper's offset is in metres; here it is added to ln depth, so that scale goes straight through. It begins at zero.
    """

    name, side, overlap, together, context = "prv2", 128, 16, 8, 0

    def __init__(self, channels: Mapping[str, int], guided: bool = True) -> None:
        super().__init__()
        self.projection = Projection(PATH, channels)
        self.encoder = SmallEncoder()
        self.fusion = TwoWayFusion(SMALL, guided)
        nn.init.zeros_(self.fusion.f2c.offset.weight)

    def project(self, coarse: CoarsePrediction, score: Tensor, model: str, camera: Camera | None) -> Tensor:
        """See ``TileNetwork.project``."""
        return self.projection(coarse.depth, score, coarse.features, model)

    def forward(self, tiles: Tiles) -> TileAnswer:
        """See ``TileNetwork``."""
        return TileAnswer(self.offsets(tiles.colors, tiles.level, self.pyramid(tiles))[0])

    def pyramid(self, tiles: Tiles) -> list[Tensor]:
        """What is known on the coarse grid at the tile's size and halved five times, finest first."""
        coarse, sizes = tiles.under(SAMPLES), [self.side >> level for level in range(6)]
        return [F.adaptive_avg_pool2d(coarse, size) if size <= SAMPLES else _enlarged(coarse, size) for size in sizes]

    def offsets(self, colors: Tensor, level: Tensor, coarse: list[Tensor]) -> tuple[Tensor, Tensor]:
        """colors ``[T, 3, S, S]``, level ``[T, 1, S, S]``, coarse: six maps, finest first → ln(refined / coarse), and ln of the
        depth that the tile's own features give, about the tile's mean, ``[T, S, S]`` each."""
        level = level - level.mean((1, 2, 3), keepdim=True)
        offset, own = self.fusion(self.encoder(torch.cat((colors, level), 1)), coarse, level)
        return offset[:, 0], own[:, 0]


def _enlarged(maps: Tensor, size: int) -> Tensor:
    return bilinear(maps.flatten(0, 1), (size, size)).view(*maps.shape[:2], size, size)
