"""A live graph per test, with the transport that the project ships."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from depth_retrofit_ros.ros.health import throttled_log
from depth_retrofit_ros.ros.node import node as node_module
from depth_retrofit_ros.ros.transport.dds_profile import missing_variables
from test.ros.graph import Graph


@pytest.fixture(scope="session", autouse=True)
def large_messages() -> None:
    os.environ.update(missing_variables(os.environ))


@pytest.fixture(autouse=True)
def log_clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The log's clock stands still: a line that comes once in ten seconds comes once in a test, however long that takes."""
    clock = SimpleNamespace(now_s=100.0)
    monkeypatch.setattr(throttled_log, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    return clock


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that is made from here on looks at its graph, and reports, twenty times a second: for tests that wait for reports."""
    monkeypatch.setattr(node_module, "REPORT_S", 0.05)


@pytest.fixture
def graph() -> Iterator[Graph]:
    with Graph() as graph:
        yield graph
