"""A refiner of tiles: those that hold most of the selected pixels are seen at the frame's own resolution, and blended."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.pointcloud.ray_slopes import RaySlopes
from depth_retrofit_ros.refinement.base import LARGEST_CHANGE, Fused, Needs, RefinerInput
from depth_retrofit_ros.refinement.pixels.features import normalized
from depth_retrofit_ros.refinement.tiles.layout import TileLayout, blended, cut, fullest, held
from depth_retrofit_ros.refinement.tiles.normals import facing
from depth_retrofit_ros.refinement.tiles.regions import regions
from depth_retrofit_ros.refinement.tiles.surfaces import Choice
from depth_retrofit_ros.scale.affine import reanchored
from depth_retrofit_ros.upsampling.interpolation import row_and_column

TILES_FOR_PIXELS = 2.5  # share of a frame's tiles that are seen for the share of its pixels that are selected: 1/4 for 1/10


@dataclass(frozen=True, slots=True)
class Tiles:
    """T tiles of a frame of ``size = (H, W)``, as a network sees them.

    colors: ``float32 [T, 3, side, side]``, about 0 ± 1; level: ``float32 [T, 1, side, side]``, ln of the upsampled coarse depth
    about the frame's median, 0 where that is not known; maps: ``float32 [C, h, w]``, what is known on the coarse grid, see
    ``TileNetwork.project``; origins: ``int64 [T, 2]`` (y, x) of the first pixels.
    """

    colors: Tensor
    level: Tensor
    maps: Tensor
    origins: Tensor
    size: tuple[int, int]

    def under(self, out: int) -> Tensor:
        """``maps`` under each tile at ``out x out`` samples, ``[T, C, out, out]``."""
        return regions(self.maps, self.origins, self.colors.shape[-1], self.size, out)


class TileAnswer(NamedTuple):
    """change: ``[T, side, side]``, ln(refined / coarse); normals: ``[T, 3, side, side]``, of a network that gives some; trusted:
    ``bool [T, side, side]``, of one whose answer is right up to a power and a factor of depth, which are to be found for all tiles
    of the frame together: where it and the coarse depth should agree; choice: of a network that chooses, what ``change`` is the
    mean of, for its training."""

    change: Tensor
    normals: Tensor | None = None
    trusted: Tensor | None = None
    choice: Choice | None = None


class TileNetwork(Protocol):
    """side: of its tiles [px]; overlap: of neighbors at least [px]; together: how many tiles it sees at once at most; context: how
    many of them are the fullest of the frame, shared by all groups, where a frame has more: of a network that looks from tile to
    tile."""

    name: str
    side: int
    overlap: int
    together: int
    context: int

    def project(self, coarse: CoarsePrediction, small: Tensor, score: Tensor, model: str, camera: Camera | None) -> Tensor:
        """``Tiles.maps`` of a frame, finite whatever cells of the coarse answer are broken; small, score, camera: see
        ``RefinerInput``; model: the coarse one's name."""
        ...

    def __call__(self, tiles: Tiles) -> TileAnswer: ...


class TileRefined(NamedTuple):
    """coarse: depth ``[K]``; change: ``[K]``, 0 where no tile was seen; share: ``[K]``, see ``Blend``; normals: ``[3, K]``, 0 where
    no tile was seen, or None."""

    coarse: Tensor
    change: Tensor
    share: Tensor
    normals: Tensor | None


