"""SharpDepth (arXiv 2411.18229) as a refiner of the selected pixels: small, and in the space of pixels rather than of latents.

Of the paper: one network is asked twice. From noise alone it gives a sharp answer; where that disagrees with the coarse depth, the
second pass starts from noise again, elsewhere from the coarse depth. Other than there, depth is ln depth within the bounds of the
whole frame, and the noise is fixed to the frame's pixels, so that overlapping tiles and successive frames see the same.

The paper's sharp network, a diffusion model that was trained on a large part of the internet's images, tells depth from the image,
up to scale and shift. A network of a thousandth of its size tells nothing from it that is sharper than the coarse map after an hour
of training: here it is shown the surfaces that the coarse map has nearby, and its sharp answer is a choice between these
(``tiles.surfaces``).
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.refinement.sharp.disagreement import AGREES, LARGEST, LEAST_FULL, bounds, disagreement, mixed
from depth_retrofit_ros.refinement.sharp.unet_net import SmallUNet
from depth_retrofit_ros.refinement.tiles.projection import finite
from depth_retrofit_ros.refinement.tiles.refiner import TileAnswer, Tiles
from depth_retrofit_ros.refinement.tiles.surfaces import Choice, Nearby, choice, nearby, surfaces

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
        """ln depth of the whole frame about its median, 0 where it is not known: what the bounds are taken from; and after it
        ``surfaces``."""
        del score, model, camera
        level = coarse.depth.log()
        return torch.cat((finite(level - level.nanmedian())[None], surfaces(coarse.depth, small)))

    def forward(self, tiles: Tiles) -> TileAnswer:
        """See ``TileNetwork``."""
        coarse, half = normalised(tiles)
        near = shown(tiles, half)
        first, second = (noise_at(tiles.origins, self.side, field) for field in (0, 1))
        apart = self.apart(tiles.colors, first, coarse, near)
        chosen = self.denoised(tiles.colors, second, coarse, self.gate(apart), near)
        return TileAnswer(chosen.mean() * half, trusted=apart < AGREES)

    def apart(self, colors: Tensor, noise: Tensor, coarse: Tensor, near: Nearby) -> Tensor:
        """The disagreement 0…1 of the first pass, colors ``[T, 3, S, S]`` and noise ``[T, S, S]``, with the coarse depth."""
        return disagreement(coarse + self.first(colors, noise, coarse, near).mean(), coarse, LEAST_FULL)

    def first(self, colors: Tensor, noise: Tensor, coarse: Tensor, near: Nearby) -> Choice:
        """What noise and the surfaces nearby give, where nothing tells which of these a pixel has in the coarse depth."""
        return self.denoised(colors, noise, coarse, torch.ones_like(coarse), near)

    def gate(self, apart: Tensor) -> Tensor:
        """The share of noise at each pixel of the second pass."""
        return apart.mean((1, 2), keepdim=True).expand_as(apart) if self.uniform else apart

    def denoised(self, colors: Tensor, noise: Tensor, coarse: Tensor, gate: Tensor, near: Nearby) -> Choice:
        """Clean normalised depth, as what is added to the coarse one; all but colors ``[T, 3, S, S]`` and ``near`` are ``[T, S,
        S]``."""
        state = torch.stack((mixed(gate, noise, coarse), gate), 1)
        return choice(self.unet(torch.cat((colors, state, near.offsets, near.unlike), 1)), near.offsets)


def normalised(tiles: Tiles) -> tuple[Tensor, Tensor]:
    """Coarse depth of the tiles within the frame's bounds ``[T, S, S]``, and the ln depth ``[]`` that 1 of it stands for."""
    middle, half = bounds(tiles.maps[0])
    return ((tiles.level[:, 0] - middle) / half).clamp(-LARGEST, LARGEST), half


def shown(tiles: Tiles, half: Tensor) -> Nearby:
    """The surfaces nearby, in normalised depth."""
    near = nearby(tiles.under(tiles.colors.shape[-1])[:, 1:], tiles.level, tiles.colors)
    return near._replace(offsets=near.offsets / half)


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
