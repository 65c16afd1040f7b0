"""Which errors of a CUDA device end its use by this process for good."""

from __future__ import annotations

from depth_retrofit_ros.errors import DepthRetrofitError

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
    "invalidated by contained fault",
    "context is destroyed",
    "no cuda-capable device is detected",
    "cuda error: unknown error",
    "device lost",
    "gpu is lost",
)


def is_device_fault(error: BaseException | None) -> bool:
    """Whether no later CUDA call of this process can succeed: such an error stays in the CUDA context until the process ends.

    Looked for in ``error`` and in what it was raised from; not in our own errors, which quote what strangers write into messages.
    """
    while error is not None:
        text = "" if isinstance(error, DepthRetrofitError) else str(error).lower()
        if ("cuda" in text or "gpu" in text) and any(words in text for words in FATAL):
            return True
        error = error.__cause__ or error.__context__
    return False
