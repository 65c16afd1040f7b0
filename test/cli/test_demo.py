"""The demo: camera, the node as a process, recorder; the path of ``make demo`` with a film of one view."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.evaluation.metrics.pointwise import abs_rel
from depth_retrofit_ros.ros.replay import replay as replay_module
from depth_retrofit_ros.ros.replay.replay import Replay
from depth_retrofit_ros.ros.replay.sources import SceneSource
from depth_retrofit_ros.training.scenes import film
from depth_retrofit_ros.training.scenes.video import VideoFrame

WIDTH, HEIGHT = 160, 120


def box_before_a_wall() -> VideoFrame:
    """The sky is in it, too: depth inf."""
    depth = np.full((HEIGHT, WIDTH), 4.0, np.float32)
    depth[40:100, 50:90], depth[:20] = 1.5, np.inf
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    image[depth < 2] = (200, 60, 30)
    return VideoFrame(image, depth, Camera.from_hfov(WIDTH, HEIGHT, 65.0))


@pytest.fixture(scope="module")
def one_view(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of one view."""
    folder = tmp_path_factory.mktemp("film")
    film.write_film(folder, [box_before_a_wall()])
    return folder


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, one_view: Path) -> Path:
    out = tmp_path_factory.mktemp("demo")
    size = ["--width", str(WIDTH), "--height", str(HEIGHT)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(film, "FOLDER", one_view)
        assert cli.main(["demo", "--out", str(out), *size, "--seconds", "2", "--rate", "5"]) == 0
    return out


def test_it_leaves_depth_preview_cloud_and_summary(demo: Path) -> None:
    assert {path.name for path in demo.iterdir()} == {
        "cloud.ply",
        "comparison.png",
        "frames",
        "frames.csv",
        "node.log",
        "summary.html",
        "summary.json",
        "summary.md",
    }
    endings = {path.name[6:] for path in (demo / "frames").iterdir()}
    assert endings == {".npz", "_depth.png", "_preview.jpg", "_strip.jpg"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--width", "2561"], "choose --width up to 2560 and --height up to 1440"),
        (["--width", "1280", "--height", "1441"], "the film is 2560x1440, smaller than 1280x1441"),
        (["--model", "compct"], "did you mean 'compact'"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    def played(*arguments: object) -> None:
        raise AssertionError("it was played")

    monkeypatch.setattr(replay_module, "replay", played)
    assert cli.main(["demo", "--out", str(tmp_path), *options]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert told in line


def test_a_demo_without_one_answer_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], one_view: Path
) -> None:
    nothing = "no image was answered: see node.log"
    summary = SimpleNamespace(mode="every-frame", times=dict, accuracy=None, flicker=None, nothing_answered=nothing)
    monkeypatch.setattr(film, "FOLDER", one_view)
    monkeypatch.setattr(replay_module, "replay", lambda *arguments: summary)
    assert cli.main(["demo", "--out", str(tmp_path), "--width", str(WIDTH), "--height", str(HEIGHT)]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"depth-retrofit: error: {nothing}"


@pytest.mark.parametrize(("model", "trusted"), [("compact", True), ("meter-nyu", False)])
def test_only_the_model_of_rendered_scenes_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_view: Path, model: str, trusted: bool
) -> None:
    told: list[bool] = []
    summary = SimpleNamespace(mode="every-frame", times=dict, accuracy=None, flicker=None, nothing_answered=None)

    def played(source: SceneSource, how: Replay, *rest: object) -> SimpleNamespace:
        told.append(how.trust_scale)
        return summary

    monkeypatch.setattr(film, "FOLDER", one_view)
    monkeypatch.setattr(replay_module, "replay", played)
    size = ["--width", str(WIDTH), "--height", str(HEIGHT)]
    assert cli.main(["demo", "--out", str(tmp_path), *size, "--model", model]) == 0
    assert told == [trusted]


def test_every_image_is_accounted_for_and_timed(demo: Path) -> None:
    told = json.loads((demo / "summary.json").read_text())
    frames = told["frames"]
    assert frames["played"] == 10 == frames["answered"] + frames["dropped"] + frames["failed"] + frames["lost"]
    assert frames["answered"] >= 1 and frames["failed"] == 0
    times = told["times_ms"]
    assert {"age at publication", "coarse", "upsample", "select", "refine", "fuse", "publish", "total"} < set(times)
    hour_ms = 3.6e6
    assert times["total"]["p50"] < times["age at publication"]["p50"] < hour_ms, "stamps are the present"
    played_s = [float(row["played_s"]) for row in csv.DictReader((demo / "frames.csv").read_text().splitlines())]
    assert told["input_hz"] == pytest.approx(9 / (max(played_s) - min(played_s)), rel=1e-3)


def test_accuracy_is_against_the_exact_depth(demo: Path) -> None:
    view = box_before_a_wall()
    last = sorted((demo / "frames").glob("*.npz"))[-1]  # on a busy machine the first image can come before its camera_info
    with np.load(last, allow_pickle=False) as stored:
        depth = stored["depth"]
        assert float(stored["fx"]) == pytest.approx(view.camera.fx, rel=1e-6)
    accuracy = json.loads((demo / "summary.json").read_text())["accuracy"]
    assert list(accuracy["methods"]) == ["nearest", "bilinear", "refined"] and 1 <= accuracy["evaluated"] <= 3
    told = accuracy["frames"][-1]["methods"]["refined"]
    assert told["unaligned_abs_rel"] == pytest.approx(abs_rel(depth, view.depth), rel=5e-3)  # one view: every image is the same
