"""SharpDepth (arXiv 2411.18229) as a refiner of the selected pixels: small, and in the space of pixels rather than of latents.

Of the paper: one network is asked twice. From noise alone it gives a sharp answer, of which scale and shift are unknown; where
that disagrees with the coarse depth, the second pass starts from noise again, elsewhere from the coarse depth. Other than there,
depth is ln depth within the bounds of the whole frame, the first answer is brought to the scale around each pixel before the two
are compared, and the noise is fixed to the frame's pixels, so that overlapping tiles and successive frames see the same.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.refinement.sharp.disagreement import AGREES, LARGEST, LEAST_FULL, aligned, bounds, disagreement, mixed
from depth_retrofit_ros.refinement.sharp.unet_net import SmallUNet
from depth_retrofit_ros.refinement.tiles.projection import finite
from depth_retrofit_ros.refinement.tiles.refiner import TileAnswer, Tiles

PERIOD = 512  # px after which the field of noise repeats itself: far more than a tile
NOISE_SEED = 20


class SharpDepth(nn.Module):
    """See ``TileNetwork``. uniform: whether the second pass has as much noise everywhere as it has on average in the tile, for the
    ablation."""

    name, side, overlap, together, context = "sharp", 192, 32, 8, 0

    def __init__(self, uniform: bool = False) -> None:
        super().__init__()
        self.uniform = uniform
        self.unet = SmallUNet()

    def project(self, coarse: CoarsePrediction, small: Tensor, score: Tensor, model: str, camera: Camera | None) -> Tensor:
        """ln depth of the whole frame about its median, ``[1, h, w]``, 0 where it is not known: what the bounds are taken from."""
        del small, score, model, camera
        level = coarse.depth.log()
        return finite(level - level.nanmedian())[None]

    def forward(self, tiles: Tiles) -> TileAnswer:
        """See ``TileNetwork``."""
        coarse, half = normalised(tiles)
        first, second = (noise_at(tiles.origins, self.side, field) for field in (0, 1))
        apart = self.apart(tiles.colors, first, coarse)
        answer = self.denoised(tiles.colors, second, coarse, self.gate(apart))
        return TileAnswer((answer - coarse) * half, trusted=apart < AGREES)

    def apart(self, colors: Tensor, noise: Tensor, coarse: Tensor) -> Tensor:
        """The disagreement 0…1 of the first pass, colors ``[T, 3, S, S]`` and noise ``[T, S, S]``, with the coarse depth."""
        sharp = self.first(colors, noise, coarse)
        return disagreement(aligned(sharp, coarse), coarse, LEAST_FULL)

    def first(self, colors: Tensor, noise: Tensor, coarse: Tensor) -> Tensor:
        """What noise alone gives, of unknown scale and shift; nothing of the coarse depth is seen."""
        return self.denoised(colors, noise, coarse, torch.ones_like(coarse))

    def gate(self, apart: Tensor) -> Tensor:
        """The share of noise at each pixel of the second pass."""
        return apart.mean((1, 2), keepdim=True).expand_as(apart) if self.uniform else apart

    def denoised(self, colors: Tensor, noise: Tensor, coarse: Tensor, gate: Tensor) -> Tensor:
        """Clean normalised depth; all but colors ``[T, 3, S, S]`` are ``[T, S, S]``. Where the gate is 1 nothing of the coarse
        depth is seen; what is no noise goes straight through, so that the network need not copy it."""
        state = torch.stack((mixed(gate, noise, coarse), gate), 1)
        return (1 - gate) * coarse + self.unet(torch.cat((colors, state), 1))


def normalised(tiles: Tiles) -> tuple[Tensor, Tensor]:
    """Coarse depth of the tiles within the frame's bounds ``[T, S, S]``, and the ln depth ``[]`` that 1 of it stands for."""
    middle, half = bounds(tiles.maps[0])
    return ((tiles.level[:, 0] - middle) / half).clamp(-LARGEST, LARGEST), half


def noise_at(origins: Tensor, side: int, field: int) -> Tensor:
    """N(0, 1) of tiles that begin at ``origins`` ``int64 [T, 2]`` (y, x), ``[T, side, side]``: the same at a pixel of the frame
    whenever it is asked for. field: one of two that are independent."""
    places = torch.arange(side, device=origins.device)
    rows, columns = ((origins[:, axis, None] + places) % PERIOD for axis in (0, 1))
    return noise_field(origins.device)[field][rows[:, :, None], columns[:, None, :]]


@functools.lru_cache(maxsize=4)
def noise_field(device: torch.device) -> Tensor:
    """Two fields ``float32 [2, PERIOD, PERIOD]``, the same on every device; it may be asked for in inference mode first."""
    with torch.inference_mode(False):
        return torch.randn(2, PERIOD, PERIOD, generator=torch.Generator().manual_seed(NOISE_SEED)).to(device)
