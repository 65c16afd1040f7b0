"""What every test of a command gets: compiled kernels, of which a process that has to compile them says a line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.cli import main as cli


@pytest.fixture(scope="session", autouse=True)
def _compiled_kernels(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder: Path = tmp_path_factory.mktemp("compiled")
    assert cv2.imwrite(str(folder / "photo.png"), np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))
    options = ["--hfov", "60", "--trust-scale", "--ply", "--normals", "--device", "cpu"]
    assert cli.main(["image", str(folder / "photo.png"), "--out", str(folder / "out"), "--model", "compact", *options]) == 0
