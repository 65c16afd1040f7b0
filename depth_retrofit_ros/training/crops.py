"""Training crops of the refiner: the active pixels of full-resolution windows, with coarse maps from frozen models and from
simulated ones. A crop shows what the live refiner sees at its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from depth_retrofit_ros.refinement.pixels import mixtures
from depth_retrofit_ros.refinement.pixels.candidates import COUNT, MARGIN, OFFSETS, SURFACES, candidate_colors
from depth_retrofit_ros.refinement.pixels.features import (
    CoarseMaps,
    PixelFeatures,
    cell_of,
    cell_values,
    features_at,
    normalized,
    standardised,
)
from depth_retrofit_ros.selection.contrast import at_cells, cell_starts, contrast, contrast_grid, deviation_between
from depth_retrofit_ros.selection.top_k import select_top
from depth_retrofit_ros.selection.uncertainty import LEAST_CONTRAST, weighted
from depth_retrofit_ros.training.coarse_views import CoarseView
from depth_retrofit_ros.training.draws import Draws, random_budget
from depth_retrofit_ros.training.surface_targets import log_ratio
from depth_retrofit_ros.upsampling.edge_aware import CHANNELS, guided_depth, guided_maps, usual_kink
from depth_retrofit_ros.upsampling.interpolation import sample_at

FEWEST_ACTIVE = 1000  # per crop: fewer are not worth a step
MAX_ACTIVE = 36_000  # per crop: bounds the time of a step


@dataclass(frozen=True, slots=True)
class CropSample:
    """One crop's active pixels. mask ``bool [S, S]``; features of K pixels; target ``[K]``: ln(aligned truth / coarse)."""

    mask: torch.Tensor
    features: PixelFeatures
    target: torch.Tensor


class Crops(Draws[CropSample]):
    """Crops with enough active pixels, for the refiner of pixels."""

    def make(self, rng: np.random.Generator, data: Mapping[str, np.ndarray], view: CoarseView) -> CropSample | None:
        """See ``Draws``."""
        sample = make_crop(data, int(rng.integers(len(data["at"]))), view, random_budget(rng), rng.random() < 0.5)
        return sample if sample.target.numel() > FEWEST_ACTIVE else None

    def mirrored(self, sample: CropSample) -> CropSample:
        """See ``Draws``."""
        return _flipped(sample)


def make_crop(data: Mapping[str, np.ndarray], index: int, view: CoarseView, budget: float, flip: bool) -> CropSample:
    """The active pixels of one crop: those of them that are selected in the frame, at most ``MAX_ACTIVE``. flip: mirrored."""
    width, height = (int(v) for v in data["frame"])
    x0, y0 = (int(v) for v in data["at"][index])
    score = crop_score(data, index, view)
    mask = selected_in(data, index, score, budget)
    # Of too many, the upper rows: whatever is kept has the neighbors that it has in the frame.
    mask = mask & (mask.sum(1).cumsum(0) <= MAX_ACTIVE)[:, None]
    rows, columns = mask.nonzero(as_tuple=True)
    active = (rows + y0) * width + columns + x0

    maps, guides = _maps_around(data, index, view, score)
    pixels = torch.from_numpy(data["crops"][index]).view(-1, 3)[mask.flatten()]
    depth_at = guided_depth(sample_at(guides, active, (height, width)), pixels)
    features = features_at(normalized(pixels), maps, depth_at, active, (height, width))

    truth = torch.from_numpy(data["crop_depth"][index]).flatten()[mask.flatten()]
    target = surface_target(truth, active, (height, width), view) - depth_at.log()
    return _flipped(CropSample(mask, features, target)) if flip else CropSample(mask, features, target)


def selected_in(data: Mapping[str, np.ndarray], index: int, score: torch.Tensor, budget: float) -> torch.Tensor:
    """Which pixels of a crop are selected in the frame at this share of its pixels, ``bool [S, S]``; score: see ``crop_score``."""
    (width, height), (x0, y0) = (int(v) for v in data["frame"]), (int(v) for v in data["at"][index])
    side = data["crops"].shape[1]
    selection = select_top(score, (height, width), count=round(budget * width * height))
    return selection.index_image[y0 : y0 + side, x0 : x0 + side] >= 0


def surface_target(truth: torch.Tensor, pixels: torch.Tensor, size: tuple[int, int], view: CoarseView) -> torch.Tensor:
    """ln of what a refiner is to answer, ``[K]``: true depths ``[K]``, not finite in the sky, at flat indices ``pixels`` of the
    frame, brought to the coarse map's own scale of their surface."""
    log_true = torch.where(torch.isfinite(truth), truth, view.far).clamp_min(0.05).log()
    h, w = view.depth.shape
    return log_true + log_ratio(log_true, *cell_of(pixels, size, (h, w)), view.truth.log(), view.depth.log())


