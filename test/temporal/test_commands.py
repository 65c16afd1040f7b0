"""``depth-retrofit evaluate`` on the frames of one video."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from depth_retrofit_ros.cli import main as cli
from test.evaluation.scenes import coarse_of, write_scene


@pytest.fixture
def video(tmp_path: Path) -> list[str]:
    """Of a camera that stands, with coarse maps that are larger every time: the command that evaluates it."""
    pairs, coarse = tmp_path / "pairs", tmp_path / "coarse"
    for folder in (pairs, coarse):
        folder.mkdir()
    low = coarse_of(write_scene(pairs, "0", 0))
    for number in range(4):
        if number:
            for kind in ("jpg", "png", "npz"):
                if (pairs / f"0.{kind}").exists():
                    shutil.copy(pairs / f"0.{kind}", pairs / f"{number}.{kind}")
        np.savez(coarse / f"{number}.npz", depth=low * np.float32(1.1**number))
    return ["evaluate", str(pairs), "--coarse", str(coarse), "--device", "cpu", "--refiner", "none", "--align", "none"]


def errors(command: list[str], out: Path, *options: str) -> list[float]:
    """AbsRel of each image."""
    assert cli.main([*command, "--json", str(out), *options]) == 0
    return [entry["methods"]["refined"]["abs_rel"] for entry in json.loads(out.read_text())["images"]]


def test_frames_of_a_video_are_held_steady(video: list[str], tmp_path: Path) -> None:
    off, on, slow = (
        errors(video, tmp_path / "figures.json", *options)
        for options in ((), ("--temporal", "on"), ("--temporal", "on", "--fps", "0.5"))
    )
    assert on[0] == off[0]
    assert np.ptp(on) < 0.5 * np.ptp(off)
    assert np.ptp(on) < np.ptp(slow) <= np.ptp(off)


def test_a_rate_without_a_video_is_told(video: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*video, "--fps", "5"]) == 2
    assert "--fps is of a video: leave it out, or give --temporal on" in capsys.readouterr().err
