"""The state that ``Retrofit`` carries from frame to frame, and when it lets go of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.errors import TransformError
from depth_retrofit_ros.frame import Frame, ScaleSource, SettledChoices
from depth_retrofit_ros.lens import Optics, RayTable, Rectification
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.temporal.coarse_filter import CoarseState, Steadied, first, steadied
from depth_retrofit_ros.temporal.known_motion import KnownMotion, Motions
from depth_retrofit_ros.temporal.motion import FlowEstimator
from depth_retrofit_ros.temporal.settled import Cells, SettledPixels

LONGEST_GAP_S = 5.0  # between two frames of one video; a large model on a CPU takes seconds for each
ANCHORED: tuple[ScaleSource, ...] = ("sensor", "file")
"""Whose metres are measured frame by frame: there a scale that steps is the truth, and is not smoothed."""

CONTRADICTED = "the images contradict the camera's poses: check their frames, their clock and camera_info"
UNCALIBRATED = "the camera's poses are of no use without camera_info: publish it beside the images"
BENT = "the camera's poses are of no use to an image that stays a lens's own: set rectify to true"


@dataclass(frozen=True, slots=True)
class Video:
    """What the frames of one video have in common. low: of the coarse grid; optics: the very same; anchored: see ``ANCHORED``."""

    size: tuple[int, int]
    low: tuple[int, int]
    frame_id: str
    camera: Camera | None
    optics: Optics | None
    anchored: bool


@dataclass(frozen=True, slots=True)
class Moment:
    """A frame between its coarse map and its answer. coarse: the steadied prediction; scale: the factor that all of its depth was
    multiplied by; still: ``bool [h, w]``, cells in which nothing moved and the model moved no edge, None of a frame that begins
    anew; unit: see ``fit_known_motion``."""

    coarse: CoarsePrediction
    scale: float
    video: Video
    stamp_ns: int
    small: np.ndarray
    steadied: Steadied
    still: np.ndarray | None
    unit: float | None = None


class Steadiness:
    """One camera's memory: of the frame before its thumbnail and its steadied coarse map, of several frames the refined pixels.

    It computes on the CPU. A frame that has no stamp stands alone: it is answered as without memory, and leaves none. All is let go
    where the stamp does not grow or jumps by more than ``LONGEST_GAP_S``, where size, camera, optics or frame_id change, where
    metres begin or cease to be measured, and where too little of the frame before is seen again (a cut, a jump of the exposure, a
    lens that was covered, a view without texture, of which nobody can tell whether the camera stands). Nothing is remembered of a
    frame before ``finish``, so that one that failed may be tried again.

    The steadied map stands in front of the refiner, and what it made of pixels behind: what is kept of a pixel as one more learnt
    candidate was tried, see docs/temporal.md.

    motions: tells the camera's own motion where somebody knows it; None: the images alone tell. Each camera needs one of its own
    where its poses are known by its frame_id alone.
    """

    def __init__(self, motions: Motions | None = None) -> None:
        self.motions = motions
        self.motion_problem: str | None = None
        """Why the last frame's motion was told by the images alone although ``motions`` is there; None where it was not."""
        self._unit: float | None = None
        self._flow = FlowEstimator()
        self._video: Video | None = None
        self._stamp_ns = self._began_ns = 0
        self._small: np.ndarray | None = None
        self._state: CoarseState | None = None
        self.settled: SettledPixels | None = None

    def reset(self) -> None:
        """Forget everything."""
        self._video, self._small, self._state, self.settled, self._unit = None, None, None, None, None

    def begin(self, frame: Frame, small: torch.Tensor, coarse: CoarsePrediction, source: ScaleSource | None) -> Moment | None:
        """Steady the coarse map. small: ``float32 [h, w, 3]``, the frame averaged over its cells; source: on whose word depth is in
        metres. None of a frame without a stamp."""
        self.motion_problem = None
        if frame.stamp_ns is None:
            return None
        depth = coarse.depth.numpy()
        (height, width), (h, w) = frame.image.shape[:2], depth.shape
        video = Video((height, width), (h, w), frame.frame_id, frame.camera, frame.optics, source in ANCHORED)
        usable = np.isfinite(depth) & (depth > 0)
        for nothing in (coarse.unknown, coarse.sky):  # where the sky is put says nothing of the scale
            if nothing is not None:
                usable &= ~nothing.numpy()
        seen = None if coarse.unseen is None else _away_from(coarse.unseen.numpy())
        if seen is not None:
            usable &= seen
        now = np.ascontiguousarray(small.numpy())
        seconds = 1e-9 * (frame.stamp_ns - self._stamp_ns)
        still, unit = None, self._unit
        if video != self._video or not 0 < seconds <= LONGEST_GAP_S:
            made = first(np.where(usable, depth, np.float32(np.nan)))
            unit = None
        else:
            assert self._small is not None and self._state is not None
            known, bent = np.where(usable, depth, np.float32(1)), isinstance(frame.optics, RayTable)
            moved = self._moved(frame)
            motion = self._flow.motion(self._small, now, known, usable, frame.camera, seen, bent, moved, unit)
            unit = motion.unit
            if moved is not None and (bent or motion.contradicted):
                self.motion_problem = BENT if bent else CONTRADICTED
            made = steadied(self._state, depth, usable, motion, seconds, not video.anchored)
            still = motion.still & made.same if made.state.count.max() > 1 else None
        told = replace(coarse, depth=coarse.depth * torch.from_numpy(made.factor))
        return Moment(told, made.scale, video, frame.stamp_ns, now, made, still, unit)

    def _moved(self, frame: Frame) -> KnownMotion | None:
        """The camera's motion since the frame before, where it is known."""
        if self.motions is None:
            return None
        assert frame.stamp_ns is not None
        if frame.camera is None:
            self.motion_problem = UNCALIBRATED
            return None
        try:
            motion = self.motions(frame.frame_id, self._stamp_ns, frame.stamp_ns)
        except TransformError as error:
            self.motion_problem = str(error)
            return None
        return motion.turned(frame.optics.rotation) if isinstance(frame.optics, Rectification) else motion

    def claim(self, moment: Moment) -> torch.Tensor | None:
        """What claim the cells have to the budget, ``float32 [h, w]`` 0…1, see ``SettledPixels.claim``; None where all have the
        same."""
        if moment.still is None or self.settled is None:
            return None
        return self.settled.claim(moment.still, 1e-9 * (moment.stamp_ns - self._stamp_ns))

    def finish(
        self,
        moment: Moment,
        image: torch.Tensor,
        base: torch.Tensor,
        fused: torch.Tensor,
        pixels: PixelSet,
        gate: torch.Tensor,
        hidden: torch.Tensor | None,
        entropy: torch.Tensor | None = None,
    ) -> SettledChoices | None:
        """Into ``fused`` ``float32 [H, W]``: what settled pixels keep; then this frame is the one before. Returns what the refiner
        said of its choices at these, None of one that makes none.

        image: ``uint8 [H, W, 3]``; base: ``float32 [H, W]``, the upsampled steadied coarse depth; gate: ``float32 [K]``; hidden:
        ``bool [H, W]``, what has no depth, and settles nowhere; None where all has; entropy: see ``DepthFrame.choice_entropy``.
        """
        begins = moment.still is None
        if self.settled is None or (begins and self.settled.size != (moment.video.size, moment.video.low)):
            self.settled = None  # before the other is made
            self.settled = SettledPixels(moment.video.size, moment.video.low)
        if begins:
            self.settled.release()
            self._began_ns = moment.stamp_ns
        still = np.zeros(moment.video.low, bool) if moment.still is None else moment.still
        cells = Cells.of(moment.coarse.depth.numpy(), still, moment.steadied.change)
        if hidden is not None:
            gate = gate.masked_fill(hidden.flatten()[pixels.indices], 1.0)
        self.settled.apply(image, cells, base, fused, pixels, gate, 1e-9 * (moment.stamp_ns - self._began_ns), entropy)
        self._video, self._stamp_ns, self._small, self._state = moment.video, moment.stamp_ns, moment.small, moment.steadied.state
        self._unit = moment.unit
        return None if entropy is None else self.settled.choices()


def _away_from(unseen: np.ndarray) -> np.ndarray:
    """``bool [h, w]``, cells that the lens shows with all of their neighbours: others hold some of the black beyond."""
    return np.asarray(cv2.dilate(unseen.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
