"""Launches of Triton kernels, in one place: on the device of their tensors, and seen by who counts them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of a kernel: what ``launch`` was given."""

    kernel: Any
    arguments: tuple[Any, ...]
    constants: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the kernel, autotuned or not."""
        return str(plain(self.kernel).__name__)

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """Those among the arguments."""
        return tuple(argument for argument in self.arguments if isinstance(argument, torch.Tensor))


Observer = Callable[[Launch], None]
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
    observer = _OBSERVER.get()
    if observer is not None:
        observer(Launch(kernel, arguments, constants))
    first = next(argument for argument in arguments if isinstance(argument, torch.Tensor))
    if first.is_meta:
        return
    with torch.cuda.device_of(first):
        kernel[grid](*arguments, **constants)


def plain(kernel: Any) -> Any:
    """The function compiled by Triton, of a kernel that may be autotuned."""
    return kernel.fn if hasattr(kernel, "configs") else kernel


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Tell ``observer`` of each kernel that is launched within."""
    token = _OBSERVER.set(observer)
    try:
        yield
    finally:
        _OBSERVER.reset(token)
