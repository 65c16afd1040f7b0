"""What the engines' tests share: a folder for engine files that lives as long as the run; and no environment names an engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from depth_retrofit_ros.coarse.engines.cache import FOLDER_VARIABLE
from depth_retrofit_ros.coarse.engines.choice import ENGINE_VARIABLE


@pytest.fixture(scope="session")
def engine_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where programs of one test wait for another that needs the same."""
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(autouse=True)
def _engines(engine_files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(FOLDER_VARIABLE, str(engine_files))
    monkeypatch.delenv(ENGINE_VARIABLE, raising=False)
    yield
