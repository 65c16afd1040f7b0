"""Two halves of the method side by side on a GPU, and stage times that do not stop it. On a CPU the same calls do nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

RING = 2  # of each kind in flight: one is copied while another is computed, or read


class CudaStream:
    """A CUDA stream of its own for one half of the method; on a CPU, the calling thread.

    first: what is enqueued here goes before what other streams have, wherever both wait for a processor.
    """

    def __init__(self, device: torch.device, first: bool = False) -> None:
        self._stream = torch.cuda.Stream(device, priority=-1 if first else 0) if device.type == "cuda" else None
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(device))  # where the weights are made

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """What is computed within runs on this stream."""
        with torch.cuda.stream(self._stream):  # of None: no change
            yield

    def record(self) -> torch.cuda.Event | None:
        """An event at the end of what was enqueued so far; None on a CPU, where it is done already."""
        return None if self._stream is None else self._stream.record_event(torch.cuda.Event())

    def wait(self, event: torch.cuda.Event | None, *tensors: torch.Tensor) -> None:
        """Begin nothing new before ``event`` of another stream; ``tensors``, made there, are used here."""
        if self._stream is None or event is None:
            return
        self._stream.wait_event(event)
        for tensor in tensors:
            tensor.record_stream(self._stream)  # so that their memory is not given away while this stream needs it

    def synchronize(self) -> None:
        """Until all that was enqueued is done."""
        if self._stream is not None:
            self._stream.synchronize()


class PinnedRing:
    """Pinned buffers of one shape and type, used in turn, each with the event that ends its last copy."""

    def __init__(self) -> None:
        self._slots: list[tuple[torch.Tensor, torch.cuda.Event]] = []
        self._next = 0

    def next(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.cuda.Event]:
        """The one used longest ago; all are made anew where shape or type are others."""
        if not self._slots or (self._slots[0][0].shape, self._slots[0][0].dtype) != (like.shape, like.dtype):
            self._slots = [self._made(like) for _ in range(RING)]
        slot = self._slots[self._next]
        self._next = (self._next + 1) % RING
        return slot

    def _made(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.cuda.Event]:
        return torch.empty(like.shape, dtype=like.dtype, pin_memory=True), torch.cuda.Event()


class Upload:
    """Arrays of one kind to the device: on CUDA through a ring of pinned buffers, made once per shape, without waiting for the
    copy."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._ring = PinnedRing()

    def __call__(self, array: np.ndarray) -> torch.Tensor:
        """The array on the device; on a CPU a view of it wherever that is possible."""
        source = torch.from_numpy(np.require(array, requirements=["C", "W"]))
        if self._device.type == "meta":  # stands for CUDA's
            return torch.empty(source.shape, dtype=source.dtype, device=self._device)
        if self._device.type != "cuda":
            return source
        pinned, copied = self._ring.next(source)
        copied.synchronize()  # its last copy, RING arrays ago
        pinned.copy_(source)
        uploaded = pinned.to(self._device, non_blocking=True)
        copied.record()
        return uploaded


@dataclass(frozen=True, slots=True)
class Fetched:
    """A tensor on its way to the host. arrived: when it is there; None where it is there already."""

    tensor: torch.Tensor
    arrived: torch.cuda.Event | None = None

    def values(self) -> np.ndarray:
        """Waits until it is there."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.tensor.numpy()


class Download:
    """Tensors of one kind to the host, the way back of ``Upload``: several may be on their way at once, and only ``Fetched.values``
    waits. The values are there until the ring comes round, ``RING`` calls later: take what is to stay."""

    def __init__(self, device: torch.device) -> None:
        self._on_cuda = device.type == "cuda"
        self._ring = PinnedRing()

    def __call__(self, tensor: torch.Tensor) -> Fetched:
        """Enqueue the copy on the current stream. On a CPU the values are the tensor's own."""
        if not self._on_cuda:
            return Fetched(tensor)
        pinned, arrived = self._ring.next(tensor)
        pinned.copy_(tensor, non_blocking=True)
        arrived.record()
        return Fetched(pinned, arrived)


class StageTimer:
    """Time of named stages [ms]: of the wall on a CPU, of the device on CUDA, where measuring does not wait for it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._spans: dict[str, tuple[float, float]] = {}
        self._events: dict[str, tuple[torch.cuda.Event, torch.cuda.Event]] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        if self._device.type == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            yield
            end.record()
            self._events[name] = begin, end
        else:
            start_s = time.perf_counter()
            yield
            self._spans[name] = start_s, time.perf_counter()

    def times_ms(self) -> dict[str, float]:
        """Of the stages that ended; on CUDA to be called when their stream was synchronized."""
        if self._device.type == "cuda":
            return {name: begin.elapsed_time(end) for name, (begin, end) in self._events.items()}
        return {name: 1e3 * (end_s - start_s) for name, (start_s, end_s) in self._spans.items()}
