"""The table of skips at the end of a run."""

from __future__ import annotations

import pytest

from test.paths import ROOT
from test.skip_table import skip_table
from test.waiting import run_python


def skipped(reason: str) -> pytest.TestReport:
    return pytest.TestReport("a", ("a.py", 1, "a"), {}, "skipped", ("a.py", 1, f"Skipped: {reason}"), "setup")


def test_reasons_are_counted_the_most_frequent_first() -> None:
    assert skip_table([skipped("no b"), skipped("no a"), skipped("no c"), skipped("no b")]) == [
        "     2  no b",
        "     1  no a",
        "     1  no c",
        "     4  in all",
    ]


def test_nothing_skipped_is_no_table() -> None:
    assert skip_table([]) == []


def test_a_run_ends_with_the_table() -> None:
    """By a run of pytest itself: a hook that is misspelled is never called."""
    nowhere = ("--rootdir", str(ROOT), "-p", "no:cacheprovider", "-p", "pytest_timeout")
    done = run_python("-m", "pytest", *nowhere, "-q", "-k", "test_on_cuda", str(ROOT / "test/pointcloud/test_organized_triton.py"))
    lines = done.stdout.splitlines()
    told = any("skipped, by reason" in line for line in lines) and "     1  no CUDA device" in lines
    assert told or "1 passed" in lines[-1], done.stdout