def crop_score(data: Mapping[str, np.ndarray], index: int, view: CoarseView) -> torch.Tensor:
    """The selection score ``[h, w]`` of the frame, exact within the crop.

    Elsewhere the frame's contrast is not known at full resolution: it is taken from the view, and made as strong as it is in the
    crop. So the crop's pixels compete as they do at run time with what the frame holds besides.
    """
    (width, height), low = (int(v) for v in data["frame"]), (view.depth.shape[0], view.depth.shape[1])
    crop, (x0, y0) = torch.from_numpy(data["crops"][index]), (int(v) for v in data["at"][index])
    grid = contrast_grid((height, width), low)
    cells = contrast(torch.from_numpy(data["view"]), grid)
    (top, rows), (left, columns) = (
        _whole_cells(start, crop.shape[0], high, n) for start, high, n in ((y0, height, grid[0]), (x0, width, grid[1]))
    )
    if rows.size > 1 and columns.size > 1:
        exact = deviation_between(crop, rows, columns)
        inside = (slice(top, top + exact.shape[0]), slice(left, left + exact.shape[1]))
        cells *= (exact.mean() / cells[inside].mean().clamp_min(LEAST_CONTRAST)).clamp(0.5, 4)
        cells[inside] = exact
    return weighted(view.doubt, at_cells(cells, low))


def _whole_cells(start: int, side: int, high: int, low: int) -> tuple[int, np.ndarray]:
    """The first of the cells of a ``low`` grid that lie wholly within ``side`` of ``high`` pixels from ``start`` on, and where in
    the crop they begin, the last one's end included."""
    bounds = cell_starts(high, low)
    chosen = np.flatnonzero((bounds >= start) & (bounds <= start + side))
    return int(chosen[0]) if chosen.size else 0, bounds[chosen] - start


def crop_guides(data: Mapping[str, np.ndarray], index: int, view: CoarseView) -> torch.Tensor:
    """``guided_maps`` of the frame ``[h, w, CHANNELS]``, around a crop; zero elsewhere."""
    window, small = _cells_around(data, index, view)
    return _within(window, view.depth, (CHANNELS,), guided_maps(view.depth[window], small / 255, usual_kink(view.depth)))


def _maps_around(
    data: Mapping[str, np.ndarray], index: int, view: CoarseView, score: torch.Tensor
) -> tuple[CoarseMaps, torch.Tensor]:
    """``features.coarse_maps`` and ``guided_maps``, computed only for the cells from which the features of a crop are taken, where
    they are those of the whole frame to the last bit."""
    window, small = _cells_around(data, index, view)
    depth, rgb = view.depth[window], normalized(small)
    values = _within(window, view.depth, (SURFACES + 2,), cell_values(depth, standardised(score)[window]))
    colors = _within(window, view.depth, (3, SURFACES), candidate_colors(rgb))
    mixed = _within(window, view.depth, (mixtures.CHANNELS,), mixtures.mixture_maps(depth, rgb))
    return CoarseMaps(values, colors, mixed, view.depth.log().nanmedian()), crop_guides(data, index, view)


def _cells_around(data: Mapping[str, np.ndarray], index: int, view: CoarseView) -> tuple[tuple[slice, slice], torch.Tensor]:
    """The coarse cells on which the values of a crop depend, and the image's average over each of them, 0…255."""
    (width, height), (x0, y0), side = (int(v) for v in data["frame"]), (int(v) for v in data["at"][index]), data["crops"].shape[1]
    h, w = view.depth.shape
    first, last = np.array([y0, x0]) / (height, width), np.array([y0 + side, x0 + side]) / (height, width)
    (top, left), (bottom, right) = (np.floor(first * (h, w)).astype(int), np.ceil(last * (h, w)).astype(int))
    reach = MARGIN + 3  # candidates look MARGIN cells far and at the slopes there; interpolation takes one more cell
    window = (slice(max(0, top - reach), bottom + reach), slice(max(0, left - reach), right + reach))
    return window, averaged(data, view)[window]


def averaged(data: Mapping[str, np.ndarray], view: CoarseView) -> torch.Tensor:
    """The frame, averaged to the coarse grid, ``uint8 [h, w, 3]``."""
    h, w = view.depth.shape
    return torch.from_numpy(cv2.resize(data["view"], (w, h), interpolation=cv2.INTER_AREA))


def _within(window: tuple[slice, slice], like: torch.Tensor, shape: tuple[int, ...], values: torch.Tensor) -> torch.Tensor:
    """``[h, w, …]`` with values in a window. NumPy, because it asks for zero pages, of which those that nobody touches cost
    nothing."""
    out = torch.from_numpy(np.zeros((*like.shape, *shape), np.float32))
    out[window] = values
    return out


def _flipped(sample: CropSample) -> CropSample:
    """Mirrored left to right. Candidates are named by direction, so theirs are exchanged as well."""
    mask = sample.mask.flip(1)
    position = torch.full(sample.mask.shape, -1, dtype=torch.int64)
    position[sample.mask] = torch.arange(sample.target.numel())
    order = position.flip(1)[mask]
    f = sample.features
    swap = _mirrored_candidates()
    features = PixelFeatures(f.rows[order])
    for name in ("candidates", "colors"):
        features.part(name).copy_(f.part(name)[order][:, swap])
    features.grid[:, 1].neg_()
    return CropSample(mask, features, sample.target[order])


def _mirrored_candidates() -> list[int]:
    return [0, *(1 + OFFSETS.index((dy, -dx)) for dy, dx in OFFSETS), *range(SURFACES - 1, COUNT)]
