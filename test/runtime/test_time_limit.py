import threading

import pytest

from depth_retrofit_ros.runtime.time_limit import TookTooLong, run_within
from test.waiting import PATIENCE_S


def nothing(seconds: float) -> None:
    pass


def test_what_the_work_returns_or_raises_is_ours() -> None:
    assert run_within(PATIENCE_S, lambda: 7, name="work", every_s=1.0, meanwhile=nothing) == 7
    error = OSError("no disk")

    def broken() -> None:
        raise error

    with pytest.raises(OSError) as raised:
        run_within(PATIENCE_S, broken, name="work", every_s=1.0, meanwhile=nothing)
    assert raised.value is error


def test_a_library_that_means_to_end_the_process_ends_no_thread_unseen() -> None:
    def leaves() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        run_within(PATIENCE_S, leaves, name="work", every_s=1.0, meanwhile=nothing)


def test_meanwhile_the_caller_s_thread_has_the_word() -> None:
    go, told = threading.Event(), list[tuple[threading.Thread, float]]()

    def meanwhile(seconds: float) -> None:
        told.append((threading.current_thread(), seconds))
        if len(told) == 3:
            go.set()

    assert run_within(PATIENCE_S, lambda: go.wait(PATIENCE_S), name="work", every_s=0.001, meanwhile=meanwhile)
    assert len(told) >= 3 and {thread for thread, _ in told} == {threading.current_thread()}
    assert all(0 < seconds < PATIENCE_S for _, seconds in told)


def test_work_that_does_not_end_is_left_to_itself() -> None:
    go = threading.Event()
    with pytest.raises(TookTooLong, match=r"^loading did not end within 0.01 s and is given up: [^\n]*$"):
        run_within(0.01, lambda: go.wait(PATIENCE_S), name="loading", every_s=1.0, meanwhile=nothing)
    go.set()
