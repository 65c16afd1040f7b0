"""One image through the method and all of its baselines, and the figures of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarseModel, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.far_limit import limit_far
from depth_retrofit_ros.confidence.correctness import is_right
from depth_retrofit_ros.confidence.estimate import confidence_of
from depth_retrofit_ros.evaluation.baselines.equal_time import highest_resolution, is_resizable, predict_at
from depth_retrofit_ros.evaluation.baselines.upsampling import UPSAMPLERS
from depth_retrofit_ros.evaluation.data.dataset import Sample
from depth_retrofit_ros.evaluation.metrics.alignment import Alignment, Mode, fit
from depth_retrofit_ros.evaluation.metrics.boundary_distance import boundary_distances
from depth_retrofit_ros.evaluation.metrics.classes import pixel_classes
from depth_retrofit_ros.evaluation.metrics.coverage import BUDGETS, coverage, high_error
from depth_retrofit_ros.evaluation.metrics.edges import boundary_f1, edge_band, soft_edge_errors
from depth_retrofit_ros.evaluation.metrics.pointwise import both_known, pointwise
from depth_retrofit_ros.evaluation.metrics.reliability import RISKS, reliability, risk_areas
from depth_retrofit_ros.evaluation.metrics.seams import Seams, seam_error
from depth_retrofit_ros.evaluation.oracles import ORACLES, oracle_maps
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.presets import DEFAULT, Preset
from depth_retrofit_ros.refinement.base import Refiner
from depth_retrofit_ros.refinement.tiles.refiner import TileRefiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.selection.top_k import select_top

METHODS = (*UPSAMPLERS, "equal_time", "base", "refined")
MOVED_FAR = 2.0  # times the depth before refinement
TILE_PX, OVERLAP_PX = 128, 16  # at whose sides ``ce`` is taken, of a refiner without tiles
Figures = dict[str, float]
Make = Callable[..., Retrofit]  # as ``Retrofit`` itself is called


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What became of one image.

    methods: the figures of each of ``METHODS``, after ``with_oracles`` also of ``ORACLES``, None where a method does not apply;
    coverage: by budget; alignments: by method. maps: aligned depth ``float32 [H, W]`` by method; coarse: ``float32 [h, w]``,
    aligned as ``base``; truth: the reference in use; band, high_error, selected: bool [H, W]; classes: ``uint8 [H, W]``, see
    ``pixel_classes``; seams: where ``ce`` is taken. equal_time_px: the long side that the coarse model's input had in the same
    time, None where it cannot be chosen. moved_far: the share of the pixels with known truth whose depth
    refinement more than doubled, NaN without any. left_out: see ``PixelSet``. confidence: see ``confidence_figures``.
    """

    sample: Sample
    methods: dict[str, Figures | None]
    coverage: dict[float, float]
    alignments: dict[str, Alignment]
    maps: dict[str, np.ndarray]
    coarse: np.ndarray
    truth: np.ndarray
    band: np.ndarray
    high_error: np.ndarray
    selected: np.ndarray
    classes: np.ndarray
    seams: Seams
    equal_time_px: int | None
    moved_far: float
    left_out: int = 0
    confidence: Figures = field(default_factory=dict)


