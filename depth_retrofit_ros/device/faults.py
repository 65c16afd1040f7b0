"""Which errors of a CUDA device end its use by this process for good, and which tell that memory ran out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

from depth_retrofit_ros.errors import DepthRetrofitError, ImageError

# CUDA's own words (cudaGetErrorString) for the errors after which, as its documentation says, "the process must be terminated and
# relaunched", and for those of a device that has left the bus. PyTorch, Triton, ONNX Runtime and TensorRT all quote them. Running
# out of memory is not among them.
FATAL = (
    "an illegal memory access was encountered",
    "device-side assert triggered",
    "unspecified launch failure",
    "an illegal instruction was encountered",
    "misaligned address",
    "operation not supported on global/shared address space",
    "invalid program counter",
    "hardware stack error",
    "the launch timed out and was terminated",
    "uncorrectable ecc error encountered",
    "uncorrectable nvlink error detected",
    "invalid access of peer gpu memory over nvlink",
    "mps client failed to connect",
    "invalidated by contained fault",
    "context is destroyed",
    "no cuda-capable device is detected",
    "unknown error",
    "device lost",
    "gpu is lost",
)


def is_device_fault(error: BaseException | None) -> bool:
    """Whether no later CUDA call of this process can succeed: such an error stays in the CUDA context until the process ends.

    Looked for in ``error`` and in what it was raised from; not in our own errors, which quote what strangers write into messages.
    """
    texts = (str(link).lower() for link in chain(error) if not isinstance(link, DepthRetrofitError))
    # The MPS control daemon is CUDA's own, and its words name no other.
    named = (text for text in texts if any(word in text for word in ("cuda", "gpu", "mps client")))
    return any(words in text for text in named for words in FATAL)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from, or while; each once, because nothing keeps such a chain from being a circle."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's and NumPy's, OpenCV's, or PyTorch's on any device."""
    # The capture of a CUDA graph that memory ran out in ends with an error of its own, raised while the first one is handled.
    return any(map(_tells_of_short_memory, chain(error)))


def _tells_of_short_memory(error: BaseException) -> bool:
    torch = sys.modules.get("torch")  # where it is not loaded, it raised nothing; a viewer need not load it to find out
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.cuda.OutOfMemoryError)):
        return True
    if isinstance(error, cv2.error):
        return bool(error.code == cv2.Error.StsNoMem)
    # PyTorch's allocator for the CPU, and CUDA libraries beside its own allocator, raise a plain RuntimeError.
    words = ("can't allocate memory", "out of memory", "alloc_failed")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


@contextmanager
def fitting_into_memory(what: str, remedy: str) -> Iterator[None]:
    """Work on one image of many. Raises ImageError where memory runs out."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise ImageError(f"{what} does not fit into memory: {remedy}") from error
