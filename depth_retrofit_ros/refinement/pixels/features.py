"""What the refiner sees at each active pixel: the frame at full resolution, the coarse map around, how the two agree in colour.

Nothing in it changes when depth is scaled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from depth_retrofit_ros.device.buffers import BufferPool
from depth_retrofit_ros.device.launches import has_kernels
from depth_retrofit_ros.device.thread_pool import THREAD_POOL
from depth_retrofit_ros.refinement.pixels.candidates import (
    COUNT,
    MAX_LOG_RATIO,
    OFFSETS,
    SURFACES,
    candidate_colors,
    candidate_maps,
)
from depth_retrofit_ros.refinement.pixels.features_cpu import assembly_kernel, fill_colors
from depth_retrofit_ros.refinement.pixels.mixtures import (
    MIXTURE_LAYOUT,
    OVERSHOOT,
    REACH,
    WINDOWS,
    mixture_candidates,
    mixture_maps,
)
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.interpolation import (
    bilinear_table,
    cell_index,
    cell_table,
    doubled_offset,
    row_and_column,
    sample_at,
)

CENTER, SPREAD = 127.5, 64.0  # of 0…255 colors, for ``normalized``
CELL_LEVEL = 2.0  # ln of 7 px: a common height of a coarse cell
POOL = BufferPool()

WIDTHS = {"rgb": 3, "candidates": COUNT, "colors": COUNT, "entropy": 1, "level": 1, "grid": 3}
IN_CHANNELS = sum(WIDTHS.values())


def start_of(name: str) -> int:
    """The first column of a part of ``PixelFeatures.rows``."""
    names = list(WIDTHS)
    return sum(WIDTHS[other] for other in names[: names.index(name)])


@dataclass(frozen=True, slots=True)
class PixelFeatures:
    """What the network sees at each of K active pixels; nothing in it changes when depth is scaled.

    rows: ``[K, IN_CHANNELS]``, of which the properties are views in the order of ``WIDTHS``; float32 but for those that kernels
    made for a network in half precision.
    """

    rows: torch.Tensor

    @classmethod
    def of(cls, **parts: torch.Tensor) -> PixelFeatures:
        """From the parts, one per name in ``WIDTHS``."""
        count = parts["rgb"].shape[0]
        return cls(torch.cat([parts[name].reshape(count, width) for name, width in WIDTHS.items()], 1))

    def part(self, name: str) -> torch.Tensor:
        """``[K, WIDTHS[name]]``."""
        return self.rows[:, start_of(name) : start_of(name) + WIDTHS[name]]

    @property
    def rgb(self) -> torch.Tensor:
        """``[K, 3]`` about 0 ± 1."""
        return self.part("rgb")

    @property
    def candidates(self) -> torch.Tensor:
        """``[K, COUNT]``: ln(candidate / upsampled coarse depth); the first is 0."""
        return self.part("candidates")

    @property
    def colors(self) -> torch.Tensor:
        """``[K, COUNT]``: distance (in rgb's unit) of the pixel's colour from that of each candidate's coarse pixel or mixture."""
        return self.part("colors")

    @property
    def entropy(self) -> torch.Tensor:
        """``[K]``: the selection score, standardised over the frame."""
        return self.part("entropy")[:, 0]

    @property
    def level(self) -> torch.Tensor:
        """``[K]``: ln(upsampled coarse depth) about the frame's median."""
        return self.part("level")[:, 0]

    @property
    def grid(self) -> torch.Tensor:
        """``[K, 3]``: where the pixel lies in its coarse cell (down, right; ±1 at the cell's sides) and ln of the cell's height in
        pixels, less ``CELL_LEVEL``."""
        return self.part("grid")


@dataclass(frozen=True, slots=True)
class CoarseMaps:
    """All that is computed once on the coarse grid and then sampled.

    values ``float32 [h, w, SURFACES + 2]``: candidates, standardised score, ln depth; colors ``float32 [h, w, 3, SURFACES]``;
    mixtures: see ``mixture_maps``; log_median: of the frame's coarse depth.
    """

    values: torch.Tensor
    colors: torch.Tensor
    mixtures: torch.Tensor
    log_median: torch.Tensor


def coarse_maps(depth: torch.Tensor, score: torch.Tensor, image: torch.Tensor) -> CoarseMaps:
    """depth, score ``[h, w]``; image ``float32 [h, w, 3]``, the frame averaged down to the coarse grid, normalised as ``rgb``."""
    # nanmedian: one broken coarse pixel must not spoil the level of all.
    return CoarseMaps(
        cell_values(depth, standardised(score)), candidate_colors(image), mixture_maps(depth, image), depth.log().nanmedian()
    )


def standardised(score: torch.Tensor) -> torch.Tensor:
    """Mean 0, deviation 1 over the frame."""
    return (score - score.mean()) / score.std().clamp_min(1e-6)


def cell_values(depth: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
    """``CoarseMaps.values`` of a depth and its standardised score, both ``[h, w]``."""
    return torch.cat([candidate_maps(depth), score[..., None], depth.log()[..., None]], -1)


def features_at(
    rgb: torch.Tensor, maps: CoarseMaps, depth_at: torch.Tensor, indices: torch.Tensor, size: tuple[int, int]
) -> PixelFeatures:
    """rgb ``[K, 3]``, normalised; depth_at ``[K]``, the upsampled coarse depth; indices ``int64 [K]`` into a frame of ``size``."""
    if rgb.device.type != "cpu":
        return features_by_torch(rgb, maps, depth_at, indices, size)
    POOL.sweep()
    rows = POOL.empty((indices.numel(), IN_CHANNELS))
    low = maps.values.shape[:2]
    grids, within = (tuple(of(low[axis], size[axis]) for axis in (0, 1)) for of in (bilinear_table, cell_table))
    level = np.float32(math.log(size[0] / low[0]) - CELL_LEVEL)
    arrays = [m.contiguous().numpy() for m in (rgb, maps.values, maps.colors, maps.mixtures, depth_at.log())]
    rest = (np.float32(maps.log_median), level, indices.numpy(), grids, within, rows.numpy(), np.zeros(1, np.int64))
    starts = tuple(start_of(name) for name in WIDTHS if name != "rgb")
    assemble = assembly_kernel(SURFACES, starts, MIXTURE_LAYOUT, MAX_LOG_RATIO)
    THREAD_POOL.run(lambda: assemble(*arrays, *rest))
    return PixelFeatures(rows)


def features_by_torch(
    rgb: torch.Tensor, maps: CoarseMaps, depth_at: torch.Tensor, indices: torch.Tensor, size: tuple[int, int]
) -> PixelFeatures:
    """``features_at`` in plain torch: the specification of the compiled pass, and what runs on CUDA without Triton."""
    sampled = sample_at(maps.values, indices, size)
    log_depth = depth_at.log()
    # The candidates were taken relative to the coarse grid's own ln depth; make them relative to the upsampled depth of this pixel.
    # So the last one, which was 0, becomes the plain interpolation.
    candidates = sampled[:, :-2] + (sampled[:, -1] - log_depth)[:, None]
    candidates[:, 0] = 0
    row, column = cell_of(indices, size, (maps.values.shape[0], maps.values.shape[1]))
    mixed, misfit = mixture_candidates(rgb, maps.mixtures[row, column], log_depth)
    return PixelFeatures.of(
        rgb=rgb,
        candidates=torch.cat([candidates, mixed.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)], 1),
        colors=torch.cat([_color_distances(rgb, maps.colors, indices, size), misfit], 1),
        entropy=sampled[:, -2].clamp(-3, 6),
        level=log_depth - maps.log_median,
        grid=grid_position(indices, size, (maps.values.shape[0], maps.values.shape[1])),
    )


def _features_on_device(
    image: torch.Tensor,
    small: torch.Tensor,
    coarse_depth: torch.Tensor,
    depth: torch.Tensor,
    score: torch.Tensor,
    pixels: PixelSet,
    dtype: torch.dtype,
) -> PixelFeatures:
    """``pixel_features`` in three kernels."""
    from depth_retrofit_ros.refinement.pixels import features_triton, maps_triton

    colors = normalized(small * 255)
    offsets = tuple(number for offset in ((0, 0), *OFFSETS, (0, 0)) for number in offset)
    rows = features_triton.assemble_rows(
        image,
        depth,
        pixels.indices,
        maps_triton.cell_values(coarse_depth, score, score.mean(), score.std(), offsets, MAX_LOG_RATIO),
        colors,
        maps_triton.mixture_maps(coarse_depth, colors, WINDOWS, REACH, OVERSHOOT),
        coarse_depth.log().nanmedian(),
        offsets=offsets,
        mixture=MIXTURE_LAYOUT,
        farthest=MAX_LOG_RATIO,
        starts=tuple(start_of(name) for name in WIDTHS if name != "rgb"),
        cell_level=CELL_LEVEL,
        dtype=dtype,
    )
    return PixelFeatures(rows)


def _color_distances(rgb: torch.Tensor, colors: torch.Tensor, indices: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Mean absolute difference to the surfaces' colours at each pixel's coarse cell, ``[K, SURFACES]``."""
    h, w = colors.shape[:2]
    row, column = cell_of(indices, size, (h, w))
    cell = row * w + column
    table = colors.view(h * w, 3, SURFACES)
    return (table[cell] - rgb[:, :, None]).abs_().mean(1)


def cell_of(indices: torch.Tensor, size: tuple[int, int], low: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column in a ``low = (h, w)`` grid of the cell in which each pixel of a ``size = (H, W)`` frame has its centre."""
    y, x = row_and_column(indices, size[1])
    return cell_index(y, low[0], size[0]), cell_index(x, low[1], size[1])


def grid_position(indices: torch.Tensor, size: tuple[int, int], low: tuple[int, int]) -> torch.Tensor:
    """``PixelFeatures.grid`` at flat indices ``[K]`` into a frame of ``size = (H, W)`` over a ``low = (h, w)`` grid."""
    out = torch.empty(indices.numel(), WIDTHS["grid"], device=indices.device)
    for axis, position in enumerate(row_and_column(indices, size[1])):
        out[:, axis] = doubled_offset(position, low[axis], size[axis]).float().div_(size[axis]).sub_(1)
    out[:, 2] = math.log(size[0] / low[0]) - CELL_LEVEL
    return out


def normalized(image: torch.Tensor) -> torch.Tensor:
    """uint8 or 0…255 float → about 0 ± 1."""
    return image.float().sub(CENTER).div_(SPREAD)


def colors_at(image: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """``normalized(image[indices])`` of ``uint8 [H · W, 3]``, ``float32 [K, 3]``; on a CPU in one compiled pass."""
    if image.device.type != "cpu":
        return normalized(image[indices])
    out = torch.empty(indices.numel(), 3)
    arguments = image.numpy(), indices.numpy(), out.numpy(), np.zeros(1, np.int64)
    THREAD_POOL.run(lambda: fill_colors(*arguments))
    return out


def pixel_features(
    image: torch.Tensor,
    small: torch.Tensor,
    coarse_depth: torch.Tensor,
    depth: torch.Tensor,
    score: torch.Tensor,
    pixels: PixelSet,
    dtype: torch.dtype = torch.float32,
) -> PixelFeatures:
    """The network's input. image ``uint8 [H, W, 3]``; small ``float32 [h, w, 3]`` 0…1, the image averaged to the coarse grid;
    coarse_depth, score ``[h, w]``; depth ``[H, W]``, the upsampled coarse depth; dtype: in which the network computes. Where
    kernels make the features, they are of that type too: a ratio of depths of 1.5 is then off by 0.02 %."""
    if has_kernels(image.device):
        return _features_on_device(image, small, coarse_depth, depth, score, pixels, dtype)
    maps = coarse_maps(coarse_depth, score, normalized(small * 255))
    rgb = colors_at(image.reshape(-1, 3), pixels.indices)
    return features_at(rgb, maps, depth.flatten()[pixels.indices], pixels.indices, pixels.size)