class Evaluator:
    """Measures a refiner at a budget (share of pixels) on one image after the other.

    align: see ``alignment.fit``; valid_m: (min, max), depths outside of which the truth counts as unknown; preset: of the parts
    beside the refiner; second: the model whose disagreement selects pixels, None to select by uncertainty; upsamplers: the
    baselines that are measured, ``bilinear`` always; make: what all of it is given to, as ``Retrofit`` is;
    timed: whether what a clock decides is measured, ``ms`` and ``equal_time``: no two runs agree in it.
    """

    def __init__(
        self,
        refiner: Refiner[Any],
        budget: float,
        align: Mode,
        valid_m: tuple[float, float] = (1e-3, float("inf")),
        preset: Preset = DEFAULT,
        second: CoarseModel | None = None,
        upsamplers: Collection[str] = tuple(UPSAMPLERS),
        make: Make = Retrofit,
        timed: bool = True,
    ) -> None:
        self.refiner, self.budget, self.align, self.valid_m = refiner, budget, align, valid_m
        self.preset, self.second, self.make, self.timed = preset, second, make, timed
        self._upsamplers = {name: made for name, made in UPSAMPLERS.items() if name in {"bilinear", *upsamplers}}
        self._equal_time_px: dict[tuple[int, ...], int] = {}
        self._warm: set[tuple[int, ...]] = set()
        for upsampler in self._upsamplers.values():  # compiled here rather than in the first image's time
            upsampler(np.zeros((8, 8, 3), np.uint8), torch.ones(2, 2))

    def __call__(self, sample: Sample, coarse: CoarseModel) -> Evaluated:
        """Runs everything; ``coarse`` is the model, the same in every call, or a stored prediction for this sample."""
        frame = sample.frame
        recorder = _Recorder(coarse)
        other = None if self.second is None else _Recorder(self.second)
        retrofit = self.make(recorder, self.refiner, self.budget, parts=self.preset.parts(coarse), second=other)
        if self.timed and frame.image.shape not in self._warm:
            retrofit(frame)
            self._warm.add(frame.image.shape)
        start = time.perf_counter()
        result = retrofit(frame)
        refined, refined_ms = result.depth.cpu().numpy(), 1e3 * (time.perf_counter() - start)
        base, selected = result.base.cpu().numpy(), result.selection.mask().cpu().numpy()

        low, maps, ms = limit_far(recorder.prediction, coarse.claim), {}, {}
        for name, upsampler in self._upsamplers.items():
            start = time.perf_counter()
            maps[name] = upsampler(frame.image, low.depth)
            ms[name] = result.times_ms["coarse"] + 1e3 * (time.perf_counter() - start)
        long_side = self._long_side(coarse, frame, refined_ms)
        if long_side is not None and is_resizable(coarse):
            start = time.perf_counter()
            maps["equal_time"] = predict_at(coarse, long_side, frame)
            ms["equal_time"] = 1e3 * (time.perf_counter() - start)
        maps["base"], ms["base"] = base, result.times_ms["coarse"] + result.times_ms["upsample"]
        maps["refined"], ms["refined"] = refined, refined_ms
        if not self.timed:
            ms = dict.fromkeys(ms, float("nan"))

        if recorder.prediction.unknown is not None:  # every way to the frame's size is measured where there is something to bring
            maps = {name: depth if name == "equal_time" else np.where(np.isnan(base), base, depth) for name, depth in maps.items()}
        truth = np.where((sample.depth > self.valid_m[0]) & (sample.depth < self.valid_m[1]), sample.depth, np.float32(np.nan))
        # All upsamplings of one coarse map share its alignment, so that none gains by a refit; another prediction has its own.
        shared = fit(maps["bilinear"], truth, self.align, coarse.claim.inverse)
        alignments = dict.fromkeys(maps, shared)
        if "equal_time" in maps:
            alignments["equal_time"] = fit(maps["equal_time"], truth, self.align, coarse.claim.inverse)
        maps = {name: alignments[name].apply(depth) for name, depth in maps.items()}

        band = edge_band(truth)
        if other is not None and not retrofit.refines:  # not asked, and what it would select is measured all the same
            with torch.inference_mode():
                other.predict(torch.from_numpy(frame.image).to(coarse.device), frame.camera)
        told = None if other is None else limit_far(other.prediction, other.claim)
        wanted = high_error(maps["bilinear"], truth, band)
        fx = _fx(sample)
        seams = seams_of(self.refiner, (truth.shape[0], truth.shape[1]))
        figures = {
            name: figures_of(depth, truth, band, fx) | seam_figures(depth, truth, seams, selected) | {"ms": ms[name]}
            for name, depth in maps.items()
        }
        return Evaluated(
            sample=sample,
            methods={name: figures.get(name) for name in METHODS},
            coverage=covered(retrofit, low, frame.image, wanted, told),
            alignments=alignments,
            maps=maps,
            coarse=shared.apply(low.depth.cpu().numpy()),
            truth=truth,
            band=band,
            high_error=wanted,
            selected=selected,
            seams=seams,
            classes=pixel_classes(np.where(_sky(sample), sample.depth, truth), max(truth.shape) / max(low.depth.shape)),
            equal_time_px=long_side,
            moved_far=moved_far(base, refined, truth),
            left_out=result.selection.left_out,
            confidence=confidence_figures(result, np.where(_sky(sample), sample.depth, truth)),
        )

    def _long_side(self, coarse: CoarseModel, frame: Frame, limit_ms: float) -> int | None:
        """Of the equal-time baseline, found once per image size."""
        if not self.timed or not is_resizable(coarse):
            return None
        if frame.image.shape not in self._equal_time_px:
            self._equal_time_px[frame.image.shape] = highest_resolution(coarse, frame, limit_ms)
        return self._equal_time_px[frame.image.shape]


def with_oracles(result: Evaluated, like: Evaluated | None = None) -> Evaluated:
    """The result with ``ORACLES`` among its methods, which takes a few seconds.

    like: one of another refiner on the same sample and coarse map that has them: they are the same if selection and seams are.
    """
    if like is not None and np.array_equal(like.selected, result.selected) and like.seams == result.seams:
        maps = {name: like.maps[name] for name in ORACLES}
        methods = {name: like.methods[name] for name in ORACLES}
    else:
        maps = oracle_maps(result.maps["base"], result.coarse, result.truth, _sky(result.sample), result.selected)
        fx, at = _fx(result.sample), (result.seams, result.selected)
        methods = {
            name: figures_of(depth, result.truth, result.band, fx) | seam_figures(depth, result.truth, *at) | {"ms": float("nan")}
            for name, depth in maps.items()
        }
    return replace(result, maps=result.maps | maps, methods=result.methods | methods)


