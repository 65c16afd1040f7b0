"""docs/models.md: a stranger's model, with exactly the document's text, from an empty folder to a depth image."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from test.paths import ROOT
from test.told import apart_from_compiling
from test.waiting import PATIENCE_S, same_imports

DOCUMENT = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip put it: a folder of its own, for the path."""
    source, target = tmp_path_factory.mktemp("corridor"), tmp_path_factory.mktemp("site")
    for name, text in FILES.items():
        (source / name).write_text(text, encoding="utf-8")
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, str(target), str(source)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


def run(installed: Path, *arguments: str) -> str:
    env = {**os.environ, "PYTHONPATH": f"{installed}:{same_imports()['PYTHONPATH']}"}
    command = [sys.executable, "-m", "depth_retrofit_ros.cli.main", *arguments]
    done = subprocess.run(command, env=env, capture_output=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, apart_from_compiling(done.stderr)) == (0, b""), done.stderr
    return done.stdout.decode()


def test_the_adapter_is_as_short_as_the_document_says() -> None:
    assert set(FILES) == {"pyproject.toml", "corridor_depth.py"}
    lines = [line for line in FILES["corridor_depth.py"].splitlines() if line]
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 120


def test_it_is_listed(installed: Path) -> None:
    (row,) = [line for line in run(installed, "models").splitlines() if line.startswith("corridor ")]
    assert row.split() == ["corridor", "MIT", "0.0", "M", "0", "MB", "metric", "any", "camera", "long", "256", "-", "yes"]


def test_it_runs_and_is_metric(installed: Path, tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "photo.png"), np.full((240, 320, 3), 90, np.uint8))
    told = run(
        installed,
        *("image", str(tmp_path / "photo.png"), "--model", "corridor", "--hfov", "65", "--out", str(tmp_path / "out")),
    )
    assert "1 of 1 images done" in told
    (entry,) = json.loads((tmp_path / "out" / "images.json").read_text())
    assert entry["metric"] and entry["scale_source"] == "model"
    depth = np.load(tmp_path / "out" / "photo_depth.npy")
    focal_px = 160 / np.tan(np.radians(32.5))
    assert depth.max() == pytest.approx(8.0, rel=0.05), "where the corridor ends"
    assert depth[200, 160] == pytest.approx(1.5 * focal_px / (200.5 - 120), rel=0.05), "the floor, 1.5 m below"