class TileRefiner:
    """Runs a ``TileNetwork`` on the tiles of a frame that hold most of the selected pixels, as many as ``tiles_for`` says.

    Those are not all tiles that hold some. A pixel in none of them keeps its coarse depth, and its gate is 1; towards one that was
    not seen the change falls to zero.
    """

    needs: Needs = "tiles"

    def __init__(self, network: TileNetwork, device: torch.device) -> None:
        self.network, self.name = network, network.name
        self._rays = RaySlopes(device)

    @property
    def backend_name(self) -> str:
        """See ``Refiner``."""
        return "torch in float32"

    def refine(self, given: RefinerInput) -> TileRefined:
        """See ``Refiner.refine``."""
        height, width = given.size
        network, pixels = self.network, given.pixels.indices
        layout = TileLayout((max(height, network.side), max(width, network.side)), network.side, network.overlap)
        coarse = given.depth.flatten()[pixels]
        if not pixels.numel():
            return TileRefined(coarse, torch.zeros_like(coarse), torch.zeros_like(coarse), None)
        counts = held(layout, given.pixels)
        chosen = fullest(counts, tiles_for(given.pixels.count, given.size, layout.total))
        answers, gives_normals = self.look(given, layout, chosen, counts)
        y, x = row_and_column(pixels, width)
        mean, share = blended(layout, chosen, answers, y * layout.size[1] + x)
        normals = None
        if gives_normals and given.camera is not None:  # which way the camera is, nobody else knows
            columns, rows = self._rays(given.camera)
            normals = facing(mean[:, 1:].T, columns[x], rows[y])
        return TileRefined(coarse, share * mean[:, 0], share, normals)

    def look(self, given: RefinerInput, layout: TileLayout, chosen: Tensor, counts: Tensor) -> tuple[Tensor, bool]:
        """What the network says of the chosen tiles ``int64 [T]``: ``[T, side, side, 1 or 4]``, and whether normals are in it;
        counts: how many pixels each tile of the layout holds.

        Where depth is not finite the network is shown the frame's median, and nothing is anchored.
        """
        network = self.network
        changes, normals, trusted, levels = (list[Tensor]() for _ in range(4))
        maps = network.project(given.coarse, given.small, given.score, given.model, given.camera)
        middle = given.coarse.depth.log().nanmedian()
        origins, shared = layout.origins(chosen), chosen.new_empty(0, 2)
        if network.context and len(origins) > network.together:
            shared = layout.origins(fullest(counts, network.context))
        for part in origins.split(network.together - len(shared)):
            some = torch.cat((part, shared))
            colors = normalized(cut(given.image, some, network.side)).permute(0, 3, 1, 2)
            level = cut(given.depth, some, network.side).log()[:, None] - middle
            known = level.isfinite()
            level = torch.where(known, level, 0.0)
            answer = network(Tiles(colors, level, maps, some, given.size))
            own = slice(len(part))
            changes.append(answer.change[own])
            if answer.normals is not None:
                normals.append(answer.normals[own].permute(0, 2, 3, 1))
            if answer.trusted is not None:
                trusted.append(answer.trusted[own] & known[own, 0])
                levels.append(level[own, 0])
        change = torch.cat(changes)
        if trusted:
            change = reanchored(torch.cat(levels), change, torch.cat(trusted))
        change = change[..., None].clamp(-LARGEST_CHANGE, LARGEST_CHANGE)
        return (torch.cat((change, torch.cat(normals)), -1), True) if normals else (change, False)

    def fuse(self, refined: TileRefined) -> Fused:
        """The refined value where tiles were seen, mixed with the coarse one towards others: these refiners have no gate of their
        own."""
        return Fused(1 - refined.share, refined.coarse * refined.change.exp(), refined.normals)


def tiles_for(selected: int, size: tuple[int, int], total: int) -> int:
    """How many of ``total`` tiles of a frame of ``size = (H, W)`` are seen: in proportion to the selected pixels, rounded up, and
    all from 40 % of the pixels on. So what a frame costs follows the budget."""
    return min(total, math.ceil(TILES_FOR_PIXELS * total * selected / (size[0] * size[1])))


def require_float32(name: str, backend: str, precision: str) -> None:
    """Raises ModelError for settings that only the sparse refiner has."""
    if backend != "auto":
        raise ModelError(f"engine {backend} is of sparse convolutions, and refiner {name} has none: leave it out")
    if precision not in ("auto", "float32"):
        raise ModelError(f"refiner {name} computes in float32, not in {precision}: leave refiner_precision out")
