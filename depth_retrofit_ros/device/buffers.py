"""Memory that is used again: a fresh megabyte costs more in page faults than the arithmetic that fills it."""

from __future__ import annotations

import math
import threading
import weakref

import numpy as np
import torch

ALIGNMENT = 64  # bytes, a cache line
LOOSEST_FIT = 2.0
_POOLS: weakref.WeakSet[BufferPool] = weakref.WeakSet()


class BufferPool:
    """Uninitialised CPU tensors whose memory comes back to the pool when the last tensor that shares it is gone.

    Nothing is ever taken from a holder: who keeps a result keeps its memory. Usable from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # reentrant: a garbage collection within may give a buffer back
        self._free: list[np.ndarray] = []
        self._recent: set[int] = set()  # the addresses of what was given out since the last sweep
        self._reserved = 0
        _POOLS.add(self)

    @property
    def reserved_bytes(self) -> int:
        """All memory that the pool holds or has given out."""
        return self._reserved

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """A contiguous tensor with arbitrary content."""
        wanted = math.prod(shape) * dtype.itemsize
        if wanted == 0:
            return torch.empty(shape, dtype=dtype)
        block = self._take(wanted)
        lease = block[:wanted]
        weakref.finalize(lease, self._give_back, block).atexit = False
        return torch.from_numpy(lease).view(dtype).view(shape)

    def sweep(self) -> None:
        """Call once per frame: returns to the system what nobody has asked for since the last call."""
        with self._lock:
            kept = [block for block in self._free if block.ctypes.data in self._recent]
            self._reserved -= sum(block.nbytes for block in self._free) - sum(block.nbytes for block in kept)
            self._free = kept
            self._recent.clear()

    def release(self) -> None:
        """Return to the system all that is not given out."""
        with self._lock:
            self._reserved -= sum(block.nbytes for block in self._free)
            self._free = []

    def _take(self, size: int) -> np.ndarray:
        with self._lock:
            fitting = [i for i, block in enumerate(self._free) if size <= block.nbytes <= LOOSEST_FIT * size]
            if fitting:
                block = self._free.pop(min(fitting, key=lambda i: self._free[i].nbytes))
            else:
                raw = np.empty(size + size // 16 + ALIGNMENT, np.uint8)  # the next frame may need a little more
                start = -raw.ctypes.data % ALIGNMENT
                block = raw[start : start + size + size // 16]
                self._reserved += block.nbytes
            self._recent.add(block.ctypes.data)
        return block

    def _give_back(self, block: np.ndarray) -> None:
        with self._lock:
            self._free.append(block)


def release_buffers() -> None:
    """Return to the system what no pool has given out."""
    for pool in list(_POOLS):
        pool.release()
