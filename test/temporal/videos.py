"""Small videos with a coarse model that answers as told to each stamp."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import cv2
import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.temporal.steadiness import Steadiness
from test.refinement.nets import random_refiner, two_planes

SIZE, LOW = (144, 192), (48, 64)
CAMERA = Camera.from_hfov(SIZE[1], SIZE[0], 70.0)
STEP_NS = 100_000_000
SURE = ScaleClaim("metric", "camera")


class Script:
    """Answers ``tell(stamp_ns)``, whatever it sees."""

    name = "script"
    device = torch.device("cpu")

    def __init__(self, tell: Callable[[int | None], CoarsePrediction], claim: ScaleClaim = SURE) -> None:
        self.tell, self.claim = tell, claim

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel.predict``."""
        return self.tell(hints.stamp_ns)


def picture(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Soft blobs ``uint8 [H, W, 3]``, which a flow can follow."""
    noise = np.random.default_rng(seed).standard_normal((*size, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 6)
    return np.clip(128 + 45 * blurred / blurred.std(), 0, 255).astype(np.uint8)


def noisy(image: np.ndarray, seed: int) -> np.ndarray:
    """As a camera gives it."""
    return np.clip(image + np.random.default_rng(seed).integers(-3, 4, image.shape), 0, 255).astype(np.uint8)


def shot(image: np.ndarray, number: int, **changes: object) -> Frame:
    """One frame of ten a second."""
    return replace(Frame(image, (number + 1) * STEP_NS, "camera", CAMERA), **changes)  # type: ignore[arg-type]


def planes(factor: float = 1.0, noise: float = 0.0, seed: int = 0) -> CoarsePrediction:
    """``two_planes`` times a factor, each cell a little off."""
    told = two_planes(*LOW)
    off = noise * np.random.default_rng(seed).standard_normal(LOW)
    return replace(told, depth=told.depth * torch.from_numpy(factor * np.exp(off)).float())


def jittering(scale: float = 0.05, noise: float = 0.0, claim: ScaleClaim = SURE) -> Script:
    """Its scale is another one in every frame."""

    def tell(stamp_ns: int | None) -> CoarsePrediction:
        number = (stamp_ns or 0) // STEP_NS
        return planes(float(np.exp(np.random.default_rng((number, 9)).normal(0, scale))), noise, number)

    return Script(tell, claim)


def answers(frames: Iterable[Frame], coarse: Script, temporal: Steadiness | None, budget: float = 0.1) -> list[DepthFrame]:
    """Of all frames, in order."""
    retrofit = Retrofit(coarse, random_refiner(), budget, temporal=temporal)
    return [replace(made, depth=made.depth.clone()) for made in map(retrofit, frames)]
