"""How much memory the process holds, and giving back what it does not need."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

import torch

from depth_retrofit_ros.device.buffers import release_buffers

_MB = 1 << 20


def resident_mb() -> float:
    """Physical memory of this process [MB]; NaN where the system does not tell (not Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE") / _MB


def device_mb(device: torch.device) -> float | None:
    """Memory [MB] that PyTorch has reserved on a CUDA ``device``; None for any other."""
    return torch.cuda.memory_reserved(device) / _MB if device.type == "cuda" else None


def release_memory() -> None:
    """Give freed memory back to the system, of the host and of CUDA devices; ``transport`` tells the allocator to keep it."""
    gc.collect()
    release_buffers()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc
        trim(0)
