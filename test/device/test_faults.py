import pytest

from depth_retrofit_ros.device.faults import chain, is_device_fault, is_out_of_memory
from depth_retrofit_ros.errors import ImageError

LOST = [
    "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be asynchronously reported",
    "CUDA error: device-side assert triggered",
    "CUDA error: unspecified launch failure",
    "CUDA error: uncorrectable ECC error encountered",
    "CUDA error: the launch timed out and was terminated",
    "CUDA error: misaligned address",
    "CUDA error: an illegal instruction was encountered",
    "CUDA error: hardware stack error",
    "CUDA error: invalid program counter",
    "CUDA error: unknown error",
    "Triton Error [CUDA]: an illegal memory access was encountered",
    "CUDA failure 719: unspecified launch failure ; GPU=0",
    "CUDA failure 999: unknown error ; GPU=0",
    "Triton Error [CUDA]: unknown error",
    "CUDA error: Invalid access of peer GPU memory over nvlink or a hardware error",
    "CUDA error: MPS client failed to connect to the MPS control daemon or the MPS server",
]
ALIVE = [
    "CUDA out of memory. Tried to allocate 2.00 GiB",
    "CUDA error: out of memory",
    "CUDA error: invalid argument",
    "CUDA error: no kernel image is available for execution on the device",
    "mat1 and mat2 shapes cannot be multiplied",
    "unknown error",
    "misaligned address",  # of whatever else
]


@pytest.mark.parametrize("text", LOST)
def test_an_error_that_stays_in_the_cuda_context_is_a_fault_and_not_short_memory(text: str) -> None:
    assert is_device_fault(RuntimeError(text))
    assert not is_out_of_memory(RuntimeError(text))


@pytest.mark.parametrize("text", ALIVE)
def test_what_the_next_frame_can_survive_is_none(text: str) -> None:
    assert not is_device_fault(RuntimeError(text))


def test_the_cause_counts_and_a_stranger_s_words_do_not() -> None:
    try:
        try:
            raise RuntimeError(LOST[0])
        except RuntimeError as error:
            raise ValueError("refinement failed") from error
    except ValueError as error:
        assert is_device_fault(error)
    assert not is_device_fault(ImageError(f"image encoding '{LOST[1]}' is not known"))


def test_a_circle_of_causes_is_gone_round_once() -> None:
    first, second = RuntimeError("one"), RuntimeError("two")
    first.__cause__, second.__context__ = second, first
    assert list(chain(first)) == [first, second]
    assert not is_device_fault(first) and not is_out_of_memory(first)
    alone = RuntimeError("itself")
    alone.__context__ = alone
    assert list(chain(alone)) == [alone] and not is_out_of_memory(alone)
    second.__context__, third = first, RuntimeError(LOST[0])
    first.__cause__, first.__context__ = None, third
    assert is_device_fault(second)
