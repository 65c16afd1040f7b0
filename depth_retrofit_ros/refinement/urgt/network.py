"""URGT (arXiv 2603.03026) as a refiner of the selected pixels, and of their normals: tiles are views that attend to one another.

Of the paper: image, depth and normals are embedded by a stem each and summed; attention alternates within a tile and across all of
them; a dense head answers offsets to the depth and the normals that it was given. Here the head also chooses between the surfaces
that the coarse map shows nearby, and its offset is to that choice. Other than in its published code, the rotary positions are those
of the pixels in the frame, so that any set of tiles may be seen together, overlapping ones too.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.networks.dinov2 import Block
from depth_retrofit_ros.coarse.networks.rotary import rotated
from depth_retrofit_ros.refinement.tiles.refiner import TileAnswer, Tiles
from depth_retrofit_ros.refinement.tiles.surfaces import COUNT, choice, nearby, surfaces
from depth_retrofit_ros.refinement.urgt.prior import CoarseNormals
from depth_retrofit_ros.upsampling.interpolation import bilinear

PATCH = 16  # px of a token
WIDTH, HEADS, PAIRS = 128, 4, 4  # of the transformer; a pair is one block within tiles and one across
SPECIAL = 3  # tokens of each tile beside its grid: a camera and two registers, the same for all tiles
DETAIL, FINE = 48, 16  # channels of the head at a quarter of the size and at the full size
LAYER_SCALE = 0.1
DEPTHS = 1 + COUNT + 1 + COUNT  # channels that tell depth: its level, and of ``tiles.surfaces``
ANSWERS = 1 + COUNT + 3  # an offset and the logits of the surfaces, see ``tiles.surfaces``; an offset of the normal
STEEPEST = 4.0  # of ln depth about the frame's median, beyond which nothing is told apart


class Stem(nn.Module):
    """``[T, C, S, S]`` → maps at a quarter of the size, and one token each ``PATCH`` px."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.quarter = nn.Conv2d(channels, DETAIL, 7, 4, 3)
        self.token = nn.Conv2d(DETAIL, WIDTH, 4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        quarter = F.gelu(self.quarter(x))
        return quarter, self.token(quarter)


class Head(nn.Module):
    """Tokens after each half of the blocks, and what the stems saw at a quarter of the size and at the full one → ``ANSWERS``
    channels. The last layer begins at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Conv2d(4 * WIDTH, 4 * DETAIL, 1)
        self.join = nn.Sequential(nn.Conv2d(2 * DETAIL, DETAIL, 3, padding=1), nn.GELU(), nn.Conv2d(DETAIL, DETAIL, 3, padding=1))
        self.narrow = nn.Conv2d(DETAIL, FINE, 1)
        self.fine = nn.Conv2d(6 + DEPTHS, FINE, 3, padding=1)
        self.mix = nn.Sequential(nn.Conv2d(2 * FINE, FINE, 3, padding=1), nn.GELU(), nn.Conv2d(FINE, FINE, 3, padding=1), nn.GELU())
        self.last = nn.Conv2d(FINE, ANSWERS, 1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, tokens: Tensor, quarter: Tensor, full: Tensor) -> Tensor:
        """tokens ``[T, 4 · WIDTH, S/16, S/16]``, quarter ``[T, DETAIL, S/4, S/4]``, full ``[T, 6 + DEPTHS, S, S]`` → ``[T, ANSWERS,
        S, S]``."""
        low = _enlarged(F.pixel_shuffle(self.tokens(tokens), 2), quarter.shape[2])
        x = F.gelu(self.join(torch.cat((low, quarter), 1)))
        x = _enlarged(self.narrow(x), full.shape[2])
        return self.last(self.mix(torch.cat((x, F.gelu(self.fine(full))), 1)))


class Urgt(nn.Module):
    """See ``TileNetwork``. across: whether tiles attend to one another; local: whether positions are those in the tile, not in the
    frame; both are for the ablation."""

    name, side, overlap, together, context = "urgt", 128, 16, 32, 8

    def __init__(self, across: bool = True, local: bool = False) -> None:
        super().__init__()
        self.across, self.local, self.coarse_normals = across, local, CoarseNormals()
        self.color, self.depth, self.normal = Stem(3), Stem(DEPTHS), Stem(3)
        self.special = nn.Parameter(torch.randn(SPECIAL, WIDTH) * 0.02)
        self.within = nn.ModuleList(Block(WIDTH, HEADS, qk_norm=True, rope=rotated) for _ in range(PAIRS))
        self.between = nn.ModuleList(Block(WIDTH, HEADS, qk_norm=True, rope=rotated) for _ in range(PAIRS))
        for block in (*self.within, *self.between):
            for scale in (block.ls1, block.ls2):
                nn.init.constant_(scale.gamma, LAYER_SCALE)
        self.head = Head()

    def project(self, coarse: CoarsePrediction, small: Tensor, score: Tensor, model: str, camera: Camera | None) -> Tensor:
        """See ``CoarseNormals``, and after these ``surfaces``."""
        del score, model
        return torch.cat((self.coarse_normals(coarse, camera), surfaces(coarse.depth, small)))

    def forward(self, tiles: Tiles) -> TileAnswer:
        """See ``TileNetwork``."""
        level = (tiles.level / STEEPEST).clamp(-1, 1)
        under = tiles.under(self.side)
        prior, near = under[:, :3], nearby(under[:, 3:], tiles.level, tiles.colors)
        depth = torch.cat((level, near.offsets, near.unlike), 1)
        stems = self.color(tiles.colors), self.depth(depth), self.normal(prior)
        quarter, grid = (sum(parts[1:], parts[0]) for parts in zip(*stems, strict=True))
        count, rows = len(grid), grid.shape[2]
        tokens = torch.cat((self.special.expand(count, -1, -1), grid.flatten(2).transpose(1, 2)), 1)
        places = self._places(tiles.origins, rows)
        kept = []
        for index in range(PAIRS):
            tokens = self.within[index](tokens, places)
            inside = tokens
            if self.across:
                whole = self.between[index](tokens.flatten(0, 1)[None], places.flatten(0, 1)[None])
                tokens = whole.view_as(tokens)
            if index in (PAIRS // 2 - 1, PAIRS - 1):
                kept += [inside, tokens]
        dense = torch.cat(kept, 2)[:, SPECIAL:].transpose(1, 2).reshape(count, 4 * WIDTH, rows, rows)
        said = self.head(dense, quarter, torch.cat((tiles.colors, depth, prior), 1))
        chosen = choice(said[:, :-3], near.offsets)
        return TileAnswer(chosen.mean(), F.normalize(prior + said[:, -3:], dim=1), choice=chosen)

    def _places(self, origins: Tensor, rows: int) -> Tensor:
        """Row and column of each token in the frame [tokens], ``float32 [T, SPECIAL + rows², 2]``; 0 of the special ones."""
        centers = torch.arange(rows, device=origins.device) + 0.5
        grid = torch.stack(torch.meshgrid(centers, centers, indexing="ij"), 2).view(1, -1, 2) + 1
        first = torch.zeros_like(origins) if self.local else origins
        places = grid + first[:, None] / PATCH
        return torch.cat((places.new_zeros(len(origins), SPECIAL, 2), places), 1)


def _enlarged(maps: Tensor, size: int) -> Tensor:
    """``[T, C, s, s]`` → ``[T, C, size, size]``, bilinear."""
    return bilinear(maps.flatten(0, 1), (size, size)).view(*maps.shape[:2], size, size)
