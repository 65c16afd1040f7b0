"""Training crops of the refiner: the active pixels of full-resolution windows, with coarse maps from frozen models and from
simulated ones. A crop shows what the live refiner sees at its pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarseModel, CoarsePrediction
from depth_retrofit_ros.coarse.claim import ScaleClaim, stored_claim
from depth_retrofit_ros.coarse.far_limit import limit_far
from depth_retrofit_ros.errors import DatasetError
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
from depth_retrofit_ros.selection.uncertainty import LEAST_CONTRAST, doubt, weighted
from depth_retrofit_ros.training import degradations
from depth_retrofit_ros.training.surface_targets import log_ratio
from depth_retrofit_ros.upsampling.edge_aware import CHANNELS, guided_depth, guided_maps, usual_kink
from depth_retrofit_ros.upsampling.interpolation import sample_at

FAR_FACTOR = 2.5  # the sky is put this much behind the farthest thing where a model answers, which does not see where it is put
SIMULATED_CLAIM = stored_claim(metric=False)  # a simulated answer stands for models of any kind
FAR_FACTORS = (1.2, 100.0)  # and between these where an answer is simulated: models disagree by as much
KEPT_BYTES = 1 << 30  # of answers of models, kept for the next time that their scene is drawn
FEWEST_ACTIVE = 1000  # per crop: fewer are not worth a step
BLOCK = 4  # steps whose crops are made together where they are used twice
PATIENCE = 200  # crops drawn for one that is used
MAX_ACTIVE = 36_000  # per crop: bounds the time of a step
SIMULATED = 0.7  # share of the crops whose coarse map is simulated; the others come from models


@dataclass(frozen=True, slots=True)
class CoarseView:
    """A coarse map of a whole frame, limited as at run time: depth, doubt ``[h, w]`` (see ``selection.uncertainty``); the truth
    ``[h, w]`` at its pixel centres, and how far the sky is in it [m]."""

    depth: torch.Tensor
    doubt: torch.Tensor
    truth: torch.Tensor
    far: float

    @property
    def bytes(self) -> int:
        """Memory of its maps."""
        return sum(m.nbytes for m in (self.depth, self.doubt, self.truth))


@dataclass(frozen=True, slots=True)
class CropSample:
    """One crop's active pixels. mask ``bool [S, S]``; features of K pixels; target ``[K]``: ln(aligned truth / coarse)."""

    mask: torch.Tensor
    features: PixelFeatures
    target: torch.Tensor


class Crops:
    """Random training crops, deterministic in (seed, step).

    echoed: every crop is used twice, mirrored the second time and among others, within ``2 * BLOCK`` steps: to make a crop takes
    longer than to learn from it (Choi et al. 2019, "Faster neural network training with data echoing").
    """

    def __init__(
        self,
        files: Sequence[Path],
        models: Sequence[CoarseModel],
        batch: int,
        seed: int,
        simulated: float = SIMULATED,
        echoed: bool = False,
    ) -> None:
        self.files, self.models = list(files), list(models)
        self.batch, self.seed, self.simulated, self.echoed = batch, seed, simulated, echoed
        self._views: dict[tuple[str, str], CoarseView] = {}
        self._kept = 0  # bytes in them
        self._block: tuple[int, list[CropSample]] | None = None

    def __call__(self, step: int) -> list[CropSample]:
        """``batch`` crops with enough active pixels."""
        if not self.echoed:
            return self._draw(step)
        block, place = divmod(step, 2 * BLOCK)
        if self._block is None or self._block[0] != block:
            self._block = block, [sample for i in range(BLOCK) for sample in self._draw(block * BLOCK + i)]
        samples = self._block[1]
        if place < BLOCK:
            return samples[place * self.batch : (place + 1) * self.batch]
        order = np.random.default_rng((self.seed, block, 1)).permutation(len(samples))
        start = (place - BLOCK) * self.batch
        return [_flipped(samples[i]) for i in order[start : start + self.batch]]

    def _draw(self, index: int) -> list[CropSample]:
        rng = np.random.default_rng((self.seed, index))
        samples: list[CropSample] = []
        for _ in range(PATIENCE * self.batch):
            if len(samples) == self.batch:
                return samples
            path = self.files[rng.integers(len(self.files))]
            with np.load(path) as file:
                data = dict(file)
            use_model = bool(self.models) and rng.random() >= self.simulated
            model = self.models[rng.integers(len(self.models))] if use_model else None
            view = self._model_view(model, path, data) if model else simulated_view(rng, data)
            sample = make_crop(
                data, int(rng.integers(len(data["at"]))), view, float(rng.choice([0.05, 0.1, 0.1, 0.2])), rng.random() < 0.5
            )
            if sample.target.numel() > FEWEST_ACTIVE:
                samples.append(sample)
        raise DatasetError(
            f"hardly a crop of the {len(self.files)} scenes has {FEWEST_ACTIVE} uncertain pixels: render other scenes"
        )

    def _model_view(self, model: CoarseModel, path: Path, data: Mapping[str, np.ndarray]) -> CoarseView:
        key = (model.name, str(path))
        if key not in self._views:
            view = self._views[key] = model_view(model, data)
            self._kept += view.bytes
            while self._kept > KEPT_BYTES and len(self._views) > 1:
                self._kept -= self._views.pop(next(iter(self._views))).bytes
        return self._views[key]


