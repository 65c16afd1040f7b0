"""The method: coarse → upsample → select → refine → fuse, in the order of the paper's figure (arXiv 2603.19964, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarseModel, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.batch import BatchModel, fit_together
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.engines.compiled import CompiledNetwork
from depth_retrofit_ros.coarse.engines.natural_image import natural_image
from depth_retrofit_ros.coarse.far_limit import limit_far
from depth_retrofit_ros.coarse.past import for_another_stream
from depth_retrofit_ros.coarse.window import ViewWindow
from depth_retrofit_ros.device.cuda_streams import CudaStream, StageTimer, Upload
from depth_retrofit_ros.device.resident import Resident
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.lazy import lazy_names
from depth_retrofit_ros.lens import at_cells
from depth_retrofit_ros.presets import USUAL, Parts
from depth_retrofit_ros.refinement.base import Refiner, RefinerInput
from depth_retrofit_ros.selection.contrast import contrast
from depth_retrofit_ros.selection.disagreement import disagreement
from depth_retrofit_ros.selection.uncertainty import weighted
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.temporal.steadiness import Steadiness
from depth_retrofit_ros.upsampling.edge_aware import thumbnail
from depth_retrofit_ros.upsampling.interpolation import upsample_mask

if TYPE_CHECKING:
    from depth_retrofit_ros.loading import load as load


@dataclass(frozen=True, slots=True)
class InFlightFrame:
    """A frame whose coarse prediction is being made.

    image: ``uint8 [H, W, 3]`` on the device; coarse_done: when ``coarse`` is there, and ``other``, the second model's answer, where
    there is one.
    """

    frame: Frame
    image: torch.Tensor
    coarse: CoarsePrediction
    coarse_done: torch.cuda.Event | None
    stage: StageTimer
    other: CoarsePrediction | None = None


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
    upsamples and selects, see ``presets``. second: a model that runs beside it, on the same device, wherever pixels are refined:
    they are selected where the two disagree; None selects by uncertainty. temporal: what it remembers of the frames before, of one
    camera, refined in their order; None answers each frame for itself. It may be changed between frames.
    Raises ModelError where trust cannot make metres of its depth, and for memory on another device than the CPU, or of several
    views.
    """

    def __init__(
        self,
        coarse: CoarseModel,
        refiner: Refiner[Any],
        budget: float = 0.10,
        trust_scale: bool = False,
        uses_sparse: bool = False,
        parts: Parts = USUAL,
        second: CoarseModel | None = None,
        temporal: Steadiness | None = None,
    ) -> None:
        if trust_scale:
            require_trustworthy(coarse.name, coarse.claim)
        self.coarse = coarse
        self.refiner = refiner
        self.second = second
        self.budget = budget
        self.trust_scale = trust_scale
        self.uses_sparse = uses_sparse or coarse.claim.word == "sensor"
        self.parts = parts
        self.temporal = temporal
        self._upload, self._upload_unseen, self._unseen = Upload(coarse.device), Upload(coarse.device), Resident(coarse.device)
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

    @property
    def temporal(self) -> Steadiness | None:
        """What is remembered of the frames before."""
        return self._temporal

    @temporal.setter
    def temporal(self, value: Steadiness | None) -> None:
        views = 2 if isinstance(self.coarse, ViewWindow) else 1  # or more
        if value is not None and (reason := no_temporal(self.coarse.device, views=views)):
            raise ModelError(reason)
        self._temporal = value

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
        a coarse model. The other kernels of a CPU serve all sizes."""
        return self.coarse.device.type == "cuda" or any(network.compiles for network in self._compiled())

    @property
    def is_building(self) -> bool:
        """Whether an engine makes a program of a coarse model at this moment, which may take minutes; for any thread."""
        return any(network.is_making for network in self._compiled())

    def _compiled(self) -> list[CompiledNetwork]:
        """The networks of the coarse models that an engine runs."""
        networks = (getattr(model, "network", None) for model in (self.coarse, self.second))
        return [network for network in networks if isinstance(network, CompiledNetwork)]

    @property
    def refines(self) -> bool:
        """Whether pixels are refined: not at budget 0, nor by a refiner that looks at none."""
        return self.budget > 0 and self.refiner.needs != "nothing"

    @torch.inference_mode()
    def launch(self, frame: Frame) -> InFlightFrame:
        """Upload the frame and start the coarse model on it, and the second one. On CUDA this does not wait for any of it."""
        stage = self._stages()
        with self._coarse_stream():
            image = self._upload(frame.image)
            with stage("coarse"):
                hints = Hints(frame.stamp_ns, frame.sparse)
                coarse, other = (
                    None if model is None else limit_far(model.predict(image, frame.camera, hints), model.claim)
                    for model in (self.coarse, self.second if self.refines else None)
                )
            assert coarse is not None
            return self._in_flight(frame, image, coarse, stage, other)

    def _in_flight(
        self, frame: Frame, image: torch.Tensor, coarse: CoarsePrediction, stage: StageTimer, other: CoarsePrediction | None = None
    ) -> InFlightFrame:
        """What ``launch`` returns; to be called on the coarse model's stream."""
        if frame.optics is not None and frame.optics.unseen is not None:
            coarse = replace(coarse, unseen=self._upload_unseen(at_cells(frame.optics.unseen, coarse.depth.shape)))
        return InFlightFrame(frame, image, coarse, self._coarse_stream.record(), stage, other)

    def for_another_camera(self, budget: float, trust_scale: bool) -> Retrofit:
        """The same networks on the same streams, for frames of another camera: with a budget, buffers and a memory of its own.

        Not for two threads. Raises ModelError where trust cannot make metres of its depth, or the model's memory is of one camera.
        """
        if trust_scale:
            require_trustworthy(self.coarse.name, self.coarse.claim)
        other, device = copy(self), self.coarse.device
        other.coarse, other.second = for_another_stream(self.coarse), for_another_stream(self.second)
        other.budget, other.trust_scale = budget, trust_scale
        other.temporal = None if self.temporal is None else Steadiness()
        other._upload, other._upload_unseen, other._unseen = Upload(device), Upload(device), Resident(device)
        return other

    def collect(self, in_flight: InFlightFrame) -> DepthFrame:
        """The answer to what was launched; blocking. Frames are collected in the order of their launch."""
        return self.finish(self.refine(in_flight))

    @torch.inference_mode()
    def refine(self, in_flight: InFlightFrame) -> RefiningFrame:
        """Upsample, select, refine and fuse what was launched. On CUDA this waits for none of it, unless the selector does."""
        frame, image, coarse, stage = in_flight.frame, in_flight.image, in_flight.coarse, in_flight.stage
        height, width = frame.image.shape[:2]
        source = self.coarse.claim.source(self.trust_scale, frame.sparse)
        temporal, moment = self.temporal, None
        maps = [coarse.depth, coarse.features, coarse.sky, coarse.normals, coarse.unknown, coarse.unseen]
        maps += [] if in_flight.other is None else [in_flight.other.depth, in_flight.other.sky, in_flight.other.unknown]
        self._refine_stream.wait(in_flight.coarse_done, image, *(made for made in maps if made is not None))
        with self._refine_stream():
            with stage("upsample"):
                small = thumbnail(image, coarse.depth)
                if temporal is not None and (moment := temporal.begin(frame, small, coarse, source)) is not None:
                    coarse = moment.coarse
                depth = self.parts.upsample(coarse.depth, image, small)
            with stage("select"):
                claim = None if temporal is None or moment is None else temporal.claim(moment)
                score, pixels = self.select(coarse, image, in_flight.other, claim)
            with stage("refine"):
                given = RefinerInput(image, small, coarse, depth, score, pixels, frame.camera, self.coarse.name)
                refined = self.refiner.refine(given)
            with stage("fuse"):
                gate, fused_at_pixels, normals, entropy = self.refiner.fuse(refined)
                fused = depth.flatten().index_copy(0, pixels.indices, fused_at_pixels).view(height, width)
                if self.parts.agree is not None and self.refiner.needs == "pixels":
                    fused.view(-1).index_copy_(0, pixels.indices, self.parts.agree(fused, image, pixels))
                seen, hidden = coarse.depth, None if frame.optics is None else self._unseen(frame.optics.unseen)
                if coarse.unknown is not None:
                    seen = seen.masked_fill(coarse.unknown, torch.nan)
                    unknown = upsample_mask(coarse.unknown, (height, width))
                    hidden = unknown if hidden is None else hidden | unknown
                settled = None
                if temporal is not None and moment is not None:
                    settled = temporal.finish(moment, image, depth, fused, pixels, gate, hidden, entropy)
                if hidden is not None:
                    fused, depth = (known.masked_fill_(hidden, torch.nan) for known in (fused, depth))

        if frame.camera is None and source not in ("file", "sensor"):
            source = None  # a stored map was made with a camera, a sensor knows metres; a model without one does not
        if frame.camera is None:
            normals = None  # whoever has none assumes one for the shape, which the refiner was not told of
        made = (fused, depth, seen, source, pixels, gate)
        beside = (image, coarse.normals, coarse.sky, normals, score, entropy)
        of_frame = (frame.stamp_ns, frame.frame_id, frame.camera)
        scale = 1.0 if moment is None else moment.scale
        answer = DepthFrame(*made, *of_frame, {}, *beside, model=self.coarse.name, temporal_scale=scale, settled=settled)
        return RefiningFrame(in_flight.coarse, answer, self._refine_stream.record(), stage)

    def finish(self, refining: RefiningFrame) -> DepthFrame:
        """The answer, waited for."""
        if refining.done is not None:
            refining.done.synchronize()
        return replace(refining.answer, times_ms=refining.stage.times_ms())

    @property
    def stream(self) -> CudaStream:
        """To which answers belong: who works on one on its device does so here, after all that is in work."""
        return self._refine_stream

    def select(
        self,
        coarse: CoarsePrediction,
        image: torch.Tensor,
        other: CoarsePrediction | None = None,
        claim: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, PixelSet]:
        """The uncertainty ``[h, w]`` on the coarse grid, and what is chosen of the pixels of the frame ``uint8 [H, W, 3]``: by that
        or, with the ``other`` model's answer, by their disagreement, as far as the cells have a ``claim`` to the budget, ``[h, w]``
        0…1, see ``Steadiness.claim``; None: all. No pixel where the ``second`` model was not asked, as the frame was launched at
        budget 0. Where the lens sees nothing, pixels are chosen after all others."""
        score, ranking = self.scores(coarse, image, other)
        if claim is not None:
            ranking = ranking * claim
        if coarse.unseen is not None:
            ranking = ranking.masked_fill(coarse.unseen, 0.0)
        budget = self.budget if self.refines and (self.second is None or other is not None) else 0.0
        return score, self.parts.selector.choose(ranking, (image.shape[0], image.shape[1]), budget)

    def scores(
        self, coarse: CoarsePrediction, image: torch.Tensor, other: CoarsePrediction | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The uncertainty, which refiners see, and what decides which pixels they refine, ``[h, w]`` both; see ``select``."""
        score = self.parts.selector.score(coarse, image)
        if other is None:
            return score, score
        shown = contrast(image, (coarse.depth.shape[0], coarse.depth.shape[1]))
        return score, weighted(disagreement(coarse, other), shown)

    def _stages(self) -> StageTimer:
        """Of a frame; an audit has its own."""
        return StageTimer(self.coarse.device)

    def warm_up(self, height: int, width: int, camera: Camera | None = None) -> DepthFrame:
        """Run a picture of the bundled film, so that the first real frame is not the slow one; it stands alone, and no model
        remembers it. camera: its intrinsics, where the real ones have some."""
        return self(Frame(natural_image(height, width).numpy(), camera=camera))


@torch.inference_mode()
def launch_together(asked: Sequence[tuple[Retrofit, Frame]]) -> list[InFlightFrame]:
    """As ``launch`` of each frame by its method; of several that ``for_another_camera`` made of one, whose model takes batches, and
    whose frames have one size there, in one call of the model. The time ``coarse`` of each is then that of the batch."""
    first = asked[0][0]
    coarse, asks_second = first.coarse, any(method.second is not None for method, _ in asked)
    sizes = [frame.image.shape[:2] for _, frame in asked]
    if len(asked) == 1 or asks_second or not (isinstance(coarse, BatchModel) and fit_together(coarse, sizes)):
        return [method.launch(frame) for method, frame in asked]
    stages = [method._stages() for method, _ in asked]
    with first._coarse_stream(), ExitStack() as timed:
        images = [method._upload(frame.image) for method, frame in asked]
        for stage in stages:
            timed.enter_context(stage("coarse"))
        answers = coarse.predict_batch(images, [frame.camera for _, frame in asked])
        answers = [limit_far(answer, coarse.claim) for answer in answers]
        timed.close()
        return [
            method._in_flight(frame, image, answer, stage)
            for (method, frame), image, answer, stage in zip(asked, images, answers, stages, strict=True)
        ]


def require_trustworthy(model: str, claim: ScaleClaim) -> None:
    """Raises ModelError where no trust makes metres of a model's depth."""
    if reason := no_trust(model, claim):
        raise ModelError(reason)


def no_temporal(device: torch.device, cuda_graphs: bool = False, views: int = 1) -> str | None:
    """Why no frame can be remembered for the next one, one line; None where it can."""
    if device.type != "cpu":
        return f"temporal runs on the CPU so far, and not on {device}: leave it off, or choose device cpu"
    if cuda_graphs or views > 1:
        return "temporal runs without cuda_graphs, on one view at a time: leave it off, or those"
    return None


def no_trust(model: str, claim: ScaleClaim) -> str | None:
    """Why no trust makes metres of a model's depth, one line; None where it does."""
    if claim.word != "never":
        return None
    return f"{model} is {claim}: there is none to trust, leave trust_scale out and align its depth"


if not TYPE_CHECKING:  # ``load`` makes a ``Retrofit``, so that it lies above this module; its public name is here
    __getattr__ = lazy_names("depth_retrofit_ros", ["load"], {}, "loading")
