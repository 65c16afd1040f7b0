"""PatchRefiner V2 (arXiv 2501.01121) as a refiner of the selected pixels: what it adds to ln coarse depth within a tile."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.refinement.prv2.encoder_net import SmallEncoder
from depth_retrofit_ros.refinement.prv2.fusion_net import TwoWayFusion
from depth_retrofit_ros.refinement.prv2.sizes import SIZES
from depth_retrofit_ros.refinement.prv2.timm_net import TimmEncoder
from depth_retrofit_ros.refinement.tiles.projection import Projection
from depth_retrofit_ros.refinement.tiles.refiner import TileAnswer, Tiles
from depth_retrofit_ros.refinement.tiles.surfaces import COUNT, SHOWN, Nearby, choice, nearby, surfaces
from depth_retrofit_ros.upsampling.interpolation import bilinear

TOLD = COUNT + 1 + COUNT  # channels of ``Nearby``


class PatchRefinerV2(nn.Module):
    """See ``TileNetwork``. channels: of the features of each coarse model that it is trained with, by name; guided: whether by
    Guided Denoising Units, as everywhere but in the ablation; size: of ``SIZES``.

    The paper's offset is in metres; here it is added to ln depth, so that scale goes straight through. It begins at zero. The small
    size chooses between the surfaces that the coarse map shows nearby, and adds its offset to that (``tiles.surfaces``). The coarse
    maps of the paper are of one model's decoder; here they are a projection of any model's features, with channels of their own for
    the finest map where that has another width. Raises ModelError where the size needs timm.
    """

    name, context = "prv2", 0

    def __init__(self, channels: Mapping[str, int], guided: bool = True, size: str = "small") -> None:
        super().__init__()
        of = SIZES[size]
        self.side, self.overlap, self.together, self.samples = of.side, of.overlap, of.together, of.samples
        self.finest, self.path = of.widths.coarse[0], of.widths.path
        self.projection = Projection(self.path if self.finest == self.path else self.path + self.finest, channels)
        self.chooses = of.widths.answers > 1
        self.encoder = TimmEncoder(of.encoder, of.widths.fine) if of.encoder else SmallEncoder(of.widths.fine, 1 + TOLD)
        self.fusion = TwoWayFusion(of.widths, guided)
        if self.chooses:  # at the full size, which the encoder's maps have not
            self.direct = nn.Conv2d(TOLD, COUNT, 3, padding=1, bias=False)
            nn.init.zeros_(self.direct.weight)
        nn.init.zeros_(self.fusion.f2c.offset.weight)

    def project(self, coarse: CoarsePrediction, small: Tensor, score: Tensor, model: str, camera: Camera | None) -> Tensor:
        """See ``TileNetwork.project``."""
        projected = self.projection(coarse.depth, score, coarse.features, model)
        return torch.cat((surfaces(coarse.depth, small), projected)) if self.chooses else projected

    def forward(self, tiles: Tiles) -> TileAnswer:
        """See ``TileNetwork``."""
        return self.answer(tiles.colors, tiles.level, *self.seen(tiles))[0]

    def seen(self, tiles: Tiles) -> tuple[list[Tensor], Nearby | None]:
        """What is known on the coarse grid at the tile's size and halved five times, finest first; and of a size that chooses, what
        is shown of the surfaces."""
        coarse = tiles.under(self.samples)
        shown, coarse = (coarse[:, :SHOWN], coarse[:, SHOWN:]) if self.chooses else (coarse[:, :0], coarse)
        finest, path = coarse[:, -self.finest :], coarse[:, : self.path]
        pyramid = [self._at(finest if level == 0 else path, self.side >> level) for level in range(6)]
        return pyramid, nearby(_enlarged(shown, self.side), tiles.level, tiles.colors) if self.chooses else None

    def _at(self, maps: Tensor, size: int) -> Tensor:
        return F.adaptive_avg_pool2d(maps, size) if size <= self.samples else _enlarged(maps, size)

    def answer(self, colors: Tensor, level: Tensor, coarse: list[Tensor], near: Nearby | None) -> tuple[TileAnswer, Tensor]:
        """colors ``[T, 3, S, S]``, level ``[T, 1, S, S]``, coarse: six maps, finest first, near: see ``seen`` → the answer, and
        ln of the depth that the tile's own features give, about the tile's mean, ``[T, S, S]``."""
        level = level - level.mean((1, 2, 3), keepdim=True)
        if near is None:
            said, own = self.fusion(self.encoder(torch.cat((colors, level), 1)), coarse, level)
            return TileAnswer(said[:, 0]), own[:, 0]
        told = torch.cat(near, 1)
        said, own = self.fusion(self.encoder(torch.cat((colors, level, told), 1)), coarse, level)
        chosen = choice(said + F.pad(self.direct(told), (0, 0, 0, 0, 1, 0)), near.offsets)
        return TileAnswer(chosen.mean(), choice=chosen), own[:, 0]


def _enlarged(maps: Tensor, size: int) -> Tensor:
    return bilinear(maps.flatten(0, 1), (size, size)).view(*maps.shape[:2], size, size)
