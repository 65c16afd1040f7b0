"""What is remembered of installed packages does not outlive a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from test.coarse.plugin_package import forget_plugins


@pytest.fixture(autouse=True)
def _plugins_anew() -> Iterator[None]:
    yield
    forget_plugins()
