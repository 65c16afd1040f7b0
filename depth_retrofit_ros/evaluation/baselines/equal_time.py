"""The baseline that needs no new method: the same coarse model, run at the highest resolution that takes no longer."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeGuard

import numpy as np
import torch

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.far_limit import limit_far
from depth_retrofit_ros.coarse.input_size import InputSize, long_side
from depth_retrofit_ros.evaluation.baselines.upsampling import bilinear
from depth_retrofit_ros.frame import Frame

STEP_PX = 32


class ResizableModel(CoarseModel, Protocol):
    """A coarse model whose input size can be chosen, between frames too."""

    size: InputSize


def is_resizable(model: CoarseModel) -> TypeGuard[ResizableModel]:
    """Whether the model's input size can be chosen."""
    size = getattr(model, "size", None)
    return isinstance(size, InputSize) and size.rule != "exact"


def predict_at(model: ResizableModel, side: int, frame: Frame) -> np.ndarray:
    """The model's depth at this long side [px], upsampled bilinearly: ``float32 [H, W]``. The model is left as it was."""
    with _resolution(model, side), torch.inference_mode():
        coarse = limit_far(model.predict(torch.from_numpy(frame.image).to(model.device), frame.camera), model.claim)
        return bilinear(frame.image, coarse.depth)


def highest_resolution(model: ResizableModel, frame: Frame, limit_ms: float) -> int:
    """The largest long side [px], in steps of 32 up to the frame's own, at which ``predict_at`` takes at most ``limit_ms``.

    A bisection whose next size is guessed from the last time, as if time grew with the number of pixels. A size is fast enough if
    one of two runs is. The model's usual size where none above it is fast enough.
    """
    usual = size = max(model.size.of(*frame.image.shape[:2]))
    fits, too_large = 0, max(0, max(frame.image.shape[:2]) - usual) // STEP_PX + 1
    ms = best_ms(model, size, frame, limit_ms)
    while too_large - fits > 1:
        guess = int((size * math.sqrt(limit_ms / ms) - usual) // STEP_PX)
        steps = min(max(guess, fits + 1), too_large - 1)
        size = usual + steps * STEP_PX
        ms = best_ms(model, size, frame, limit_ms)
        if ms <= limit_ms:
            fits = steps
        else:
            too_large = steps
    return usual + fits * STEP_PX


def best_ms(model: ResizableModel, side: int, frame: Frame, limit_ms: float) -> float:
    """Wall time [ms] of ``predict_at``; a run that takes longer than the limit gets a second chance, and the faster one counts."""
    best = math.inf
    for _ in range(2):
        start = time.perf_counter()
        predict_at(model, side, frame)
        best = min(best, 1e3 * (time.perf_counter() - start))
        if best <= limit_ms:
            break
    return best


@contextmanager
def _resolution(model: ResizableModel, side: int) -> Iterator[None]:
    usual = model.size
    model.size = long_side(side, usual.multiple)
    try:
        yield
    finally:
        model.size = usual
