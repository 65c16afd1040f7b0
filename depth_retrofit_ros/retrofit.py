"""The method: coarse → upsample → select → refine → fuse, in the order of the paper's figure (arXiv 2603.19964, section 3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.auto import SERVES, Refusal
from depth_retrofit_ros.coarse.base import CoarseModel, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.engines.assign import named_engine
from depth_retrofit_ros.coarse.engines.compiled import CompiledNetwork
from depth_retrofit_ros.coarse.engines.natural_image import natural_image
from depth_retrofit_ros.coarse.engines.registry import GRAPHABLE
from depth_retrofit_ros.coarse.far_limit import limit_far
from depth_retrofit_ros.coarse.graphed import GraphedCoarse
from depth_retrofit_ros.coarse.info import ModelInfo
from depth_retrofit_ros.coarse.registry import load_coarse, resolved
from depth_retrofit_ros.coarse.window import one_at_a_time, windowed
from depth_retrofit_ros.device.cuda_streams import CudaStream, StageTimer, Upload
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.presets import USUAL, Parts, load_preset
from depth_retrofit_ros.refinement.base import Refiner, RefinerInput
from depth_retrofit_ros.refinement.pixels.graphed import GraphedRefiner
from depth_retrofit_ros.refinement.pixels.refiner import SparseRefiner
from depth_retrofit_ros.refinement.registry import load_refiner
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.edge_aware import thumbnail
from depth_retrofit_ros.upsampling.interpolation import upsample_mask


@dataclass(frozen=True, slots=True)
class InFlightFrame:
    """A frame whose coarse prediction is being made.

    image: ``uint8 [H, W, 3]`` on the device; coarse_done: when ``coarse`` is there.
    """

    frame: Frame
    image: torch.Tensor
    coarse: CoarsePrediction
    coarse_done: torch.cuda.Event | None
    stage: StageTimer


@dataclass(frozen=True, slots=True)
class RefiningFrame:
    """A frame whose answer is being made: its ``coarse`` prediction, the ``answer`` but for its times, and when that is there."""

    coarse: CoarsePrediction
    answer: DepthFrame
    done: torch.cuda.Event | None
    stage: StageTimer


class Retrofit:
    """A frozen coarse model, retrofitted with refinement at the frame's own resolution.

    budget: share of the frame's pixels that are refined, 0…1; it may be changed between frames (at 0
    the answer is the upsampled coarse depth). trust_scale: whether the user vouches that camera and scene are what the model's
    ``claim`` asks for. uses_sparse: whether the model takes a frame's sparse depth; one that is metric by it does. parts: what
    upsamples and selects, see ``presets``.
    Raises ModelError where trust cannot make metres of its depth.
    """

    def __init__(
        self,
        coarse: CoarseModel,
        refiner: Refiner[Any],
        budget: float = 0.10,
        trust_scale: bool = False,
        uses_sparse: bool = False,
        parts: Parts = USUAL,
    ) -> None:
        if trust_scale:
            _require_trustworthy(coarse.name, coarse.claim)
        self.coarse = coarse
        self.refiner = refiner
        self.budget = budget
        self.trust_scale = trust_scale
        self.uses_sparse = uses_sparse or coarse.claim.word == "sensor"
        self.parts = parts
        self._upload = Upload(coarse.device)
        self._coarse_stream, self._refine_stream = CudaStream(coarse.device), CudaStream(coarse.device, first=True)

    @property
    def budget(self) -> float:
        """Share of the frame's pixels that are refined."""
        return self._budget

    @budget.setter
    def budget(self, value: float) -> None:
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"budget {value} is outside 0…1: it is the share of the frame's pixels to refine")
        self._budget = value

    def __call__(self, frame: Frame) -> DepthFrame:
        """Depth of one frame. Blocking; the result lives on the coarse model's device."""
        return self.collect(self.launch(frame))

    @property
    def overlaps(self) -> bool:
        """Whether ``launch`` returns before its work is done, so that the next frame's coarse model runs beside the refiner."""
        return self.coarse.device.type == "cuda"

    @property
    def compiles_for_size(self) -> bool:
        """Whether the first frame of a size may wait for something to be compiled or tuned: on CUDA, and where an engine compiles
        the coarse model. The other kernels of a CPU serve all sizes."""
        network = getattr(self.coarse, "network", None)
        return self.coarse.device.type == "cuda" or (isinstance(network, CompiledNetwork) and network.compiles)

    @property
    def is_building(self) -> bool:
        """Whether an engine makes a program of the coarse model at this moment, which may take minutes; for any thread."""
        network = getattr(self.coarse, "network", None)
        return isinstance(network, CompiledNetwork) and network.is_making

    @torch.inference_mode()
    def launch(self, frame: Frame) -> InFlightFrame:
        """Upload the frame and start the coarse model on it. On CUDA this does not wait for either."""
        stage = self._stages()
        with self._coarse_stream():
            image = self._upload(frame.image)
            with stage("coarse"):
                coarse = limit_far(self.coarse.predict(image, frame.camera, Hints(frame.stamp_ns, frame.sparse)), self.coarse.claim)
        return InFlightFrame(frame, image, coarse, self._coarse_stream.record(), stage)

    def collect(self, in_flight: InFlightFrame) -> DepthFrame:
        """The answer to what was launched; blocking. Frames are collected in the order of their launch."""
        return self.finish(self.refine(in_flight))

    @torch.inference_mode()
    def refine(self, in_flight: InFlightFrame) -> RefiningFrame:
        """Upsample, select, refine and fuse what was launched. On CUDA this waits for none of it, unless the selector does."""
        frame, image, coarse, stage = in_flight.frame, in_flight.image, in_flight.coarse, in_flight.stage
        height, width = frame.image.shape[:2]
        maps = (coarse.depth, coarse.features, coarse.sky, coarse.normals, coarse.unknown)
        self._refine_stream.wait(in_flight.coarse_done, image, *(made for made in maps if made is not None))
        with self._refine_stream():
            with stage("upsample"):
                small = thumbnail(image, coarse.depth)
                depth = self.parts.upsample(coarse.depth, image, small)
            with stage("select"):
                score, pixels = self.select(coarse, image)
            with stage("refine"):
                given = RefinerInput(image, small, coarse, depth, score, pixels, frame.camera, self.coarse.name)
                refined = self.refiner.refine(given)
            with stage("fuse"):
                gate, fused_at_pixels, normals = self.refiner.fuse(refined)
                fused = depth.flatten().index_copy(0, pixels.indices, fused_at_pixels).view(height, width)
                seen = coarse.depth
                if coarse.unknown is not None:
                    seen = seen.masked_fill(coarse.unknown, torch.nan)
                    unknown = upsample_mask(coarse.unknown, (height, width))
                    fused, depth = (known.masked_fill_(unknown, torch.nan) for known in (fused, depth))

        source = self.coarse.claim.source(self.trust_scale, frame.sparse)
        if frame.camera is None and source not in ("file", "sensor"):
            source = None  # a stored map was made with a camera, a sensor knows metres; a model without one does not
        made = (fused, depth, seen, source, pixels, gate)
        answer = DepthFrame(*made, frame.stamp_ns, frame.frame_id, frame.camera, {}, image, coarse.normals, coarse.sky, normals)
        return RefiningFrame(coarse, answer, self._refine_stream.record(), stage)

    def finish(self, refining: RefiningFrame) -> DepthFrame:
        """The answer, waited for."""
        if refining.done is not None:
            refining.done.synchronize()
        return replace(refining.answer, times_ms=refining.stage.times_ms())

    @property
    def stream(self) -> CudaStream:
        """To which answers belong: who works on one on its device does so here, after all that is in work."""
        return self._refine_stream

    def select(self, coarse: CoarsePrediction, image: torch.Tensor) -> tuple[torch.Tensor, PixelSet]:
        """The uncertainty ``[h, w]`` on the coarse grid, and what is chosen of the pixels of the frame ``uint8 [H, W, 3]``."""
        score = self.parts.selector.score(coarse, image)
        budget = 0.0 if self.refiner.needs == "nothing" else self.budget
        return score, self.parts.selector.choose(score, (image.shape[0], image.shape[1]), budget)

    def _stages(self) -> StageTimer:
        """Of a frame; an audit has its own."""
        return StageTimer(self.coarse.device)

    def warm_up(self, height: int, width: int, camera: Camera | None = None) -> DepthFrame:
        """Run a picture of the bundled film, so that the first real frame is not the slow one; it stands alone, and no model
        remembers it. camera: its intrinsics, where the real ones have some."""
        return self(Frame(natural_image(height, width).numpy(), camera=camera))


