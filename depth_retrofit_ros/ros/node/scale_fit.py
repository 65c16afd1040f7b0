"""Depth into metres by sparse depth, and what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.device.cuda_streams import Download, Upload
from depth_retrofit_ros.errors import SparseDepthError
from depth_retrofit_ros.frame import DepthFrame, Frame, SparseDepth
from depth_retrofit_ros.lens import Optics
from depth_retrofit_ros.scale.fit import Correction, Fit, Mode, ScaleTracker


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
    """Corrects frames, one after the other.

    claim: what the model's depth is. max_residual: see ``scale.fit``. sparse_of: what a sensor knows of a frame; raises
    SparseDepthError where that is nothing.
    """

    def __init__(self, mode: Mode, claim: ScaleClaim, max_residual: float, sparse_of: Callable[[Frame], SparseDepth]) -> None:
        self._inverse = claim.inverse
        self._sparse_of = sparse_of
        self._tracker = ScaleTracker(mode, max_residual)
        self._view: tuple[Camera | None, Optics | None, str, bool] | None = None
        self._device = torch.device("cpu")  # of the depths so far
        self._upload, self._download = Upload(self._device), Download(self._device)

    def align(self, result: DepthFrame, frame: Frame) -> tuple[DepthFrame, ScaleReport]:
        """The frame in metres where there is a correction, and relative where the sensor contradicts the model, whoever vouches for
        that; where sparse depth is merely missing, the frame as it is. Raises ValueError for a frame without a stamp."""
        if frame.stamp_ns is None:
            raise ValueError("depth is aligned from frame to frame: give the frame its stamp")
        # Rectified or not is another picture to the model; and a prompted model's depth is on another scale.
        view = (frame.camera, frame.optics, frame.frame_id, result.scale_source == "sensor")
        if view != self._view:  # to which the last correction does not belong
            self._tracker.reset()
            self._view = view
        try:
            sparse = self._sparse_of(frame)
        except SparseDepthError as error:
            self._tracker.miss(frame.stamp_ns, self._inverse, str(error))
        else:
            self._tracker.update(frame.stamp_ns, self._at(result.depth, sparse.pixels), sparse.depth, self._inverse)
        correction = self._tracker.correction
        report = ScaleReport(correction, self._tracker.last_fit, self._tracker.residual, self._tracker.problem)
        if correction is None:
            return dataclasses.replace(result, scale_source=None) if self._tracker.disagree else result, report
        depth, base, coarse = (correction.apply(values) for values in (result.depth, result.base, result.coarse))
        return dataclasses.replace(result, depth=depth, base=base, coarse=coarse, scale_source="sensor"), report

    def _at(self, depth: torch.Tensor, pixels: np.ndarray) -> np.ndarray:
        """Depth ``[N]`` at these pixels, flat indices, until the next call; by way of pinned memory from a device."""
        if self._device != depth.device:
            self._device, self._upload, self._download = depth.device, Upload(depth.device), Download(depth.device)
        return self._download(depth.flatten()[self._upload(pixels)]).values()


def mode_refusal(mode: str, model: str, claim: ScaleClaim, views: int = 1) -> str | None:
    """Why a model's depth cannot be aligned in this way, and what to do; None where it can. views: seen at once."""
    if mode == "scale-shift" and views > 1:
        return f"align cannot be scale-shift with {views} views, whose poses have a scale and no shift: set align to scale"
    if mode == "scale" and claim.inverse:
        return f"align cannot be scale: {model} is {claim}, and no scale makes metres of that: set align to scale-shift"
    return None
