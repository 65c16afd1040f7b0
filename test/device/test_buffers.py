"""Memory comes back when its last user is gone, never earlier, and does not pile up."""

from __future__ import annotations

import threading

import pytest
import torch

from depth_retrofit_ros.device.buffers import BufferPool, release_buffers


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.int64, torch.uint8, torch.bool])
@pytest.mark.parametrize("shape", [(3, 5), (0, 4), (7,), (1000, 333)])
def test_tensors_as_asked_for(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    tensor = BufferPool().empty(shape, dtype)
    assert tuple(tensor.shape) == shape and tensor.dtype == dtype and tensor.is_contiguous()
    assert tensor.numel() == 0 or tensor.data_ptr() % 64 == 0
    tensor.zero_()


def test_freed_memory_is_used_again() -> None:
    pool = BufferPool()
    first = pool.empty((1000, 16))
    address = first.data_ptr()
    del first
    assert pool.empty((1000, 16)).data_ptr() == address
    assert pool.empty((990, 16)).data_ptr() == address  # nearly the same size


@pytest.mark.parametrize("hold", [lambda t: t[5:], lambda t: t.numpy(), lambda t: t.t(), lambda t: t.untyped_storage()])
def test_any_reference_holds_it(hold: object) -> None:
    pool = BufferPool()
    tensor = pool.empty((100, 16))
    address = tensor.data_ptr()
    held = hold(tensor)  # type: ignore[operator]
    del tensor
    assert pool.empty((100, 16)).data_ptr() != address
    del held
    assert address in {pool.empty((100, 16)).data_ptr(), pool.empty((100, 16)).data_ptr()}


def test_what_a_whole_frame_did_not_need_is_returned() -> None:
    pool = BufferPool()
    for rows in (1000, 60_000, 500):
        pool.sweep()
        tensors = [pool.empty((rows, 16)) for _ in range(3)]
        del tensors
    assert pool.reserved_bytes > 3 * 60_500 * 64  # still there: the frame before the last sweep needed it
    kept = pool.empty((500, 16))
    pool.sweep()
    pool.sweep()
    assert kept.nbytes <= pool.reserved_bytes < 2.2 * kept.nbytes


def test_frames_of_one_kind_need_no_new_memory() -> None:
    pool, sizes = BufferPool(), set()
    for frame in range(6):
        pool.sweep()
        tensors = [pool.empty((rows + 3 * frame, 16)) for rows in (1000, 1000, 300, 5000)]
        tensors.append(pool.empty((2000,), torch.int64))
        sizes.add(pool.reserved_bytes)
        del tensors
    assert len(sizes) == 1


def test_released_is_all_that_nobody_holds() -> None:
    pool = BufferPool()
    kept = pool.empty((1000, 16))
    pool.empty((5000, 16))
    release_buffers()
    assert kept.nbytes <= pool.reserved_bytes < 1.1 * kept.nbytes
    del kept
    release_buffers()
    assert pool.reserved_bytes == 0


def test_many_threads() -> None:
    pool, failures = BufferPool(), []

    def use(number: int) -> None:
        for _ in range(200):
            tensor = pool.empty((500,), torch.int32).fill_(number)
            if not bool((tensor == number).all()):
                failures.append(number)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