def _require_trustworthy(model: str, claim: ScaleClaim) -> None:
    """Raises ModelError where no trust makes metres of a model's depth."""
    if reason := _no_trust(model, claim):
        raise ModelError(reason)


def _no_trust(model: str, claim: ScaleClaim) -> str | None:
    if claim.word != "never":
        return None
    return f"{model} is {claim}: there is none to trust, leave trust_scale out and align its depth"


def refused_settings(info: ModelInfo, trust_scale: bool = False, cuda_graphs: bool = False, views: int = 1) -> str | None:
    """Why ``load`` cannot run a model with these settings, one line; None where it can."""
    if trust_scale and (reason := _no_trust(info.name, info.claim)):
        return reason
    if cuda_graphs and (used := sorted(info.uses & {"sparse depth", "the past"})):
        return f"cuda_graphs cannot replay {info.name}, which uses {' and '.join(used)}: leave it off"
    if views > 1 and "several views" not in info.uses:
        return one_at_a_time(info.name)
    return None


def load(
    model: str = "compact",
    *,
    weights: Path | str | None = None,
    refiner: Path | str | None = None,
    budget: float = 0.10,
    device: str = "auto",
    engine: str = "auto",
    refiner_precision: str = "auto",
    cuda_graphs: bool = False,
    trust_scale: bool = False,
    coarse_size: int | str | None = None,
    allow_download: bool = False,
    views: int = 1,
    coarse_engine: str = "auto",
    coarse_precision: str = "auto",
    preset: str = "default",
    entropy_threshold: float = 0.0,
    suits: Refusal = SERVES,
) -> Retrofit:
    """A ready ``Retrofit``.

    model: a name of ``coarse.registry.MODELS``, or ``auto`` (the best that is here for the device, see ``coarse.auto``); weights:
    file or folder of its checkpoint, where it is not bundled or found by ``DEPTH_RETROFIT_WEIGHTS`` or in the hub's cache; refiner:
    a name of ``refinement.registry.REFINERS`` or the path of a checkpoint, None or ``auto`` for the preset's; budget: see
    ``Retrofit``; device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda``, ``cuda:N``; engine: the backend of the sparse
    convolutions, a name of ``sparse.backends.registry.BACKENDS``, or
    ``auto`` (the fastest on that device); refiner_precision: in which type it computes, see ``refiner.type_for``; cuda_graphs: see
    ``device.cuda_graphs``; trust_scale: see ``Retrofit``; coarse_size: the long side of the coarse model's input [px], ``native``
    for its authors' rule, None for what suits a live node; allow_download: fetch the checkpoint of a named model that is not here;
    views: how many of the newest frames a model of several views sees at once, see ``coarse.window``; coarse_engine: what runs the
    coarse model, of ``coarse.engines.registry.ENGINES``, or ``auto`` (the fastest that is installed, by measurement);
    coarse_precision: in which it computes, ``float32``, ``bfloat16``, ``float16`` or ``auto``; preset: of ``kinds.PRESETS``, which
    parts the method is made of; entropy_threshold: see ``presets.load_preset``; suits: why a model does not suit
    whoever calls, None where it does: it is refused, and ``auto`` passes it over, as it does those that cannot serve under the
    other settings. Raises ModelError or WeightsError, each one line.
    """
    coarse_engine = named_engine(coarse_engine)
    weights = None if weights is None else Path(weights)
    chosen = load_preset(preset, refiner, entropy_threshold)
    if cuda_graphs and chosen.name != "default":
        raise ModelError(f"cuda_graphs replays a fixed number of pixels, which preset {chosen.name} has not: leave it off")

    def refusal(info: ModelInfo) -> str | None:
        return refused_settings(info, trust_scale, cuda_graphs, views) or chosen.refusal(info) or suits(info)

    if cuda_graphs and views > 1:
        raise ModelError("cuda_graphs cannot replay a window of frames: leave it off, or views at 1")
    if cuda_graphs and coarse_engine not in ("auto", *GRAPHABLE):
        raise ModelError(f"cuda_graphs replays coarse engine {' or '.join(GRAPHABLE)}, not {coarse_engine}: leave one of them out")
    info = resolved(model, device, weights, refusal)
    if reason := refusal(info):  # what cannot be is told before a checkpoint is read
        raise ModelError(reason)
    coarse = load_coarse(
        info.name,
        weights=weights,
        device=device,
        size=coarse_size,
        allow_download=allow_download,
        engine=coarse_engine,
        precision=coarse_precision,
    )
    coarse = windowed(coarse, views)
    parts = chosen.parts(coarse)
    loaded = load_refiner(chosen.refiner, coarse.device, engine, refiner_precision)
    if not cuda_graphs:
        return Retrofit(coarse, loaded, budget, trust_scale, "sparse depth" in info.uses, parts)
    if not isinstance(loaded, SparseRefiner):
        raise ModelError(f"cuda_graphs replays refiner sparse, not {loaded.name}: leave it off")
    if coarse.device.type != "cuda" or loaded.backend.name != "triton":
        raise ModelError(f"cuda_graphs needs CUDA and engine triton, not {coarse.device} and {loaded.backend.name}: leave it off")
    return Retrofit(GraphedCoarse(coarse), GraphedRefiner(loaded), budget, trust_scale)
