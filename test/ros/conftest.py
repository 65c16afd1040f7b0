"""A live graph per test, with the transport that the project ships."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from depth_retrofit_ros.ros.transport.dds_profile import missing_variables
from test.ros.graph import Graph


@pytest.fixture(scope="session", autouse=True)
def large_messages() -> None:
    os.environ.update(missing_variables(os.environ))


@pytest.fixture
def graph() -> Iterator[Graph]:
    with Graph() as graph:
        yield graph
