"""The rival that needs no new method: the same coarse model, run at the highest resolution that takes no longer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeGuard

import numpy as np
import torch

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.evaluation.baselines import bilinear
from depth_retrofit_ros.frame import Frame

STEP_PX = 32
REPEATS = 2


class ResizableModel(CoarseModel, Protocol):
    """A coarse model whose input size can be chosen; ``long_side`` [px]."""

    long_side: int


def is_resizable(model: CoarseModel) -> TypeGuard[ResizableModel]:
    """Whether the model's input size can be chosen."""
    return hasattr(model, "long_side")


def predict_at(model: ResizableModel, long_side: int, frame: Frame) -> np.ndarray:
    """The model's depth at this input size, upsampled bilinearly: ``float32 [H, W]``. The model is left as it was."""
    with _resolution(model, long_side), torch.inference_mode():
        coarse = model.predict(torch.from_numpy(frame.image).to(model.device), frame.camera)
        return bilinear(frame.image, coarse.depth)


def highest_resolution(model: ResizableModel, frame: Frame, limit_ms: float) -> int:
    """The largest long side [px], in steps of 32 up to the frame's own, at which ``predict_at`` takes at most ``limit_ms``.

    By bisection, each size timed twice and the faster taken; the model's usual size where none above it is fast enough.
    """
    usual = model.long_side
    fits, too_large = 0, max(0, max(frame.image.shape[:2]) - usual) // STEP_PX + 1
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        size = usual + middle * STEP_PX
        if best_ms(lambda size=size: predict_at(model, size, frame)) <= limit_ms:  # type: ignore[misc]
            fits = middle
        else:
            too_large = middle
    return usual + fits * STEP_PX


def best_ms(run: Callable[[], object], repeats: int = REPEATS) -> float:
    """Wall time [ms] of the fastest of some runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


@contextmanager
def _resolution(model: ResizableModel, long_side: int) -> Iterator[None]:
    usual = model.long_side
    model.long_side = long_side
    try:
        yield
    finally:
        model.long_side = usual
