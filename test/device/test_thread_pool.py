"""Threads that take work by themselves."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from depth_retrofit_ros.device.thread_pool import ThreadPool
from test.waiting import PATIENCE_S


@pytest.fixture(autouse=True)
def restore_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_as_many_threads_as_torch_uses(size: int) -> None:
    torch.set_num_threads(size)
    together = threading.Barrier(size, timeout=PATIENCE_S)
    ThreadPool().run(together.wait)  # passes only when all threads are there at once


def test_follows_a_change_of_torchs_threads() -> None:
    pool = ThreadPool()
    for size in (3, 1, 2):
        torch.set_num_threads(size)
        pool.run(threading.Barrier(size, timeout=PATIENCE_S).wait)


def test_returns_only_when_all_are_done() -> None:
    torch.set_num_threads(3)
    together, begun, ended = threading.Barrier(3, timeout=PATIENCE_S), threading.Event(), []

    def work() -> None:
        together.wait()
        if threading.current_thread() is not threading.main_thread():
            begun.wait(PATIENCE_S)
            ended.append(1)
        else:
            begun.set()

    ThreadPool().run(work)
    assert ended == [1, 1]


def test_nobody_waits_for_a_thread_that_has_not_begun() -> None:
    torch.set_num_threads(2)
    pool, occupied, release = ThreadPool(), threading.Event(), threading.Event()
    pool.run(lambda: None)
    assert pool._helpers is not None

    def occupy() -> None:
        occupied.set()
        release.wait(PATIENCE_S)

    busy = pool._helpers.submit(occupy)
    occupied.wait(PATIENCE_S)
    calls = []
    pool.run(lambda: calls.append(threading.current_thread()))
    assert calls == [threading.main_thread()] and not busy.done()
    release.set()


def test_an_error_in_a_helper_is_raised() -> None:
    torch.set_num_threads(2)
    together = threading.Barrier(2, timeout=PATIENCE_S)

    def work() -> None:
        together.wait()
        if threading.current_thread() is not threading.main_thread():
            raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        ThreadPool().run(work)
