"""The two records that everything passes on: ``Frame`` goes in, ``DepthFrame`` comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import CameraError, ImageError
from depth_retrofit_ros.lens import Optics
from depth_retrofit_ros.sparse.pixel_set import PixelSet

ScaleSource = Literal["model", "user", "sensor", "file"]
"""On whose word depth is in metres: a model for any camera, the user who trusts one, a sensor's sparse depth, a stored map."""


class SparseDepth(NamedTuple):
    """Known depths: pixels ``int64 [N]``, flat indices into the camera image; depth ``float64 [N]`` m along the optical axis."""

    pixels: np.ndarray
    depth: np.ndarray


@dataclass(frozen=True, slots=True)
class Frame:
    """One camera image, rectified unless ``optics`` is a ``RayTable``.

    image: ``uint8 [H, W, 3]`` RGB; stamp_ns: acquisition time [ns] of the source's clock, None for an image that stands alone;
    frame_id: the optical frame (REP-103); camera: its intrinsics at exactly [H, W], or None when unknown; sparse: what a sensor
    knows of its depth, for models that take it. optics: how the image was rectified, or which rays its pixels see; None of an image
    that came rectified. What its lens does not see has no depth.
    """

    image: np.ndarray
    stamp_ns: int | None = None
    frame_id: str = ""
    camera: Camera | None = None
    sparse: SparseDepth | None = None
    optics: Optics | None = None

    def __post_init__(self) -> None:
        image = self.image
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ImageError(f"a frame needs a non-empty uint8 [H, W, 3] RGB image, not {image.dtype} {list(image.shape)}")
        if self.camera is not None and (self.camera.height, self.camera.width) != image.shape[:2]:
            raise CameraError(
                f"camera is {self.camera.width}x{self.camera.height} but the image is {image.shape[1]}x{image.shape[0]}: "
                "resize the camera with Camera.resized"
            )


ENTROPY_STEP, GATE_STEP = 1 / 64, 1 / 255  # up to 4 nats, of which the choice between 25 surfaces has 3.2


class SettledChoices(NamedTuple):
    """Pixels whose depth is that of earlier frames' refinements: settled ``uint8 [H, W]``, not 0 at these and at those that were
    refined now; entropy, gate ``uint8 [H, W]``: of the last choice at each, in ``ENTROPY_STEP`` nats and ``GATE_STEP``."""

    settled: torch.Tensor
    entropy: torch.Tensor
    gate: torch.Tensor


@dataclass(frozen=True, slots=True)
class DepthFrame:
    """The answer to one ``Frame``.

    depth: ``float32 [H, W]``, along the optical axis, NaN where unknown; metres if and only if ``metric``.
    scale_source: on whose word it is in metres; None where it is relative, up to an unknown scale.
    base: ``float32 [H, W]``, the upsampled coarse depth that was refined; coarse: ``float32 [h, w]``, the coarse model's answer
    up to its far limit.
    selection: the pixels that were chosen to be refined. gate: ``float32 [K]`` in 0…1, the weight that the coarse value kept at
    each of them: 1 where a refiner of tiles did not look.
    times_ms: time of each stage, in order (``coarse``, ``upsample``, ``select``, ``refine``, ``fuse``). image: the frame's image on
    the device, where there is need of it. normals: ``float32 [3, h, w]``, those that the coarse model gave, of a model that does;
    ``pointcloud.normals.surface_normals`` makes those of the frame. sky: ``bool [h, w]``, where the coarse model says that there is
    no surface, of a model that does; ``pointcloud.surfaces.surface_depth`` leaves that out. refined_normals: ``float32 [3, K]``, at
    the refined pixels, of a refiner that gives some and a frame with a camera, 0 where it did not look; see ``surface_normals``.
    score: ``float32 [h, w]``, the uncertainty on the coarse grid. choice_entropy: ``float32 [K]``, nats, of the choice between
    surfaces at each refined pixel, of a refiner that chooses; model: the coarse model's name.
    ``confidence.estimate.confidence_of`` is made of these.
    temporal_scale: the factor on the model's own scale by which it is held steady over time; 1 where it is the model's own.
    settled: pixels that keep what earlier frames refined them to, of a method that remembers and a refiner that chooses.
    """

    depth: torch.Tensor
    base: torch.Tensor
    coarse: torch.Tensor
    scale_source: ScaleSource | None
    selection: PixelSet
    gate: torch.Tensor
    stamp_ns: int | None = None
    frame_id: str = ""
    camera: Camera | None = None
    times_ms: dict[str, float] = field(default_factory=dict)
    image: torch.Tensor | None = None
    normals: torch.Tensor | None = None
    sky: torch.Tensor | None = None
    refined_normals: torch.Tensor | None = None
    score: torch.Tensor | None = None
    choice_entropy: torch.Tensor | None = None
    model: str = ""
    temporal_scale: float = 1.0
    settled: SettledChoices | None = None

    @property
    def metric(self) -> bool:
        """Whether depth is in metres."""
        return self.scale_source is not None

    @property
    def refined_pixels(self) -> int:
        """Number of pixels that the refiner was asked for (K)."""
        return self.selection.count