def _sky(sample: Sample) -> np.ndarray:
    return np.isposinf(sample.depth)


def _fx(sample: Sample) -> float:
    assert sample.frame.camera is not None, "samples come with intrinsics"
    return sample.frame.camera.fx


def figures_of(depth: np.ndarray, truth: np.ndarray, band: np.ndarray, fx: float | None) -> Figures:
    """All metrics of an aligned depth map [H, W]; see docs/evaluation.md. NaN where a metric has no pixel to be taken from.

    fx: focal length [px] at this size; None where it is unknown, and with it the soft edge error.
    """
    everywhere, edge, flat = (pointwise(depth, truth, where) for where in (None, band, ~band))
    known = both_known(truth, truth)
    distances = boundary_distances(depth, truth)
    soft = np.zeros(0) if fx is None else soft_edge_errors(depth, truth, fx)
    see_median, see_p95 = np.percentile(soft, (50, 95)) if soft.size else (float("nan"), float("nan"))
    return {
        **everywhere,
        **{f"edge_{name}": value for name, value in edge.items()},
        **{f"flat_{name}": value for name, value in flat.items()},
        "see": float(np.mean(soft, dtype=np.float64)) if soft.size else float("nan"),
        "see_median": float(see_median),
        "see_p95": float(see_p95),
        "boundary_f1": boundary_f1(depth, truth),
        "dbe_accuracy": distances.accuracy,
        "dbe_completeness": distances.completeness,
        "unknown_share": float(np.mean(~both_known(depth, depth)[known])) if known.any() else float("nan"),
    }


def confidence_figures(result: DepthFrame, truth: np.ndarray) -> Figures:
    """``ece`` and ``RISKS`` of the confidence, over the pixels whose truth is known, inf in the sky; NaN without any, none of an
    answer that has no confidence."""
    if result.score is None:
        return {}
    known = ~np.isnan(truth)
    confidence, right = confidence_of(result).cpu().numpy()[known], is_right(result.depth.cpu().numpy(), truth)[known]
    if not (~np.isnan(confidence)).any():
        return dict.fromkeys(("ece", *RISKS), float("nan"))
    return {"ece": reliability(confidence, right).calibration_error} | risk_areas(confidence, right)


def seams_of(refiner: Refiner[Any], size: tuple[int, int]) -> Seams:
    """Of the tiles that it cuts a frame of ``size = (H, W)`` into; of a refiner without, of tiles as others have them."""
    tiles = (refiner.network.side, refiner.network.overlap) if isinstance(refiner, TileRefiner) else (TILE_PX, OVERLAP_PX)
    return Seams.of(size, *tiles)


def seam_figures(depth: np.ndarray, truth: np.ndarray, seams: Seams, selected: np.ndarray) -> Figures:
    """The consistency error at the seams, and that along lines halfway between them."""
    beside = seams.beside((depth.shape[0], depth.shape[1]))
    return {"ce": seam_error(depth, truth, seams, selected), "ce_beside": seam_error(depth, truth, beside, selected)}


def moved_far(base: np.ndarray, refined: np.ndarray, truth: np.ndarray) -> float:
    """Share of the pixels of [H, W] with known truth whose depth refinement more than doubled; NaN without any."""
    known = both_known(truth, truth)
    return float(np.mean(refined[known] > MOVED_FAR * base[known])) if known.any() else float("nan")


def covered(
    retrofit: Retrofit, coarse: CoarsePrediction, image: np.ndarray, wanted: np.ndarray, other: CoarsePrediction | None = None
) -> dict[float, float]:
    """Share of the ``wanted`` pixels (bool [H, W]) of the image that would be selected, by budget. other: of the second model."""
    _, ranking = retrofit.scores(coarse, torch.from_numpy(image).to(coarse.depth.device), other)
    size = (wanted.shape[0], wanted.shape[1])
    chosen = {budget: select_top(ranking, size, round(budget * wanted.size)) for budget in BUDGETS}
    return {budget: coverage(pixels.mask().cpu().numpy(), wanted) for budget, pixels in chosen.items()}


class _Recorder:
    """A coarse model whose last prediction is kept, so that every upsampler starts from the one that was refined."""

    def __init__(self, model: CoarseModel) -> None:
        self._model = model
        self.name, self.claim, self.device = model.name, model.claim, model.device
        self.prediction: CoarsePrediction

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        self.prediction = self._model.predict(image, camera, hints)
        return self.prediction
