"""The demo: camera, the node as a process, recorder; the path of ``make demo`` with a film of one view."""

from __future__ import annotations

import csv
import json
import socket
import threading
from contextlib import suppress
from html import escape
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.evaluation.metrics.pointwise import abs_rel
from depth_retrofit_ros.evaluation.report.lead import gain_sentence
from depth_retrofit_ros.evaluation.report.moving_picture import MovingPicture, Shot
from depth_retrofit_ros.ros.replay import live_page
from depth_retrofit_ros.ros.replay import replay as replay_module
from depth_retrofit_ros.ros.replay.replay import Replay
from depth_retrofit_ros.ros.replay.sources import SceneSource
from depth_retrofit_ros.training.scenes import film
from depth_retrofit_ros.training.scenes.video import VideoFrame
from test.ros.view.page_client import PageClient

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
def watched() -> list[int]:
    """How many messages the browser had that looked at the demo's page; empty where there is no page."""
    return []


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, one_view: Path, watched: list[int]) -> Path:
    """With a browser at its page, where viser is installed."""
    out = tmp_path_factory.mktemp("demo")
    size = ["--width", str(WIDTH), "--height", str(HEIGHT)]
    port = live_page.choose_port(None, 0)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            with suppress(OSError), PageClient(f"http://{live_page.HOST}:{port}") as client:
                ended.wait()
                watched.append(client.received)

    browser = threading.Thread(target=watch, name="browser")
    page = ["--port", str(port)] if live_page.has_viser() else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(film, "FOLDER", one_view)
        if page:
            browser.start()
        try:
            assert cli.main(["demo", "--out", str(out), *size, "--seconds", "2", "--rate", "5", *page]) == 0
        finally:
            ended.set()
            if page:
                browser.join()
    return out


def test_it_leaves_depth_preview_cloud_and_summary(demo: Path) -> None:
    assert {path.name for path in demo.iterdir()} == {
        "cloud.ply",
        "comparison.png",
        "frames",
        "frames.csv",
        "moving.mp4",
        "moving.webp",
        "node.log",
        *(["page.log"] if live_page.has_viser() else []),
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


def test_a_browser_was_there_all_the_time(demo: Path, watched: list[int]) -> None:
    """So that what the next tests say of counts and times is said of a node that is looked at."""
    if not live_page.has_viser():
        pytest.skip("viser is not installed")
    assert len(watched) == 1 and watched[0] > 0
    assert "until Ctrl-C" in (demo / "page.log").read_text()


@pytest.mark.parametrize(
    ("options", "has_viser", "told"),
    [
        ([], True, True),
        (["--web"], True, True),
        (["--no-web"], True, False),
        ([], False, False),
        (["--web"], False, "needs viser"),
        (["--port", "8123"], False, "needs viser"),
        (["--no-web", "--port", "8123"], True, "leave it out, or --no-web"),
    ],
)
def test_a_page_is_served_where_it_can_be_or_was_asked_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    one_view: Path,
    options: list[str],
    has_viser: bool,
    told: bool | str,
) -> None:
    ports: list[int | None] = []
    summary = SimpleNamespace(mode="every-frame", times=dict, accuracy=None, flicker=None, nothing_answered=None)

    def played(source: SceneSource, how: Replay, *rest: object) -> SimpleNamespace:
        ports.append(how.web_port)
        return summary

    monkeypatch.setattr(film, "FOLDER", one_view)
    monkeypatch.setattr(replay_module, "replay", played)
    monkeypatch.setattr(live_page, "has_viser", lambda: has_viser)
    size = ["--width", str(WIDTH), "--height", str(HEIGHT)]
    code = cli.main(["demo", "--out", str(tmp_path), *size, *options])
    if isinstance(told, str):
        assert (code, ports) == (2, []) and told in capsys.readouterr().err
    else:
        assert code == 0 and [port is not None for port in ports] == [told]


def test_the_page_of_a_demo_beside_another_one_has_a_port_of_its_own() -> None:
    with socket.socket() as other:
        other.bind((live_page.HOST, 0))
        other.listen()
        taken = other.getsockname()[1]
        assert live_page.choose_port(None, taken) not in (0, taken)
        with pytest.raises(OutputError, match="choose another --port"):
            live_page.choose_port(taken, 8090)


def test_the_page_begins_with_the_moving_picture_and_a_sentence_of_the_measured_figures(demo: Path) -> None:
    page, summary = (demo / "summary.html").read_text(), json.loads((demo / "summary.json").read_text())
    sentence = gain_sentence(summary["accuracy"])
    before, after = (summary["accuracy"]["methods"][name]["edge_abs_rel"] for name in ("bilinear", "refined"))
    assert f"{before:.3f}" in sentence and f"{after:.3f}" in sentence
    video, table = page.index("<video"), page.index("<table")
    assert page.index(escape(sentence)) < video < page.index("Where refinement matters most") < table
    assert sentence in (demo / "summary.md").read_text()


def test_the_moving_picture_is_of_what_the_node_answered(demo: Path) -> None:
    view = box_before_a_wall()
    last = sorted((demo / "frames").glob("*.npz"))[-1]
    with np.load(last, allow_pickle=False) as stored:
        refined = stored["depth"]
    expected = MovingPicture([Shot(view.image, refined, refined)], 0, (slice(0, 19), slice(0, 26)), view.camera)
    with Image.open(demo / "moving.webp") as animation:
        assert animation.n_frames == len(expected)
        first = np.asarray(animation.convert("RGB"))
    below = slice(-60, -2), slice(-80, -2)  # without title and, as it is small, most of the outline
    shown, told = (cv2.blur(frame[below], (7, 7)).astype(int) for frame in (first, expected.frame(0)))  # noise is not kept
    assert np.abs(shown - told).mean() < 8
    video = cv2.VideoCapture(str(demo / "moving.mp4"))
    assert round(video.get(cv2.CAP_PROP_FRAME_COUNT)) == len(expected)


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
    assert list(accuracy["methods"]) == ["nearest", "bilinear", "refined"] and accuracy["evaluated"] == 1  # one of each view
    told = accuracy["frames"][-1]["methods"]["refined"]
    assert told["unaligned_abs_rel"] == pytest.approx(abs_rel(depth, view.depth), rel=5e-3)  # one view: every image is the same
