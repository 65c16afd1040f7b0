"""Launches of Triton kernels, in one place: on the device of their tensors, and seen by who counts them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any

import torch

Observer = Callable[[str, tuple[torch.Tensor, ...]], None]
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # NumPy executes the kernels, on CPU tensors
_OBSERVER: ContextVar[Observer | None] = ContextVar("observer", default=None)


def has_kernels(device: torch.device) -> bool:
    """Whether Triton's kernels compute on this device: where Triton is installed, on CUDA; on ``meta``, which stands for it; and on
    a CPU where its interpreter was asked for."""
    return (device.type in ("cuda", "meta") or (INTERPRETED and device.type == "cpu")) and _installed()


@functools.cache
def _installed() -> bool:
    return find_spec("triton") is not None


def launch(kernel: Any, grid: Any, *arguments: Any, **constants: Any) -> None:
    """``kernel[grid](*arguments, **constants)`` on the device of the first tensor. On tensors without content (``meta``) nothing
    runs: the observer is told alone."""
    tensors = tuple(argument for argument in arguments if isinstance(argument, torch.Tensor))
    observer = _OBSERVER.get()
    if observer is not None:
        observer(name_of(kernel), tensors)
    if tensors[0].is_meta:
        return
    with torch.cuda.device_of(tensors[0]):
        kernel[grid](*arguments, **constants)


def name_of(kernel: Any) -> str:
    """Of a kernel, autotuned or not."""
    while hasattr(kernel, "fn"):
        kernel = kernel.fn
    return str(kernel.__name__)


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Tell ``observer`` the name and the tensors of each kernel that is launched within."""
    token = _OBSERVER.set(observer)
    try:
        yield
    finally:
        _OBSERVER.reset(token)
