"""What is asked of glibc's allocator, and what the user chose before."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Mapping

import pytest

from depth_retrofit_ros.ros.transport.allocator import apply_settings, keep_large_buffers

ALL = {-3: 1 << 30, -1: 2_000_000_000, -2: 64 << 20, -8: 1}  # mallopt's M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD, M_ARENA_MAX


@pytest.mark.parametrize(
    ("environ", "left_alone"),
    [
        ({}, set()),
        ({"MALLOC_ARENA_MAX": "4"}, {-8}),
        ({"MALLOC_ARENA_MAX": ""}, set()),
        ({"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "1", "MALLOC_TOP_PAD_": "0"}, {-3, -1, -2}),
        ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=2:glibc.rtld.nns=4:glibc.malloc.mmap_threshold=131072"}, {-8, -3}),
        ({"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=1:glibc.malloc.top_pad=0"}, {-1, -2}),
        ({"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}, set()),
    ],
)
def test_what_the_user_chose_stays(environ: Mapping[str, str], left_alone: set[int]) -> None:
    given: dict[int, int] = {}

    def mallopt(number: int, value: int) -> int:
        given[number] = value
        return 1

    assert apply_settings(mallopt, environ) == []
    assert given == {number: value for number, value in ALL.items() if number not in left_alone}


def test_where_a_value_is_refused_a_smaller_one_does() -> None:
    given: dict[int, int] = {}

    def mallopt(number: int, value: int) -> int:
        if number == -3 and value > 32 << 20:
            return 0
        given[number] = value
        return 1

    assert apply_settings(mallopt, {}) == []
    assert given == {**ALL, -3: 32 << 20}


def test_what_is_refused_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Other:
        """Of an allocator that knows one arena only."""

        @staticmethod
        def mallopt(number: int, value: int) -> int:
            return int(number == -8)

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Other)
    keep_large_buffers({})
    (line,) = capsys.readouterr().err.splitlines()
    assert "mmap_threshold, trim_threshold, top_pad:" in line
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())  # not glibc
    keep_large_buffers({})
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_this_machine_s_glibc_refuses_nothing() -> None:
    program = "from depth_retrofit_ros.ros.transport.allocator import keep_large_buffers; keep_large_buffers({})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
