"""Depth into metres by a sparse depth topic: which message belongs to a frame, and what came of it."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from sensor_msgs.msg import Image, PointCloud2

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.errors import SparseDepthError
from depth_retrofit_ros.frame import DepthFrame, Frame, SparseDepth
from depth_retrofit_ros.ros.health.throttled_log import quoted
from depth_retrofit_ros.ros.messages.sparse_depth import from_image, from_points
from depth_retrofit_ros.ros.node.parameters import NO_POSE
from depth_retrofit_ros.scale.fit import Correction, Fit, Mode, ScaleTracker

if TYPE_CHECKING:
    from std_msgs.msg import Header

TOLERANCE_S = 0.1  # between the stamps of image and sparse depth
REMEMBERED_S = 3.0  # of sparse depth, by its stamps: an image that a slow model answers is as old
REMEMBERED_ALL = 10  # messages, the newest; older ones are thinned to one per half tolerance, which bounds their memory


@dataclass(frozen=True, slots=True)
class ScaleReport:
    """How a frame's depth was brought to metres.

    correction: smoothed, as applied; None where there was none. fit: the last one that succeeded; residual: of what was applied
    then. problem: why this frame has none of its own, empty where it has.
    """

    correction: Correction | None
    fit: Fit | None
    residual: float
    problem: str


class ScaleFitter:
    """Takes sparse depth in from the executor's thread (``offer``) and corrects frames in the worker's (``align``).

    claim: what the model's depth is. max_residual: see ``scale.fit``. pose: of the points' frame in the image's
    optical frame. topics: their names, for the words.
    """

    def __init__(self, mode: Mode, claim: ScaleClaim, max_residual: float, pose: tuple[float, ...], topics: str) -> None:
        self._inverse = claim.inverse
        self._pose = pose
        self._topics = topics
        self._tracker = ScaleTracker(mode, max_residual)
        self._lock = threading.Lock()
        self._newest: deque[Image | PointCloud2] = deque()
        self._older: dict[int, Image | PointCloud2] = {}  # by their stamp in half tolerances
        self._view: tuple[Camera | None, str] | None = None

    def offer(self, message: Image | PointCloud2) -> None:
        """Remember a message; it is read only if a frame needs it."""
        stamp_ns = _stamp_ns(message.header)
        with self._lock:
            self._newest.append(message)
            if len(self._newest) > REMEMBERED_ALL:
                older = self._newest.popleft()
                self._older[round(2e-9 * _stamp_ns(older.header) / TOLERANCE_S)] = older
            self._older = {slot: older for slot, older in self._older.items() if _apart_s(older, stamp_ns) <= REMEMBERED_S}

    @property
    def remembered(self) -> int:
        """Number of messages that are kept."""
        with self._lock:
            return len(self._newest) + len(self._older)

    def align(self, result: DepthFrame, frame: Frame) -> tuple[DepthFrame, ScaleReport]:
        """The frame in metres where there is a correction, and relative where the sensor contradicts the model, whoever vouches for
        that; where sparse depth is merely missing, the frame as it is."""
        if (view := (frame.camera, frame.frame_id)) != self._view:  # to which the last correction does not belong
            self._tracker.reset()
            self._view = view
        try:
            sparse = self._sparse(frame)
        except SparseDepthError as error:
            self._tracker.miss(frame.stamp_ns, self._inverse, str(error))
        else:
            pixels = torch.from_numpy(sparse.pixels).to(result.depth.device)
            predicted: np.ndarray = result.depth.flatten()[pixels].cpu().numpy()
            self._tracker.update(frame.stamp_ns, predicted, sparse.depth, self._inverse)
        correction = self._tracker.correction
        report = ScaleReport(correction, self._tracker.last_fit, self._tracker.residual, self._tracker.problem)
        if correction is None:
            return dataclasses.replace(result, scale_source=None) if self._tracker.disagree else result, report
        depth, base, coarse = (correction.apply(values) for values in (result.depth, result.base, result.coarse))
        return dataclasses.replace(result, depth=depth, base=base, coarse=coarse, scale_source="sensor"), report

    def _sparse(self, frame: Frame) -> SparseDepth:
        """Raises SparseDepthError where no message fits."""
        message = self._nearest(frame.stamp_ns)
        height, width = frame.image.shape[:2]
        if isinstance(message, Image):
            return from_image(message, width, height)
        if frame.camera is None:
            raise SparseDepthError("sparse points need the camera_info of the image: publish it")
        there, here = message.header.frame_id, frame.frame_id
        if there != here and self._pose == NO_POSE:
            raise SparseDepthError(
                f"sparse points are in frame {quoted(there)}, the image in {quoted(here)}: set sparse_points_pose"
            )
        return from_points(message, frame.camera, self._pose)

    def _nearest(self, stamp_ns: int) -> Image | PointCloud2:
        with self._lock:
            messages = [*reversed(self._newest), *self._older.values()]  # of one stamp, the last that came
        if not messages:
            raise SparseDepthError(f"no sparse depth on {self._topics}")
        nearest = min(messages, key=lambda message: _apart_s(message, stamp_ns))
        apart_s = _apart_s(nearest, stamp_ns)
        if apart_s > TOLERANCE_S:
            raise SparseDepthError(
                f"the nearest sparse depth on {self._topics} is {apart_s:.2f} s from the image ({TOLERANCE_S} s are allowed): "
                "check its rate and its clock"
            )
        return nearest


def mode_refusal(mode: str, model: str, claim: ScaleClaim) -> str | None:
    """Why a model's depth cannot be aligned in this way, and what to do; None where it can."""
    if mode == "scale" and claim.inverse:
        return f"align cannot be scale: {model} is {claim}, and no scale makes metres of that: set align to scale-shift"
    return None


def _apart_s(message: Image | PointCloud2, stamp_ns: int) -> float:
    return 1e-9 * abs(_stamp_ns(message.header) - stamp_ns)


def _stamp_ns(header: Header) -> int:
    return 1_000_000_000 * int(header.stamp.sec) + int(header.stamp.nanosec)
