from __future__ import annotations

import weakref

import cv2
import numpy as np
import pytest
import torch

from depth_retrofit_ros.device.faults import is_out_of_memory
from depth_retrofit_ros.runtime.memory_guard import PATIENCE_S, SMALLEST, MemoryGuard


class Device:
    """Holds ``room`` (a budget) of work; beyond it memory runs out."""

    def __init__(self, room: float) -> None:
        self.room = room
        self.tried: list[float] = []

    def __call__(self, budget: float) -> float:
        self.tried.append(budget)
        if budget > self.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return budget


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_while_memory_suffices_the_budget_is_what_is_asked_for() -> None:
    guard, device = MemoryGuard(), Device(1.0)
    assert [guard.run(budget, device) for budget in (0.1, 0.4, 0.0)] == [0.1, 0.4, 0.0]
    assert guard.limit == float("inf")


def test_it_halves_until_it_fits_and_stays_there() -> None:
    guard, device = MemoryGuard(Clock()), Device(0.03)
    assert guard.run(0.2, device) == 0.025
    assert device.tried == [0.2, 0.1, 0.05, 0.025]
    device.tried.clear()
    assert guard.run(0.2, device) == 0.025 and device.tried == [0.025], "no frame pays for what is known to fail"


def test_then_it_is_coarse_only_and_then_the_error() -> None:
    guard, device = MemoryGuard(Clock()), Device(0.0)
    assert guard.run(0.1, device) == 0.0
    assert min(share for share in device.tried if share) >= SMALLEST
    device.room = -1.0
    with pytest.raises(torch.cuda.OutOfMemoryError):
        guard.run(0.1, device)
    device.room = 0.0
    assert guard.run(0.1, device) == 0.0, "the next frame has its chance"


def test_it_rises_again_step_by_step() -> None:
    clock, device = Clock(), Device(0.03)
    guard = MemoryGuard(clock)
    guard.run(0.1, device)
    device.room = 1.0
    answers = []
    for _ in range(5):
        clock.now_s += PATIENCE_S
        answers.append(guard.run(0.1, device))
    assert answers == [0.05, 0.1, 0.1, 0.1, 0.1]
    assert guard.limit == float("inf")


def test_from_coarse_only_it_rises_too() -> None:
    clock, device = Clock(), Device(0.0)
    guard = MemoryGuard(clock)
    guard.run(0.1, device)
    device.room = 1.0
    for _ in range(8):
        clock.now_s += PATIENCE_S
        last = guard.run(0.1, device)
    assert last == 0.1


def test_attempts_that_prove_too_much_become_rarer() -> None:
    clock, device = Clock(), Device(0.06)
    guard = MemoryGuard(clock)
    guard.run(0.1, device)
    device.tried.clear()
    for _ in range(60):
        clock.now_s += PATIENCE_S
        assert guard.run(0.1, device) == 0.05
    assert device.tried.count(0.1) == 5  # after 1, 2, 4, 8, 16 and not yet 32 more times the patience


@pytest.mark.parametrize(("first", "expected"), [(torch.cuda.OutOfMemoryError("no memory"), True), (ValueError("shape"), False)])
def test_an_error_raised_while_another_is_handled_is_of_the_first_one_s_kind(first: Exception, expected: bool) -> None:
    class Capture:
        def __enter__(self) -> None: ...
        def __exit__(self, *error: object) -> None:
            raise RuntimeError("operation failed due to a previous error during capture")

    with pytest.raises(RuntimeError, match="previous error") as raised, Capture():
        raise first
    assert is_out_of_memory(raised.value) == expected


def test_other_errors_pass_at_once() -> None:
    tried = []

    def work(budget: float) -> None:
        tried.append(budget)
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape"):
        MemoryGuard().run(0.1, work)
    assert tried == [0.1]


def test_a_failed_attempt_frees_its_memory_before_the_next() -> None:
    alive: list[weakref.ref[np.ndarray]] = []

    def work(budget: float) -> int:
        held = np.ones(1000)
        survivors = sum(reference() is not None for reference in alive)
        alive.append(weakref.ref(held))
        if len(alive) < 3:
            raise MemoryError
        return survivors

    assert MemoryGuard().run(0.1, work) == 0


def test_real_exhaustion_is_recognised() -> None:
    with pytest.raises(Exception) as of_torch:
        torch.empty(10**15)
    with pytest.raises(Exception) as of_numpy:
        np.empty(10**16, np.uint8)
    assert is_out_of_memory(of_torch.value) and is_out_of_memory(of_numpy.value)
    of_opencv = cv2.error("OpenCV(4) alloc.cpp: error: (-4:Insufficient memory) Failed to allocate")
    of_opencv.code = cv2.Error.StsNoMem
    assert is_out_of_memory(of_opencv)
    assert is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    assert not is_out_of_memory(RuntimeError("size mismatch")) and not is_out_of_memory(ValueError("out of memory"))