def finite_truth(data: Mapping[str, np.ndarray], factor: float) -> tuple[np.ndarray, float]:
    """The view's true depth with the sky ``factor`` times as far as the farthest thing, and that distance [m]."""
    depth = data["view_depth"]
    known = depth[np.isfinite(depth)]
    far = float(factor * known.max()) if known.size else 100.0
    return np.where(np.isfinite(depth), np.maximum(depth, 0.05), far).astype(np.float32), far


def model_view(model: CoarseModel, data: Mapping[str, np.ndarray]) -> CoarseView:
    """What a frozen model says of the view."""
    image = torch.from_numpy(data["view"])
    height, width = image.shape[:2]
    frame_w, frame_h = (int(v) for v in data["frame"])
    f_px = float(data["f_px"])
    camera = Camera(frame_w, frame_h, f_px, f_px, (frame_w - 1) / 2, (frame_h - 1) / 2).resized(width, height)
    return _seen(model.predict(image.to(model.device), camera), model.claim, *finite_truth(data, FAR_FACTOR))


def simulated_view(rng: np.random.Generator, data: Mapping[str, np.ndarray]) -> CoarseView:
    """A simulated model's answer (see ``degradations``)."""
    truth, far = finite_truth(data, float(np.exp(rng.uniform(*np.log(FAR_FACTORS)))))
    simulated = degradations.simulate_coarse(rng, truth, degradations.random_degradation(rng))
    depth, features = (torch.from_numpy(m) for m in simulated)
    return _seen(CoarsePrediction(depth, features), SIMULATED_CLAIM, truth, far)


def _seen(prediction: CoarsePrediction, claim: ScaleClaim, truth: np.ndarray, far: float) -> CoarseView:
    limited = limit_far(prediction, claim)
    depth = limited.depth.cpu()
    return CoarseView(depth, doubt(limited).cpu(), _nearest(torch.from_numpy(truth), depth.shape), far)


def _nearest(values: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    return torch.nn.functional.interpolate(values[None, None], size=tuple(size), mode="nearest-exact")[0, 0]


def make_crop(data: Mapping[str, np.ndarray], index: int, view: CoarseView, budget: float, flip: bool) -> CropSample:
    """The active pixels of one crop: those of them that are selected in the frame, at most ``MAX_ACTIVE``. flip: mirrored."""
    width, height = (int(v) for v in data["frame"])
    x0, y0 = (int(v) for v in data["at"][index])
    side = data["crops"].shape[1]
    score = crop_score(data, index, view)
    selection = select_top(score, (height, width), count=round(budget * width * height))
    mask = selection.index_image[y0 : y0 + side, x0 : x0 + side] >= 0
    # Of too many, the upper rows: whatever is kept has the neighbors that it has in the frame.
    mask = mask & (mask.sum(1).cumsum(0) <= MAX_ACTIVE)[:, None]
    rows, columns = mask.nonzero(as_tuple=True)
    active = (rows + y0) * width + columns + x0

    h, w = view.depth.shape
    first, last = np.array([y0, x0]) / (height, width), np.array([y0 + side, x0 + side]) / (height, width)
    maps, guides = _maps_around(view, score, data["view"], first, last)
    pixels = torch.from_numpy(data["crops"][index]).view(-1, 3)[mask.flatten()]
    depth_at = guided_depth(sample_at(guides, active, (height, width)), pixels)
    rgb = normalized(pixels)
    features = features_at(rgb, maps, depth_at, active, (height, width))

    truth = torch.from_numpy(data["crop_depth"][index]).flatten()[mask.flatten()]
    log_true = torch.where(torch.isfinite(truth), truth, view.far).clamp_min(0.05).log()
    ratio = log_ratio(log_true, *cell_of(active, (height, width), (h, w)), view.truth.log(), view.depth.log())
    target = log_true + ratio - depth_at.log()
    return _flipped(CropSample(mask, features, target)) if flip else CropSample(mask, features, target)


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


def _maps_around(
    view: CoarseView, score: torch.Tensor, image: np.ndarray, first: np.ndarray, last: np.ndarray
) -> tuple[CoarseMaps, torch.Tensor]:
    """``features.coarse_maps`` and ``guided_maps``, computed only for the cells from which the features of a crop are taken, where
    they are those of the whole frame to the last bit.

    first, last: (row, column) of its corners as shares of the frame.
    """
    h, w = view.depth.shape
    (top, left), (bottom, right) = (np.floor(first * (h, w)).astype(int), np.ceil(last * (h, w)).astype(int))
    small = torch.from_numpy(cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA))
    reach = MARGIN + 3  # candidates look MARGIN cells far and at the slopes there; interpolation takes one more cell
    window = (slice(max(0, top - reach), bottom + reach), slice(max(0, left - reach), right + reach))
    # NumPy, because it asks for zero pages, of which those that nobody touches cost nothing.
    shapes = (SURFACES + 2,), (3, SURFACES), (mixtures.CHANNELS,), (CHANNELS,)
    values, colors, mixed, guides = (torch.from_numpy(np.zeros((h, w, *shape), np.float32)) for shape in shapes)
    values[window] = cell_values(view.depth[window], standardised(score)[window])
    colors[window] = candidate_colors(normalized(small[window]))
    guides[window] = guided_maps(view.depth[window], small[window] / 255, usual_kink(view.depth))
    mixed[window] = mixtures.mixture_maps(view.depth[window], normalized(small[window]))
    return CoarseMaps(values, colors, mixed, view.depth.log().nanmedian()), guides


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
