"""Bags through the live node: a real process, real topics, the shipped model."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.evaluation.data.bag import Bag
from depth_retrofit_ros.evaluation.data.depth_messages import depth_image
from depth_retrofit_ros.io.depth_files import read_depth_png
from depth_retrofit_ros.ros.replay import recorder
from depth_retrofit_ros.ros.replay.live_run import graph_node, private_domain
from test.evaluation.bags import PERIOD_NS, START_NS, scene, write_bag
from test.waiting import PATIENCE_S, wait_until

HEIGHT, WIDTH = 96, 128


def replay(bag: Path, out: Path, *options: str) -> int:
    return cli.main(
        ["replay", str(bag), "--image-topic", "/camera/image", "--out", str(out), "--rate", "0.5", "--trust-scale", *options]
    )


@pytest.fixture(scope="module")
def raw_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a replay of a raw mcap bag with camera_info and reference depth leaves."""
    folder = tmp_path_factory.mktemp("raw")
    bag = write_bag(folder / "bag", "mcap", frames=6, height=HEIGHT, width=WIDTH)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "_STATS_PATIENCE_S", PATIENCE_S)  # which depth is metric is told by statistics that come after it
        assert replay(bag, folder / "out", "--depth-topic", "/camera/depth") == 0
    return folder / "out"


def test_every_frame_is_answered_or_counted(raw_run: Path) -> None:
    frames = json.loads((raw_run / "summary.json").read_text())["frames"]
    assert frames["played"] == 6 == frames["answered"] + frames["dropped"] + frames["failed"] + frames["lost"]
    assert frames["answered"] >= 1 and frames["failed"] == 0
    assert frames["recorded"] == frames["answered"] == len(list((raw_run / "frames").glob("*.npz")))


def test_depth_is_stored_in_metres_at_the_images_size(raw_run: Path) -> None:
    last = sorted((raw_run / "frames").glob("*.npz"))[-1]  # on a busy machine the first image can come before its camera_info
    with np.load(last, allow_pickle=False) as stored:
        depth, stamp_ns = stored["depth"], int(stored["stamp_ns"])
        assert bool(stored["metric"]) and float(stored["fx"]) == 60.0
    assert depth.shape == (96, 128) and np.isfinite(depth).all() and depth.min() > 0
    assert (stamp_ns - START_NS) % PERIOD_NS == 0
    np.testing.assert_allclose(read_depth_png(last.with_name(f"{last.stem}_depth.png")), depth, atol=0.00051)
    preview = cv2.imread(str(last.with_name(f"{last.stem}_preview.jpg")))
    assert preview is not None and preview.shape == (96, 2 * 128 + 4, 3)


def test_cloud_and_table(raw_run: Path) -> None:
    head = (raw_run / "cloud.ply").read_bytes()[:200]
    assert b"element vertex 3072\n" in head  # 96 x 128 at stride 2
    rows = list(csv.DictReader((raw_run / "frames.csv").read_text().splitlines()))
    assert [int(row["stamp_ns"]) for row in rows] == [START_NS + i * PERIOD_NS for i in range(6)]
    answered = [row for row in rows if row["latency_ms"]]
    assert len(answered) == len(list((raw_run / "frames").glob("*.npz")))
    assert all(float(row["total_ms"]) > 0 and float(row["latency_ms"]) > 0 for row in answered)


def test_the_reference_depth_is_compared_with(raw_run: Path) -> None:
    told = json.loads((raw_run / "summary.json").read_text())
    assert told["mode"] == "realtime" and told["flicker"] is None  # frames may be missing between two answers
    accuracy = told["accuracy"]
    assert list(accuracy["methods"]) == ["nearest", "bilinear", "refined"]
    assert accuracy["evaluated"] == told["frames"]["answered"] and accuracy["unmatched"] == 0
    wrong = []
    for path in (raw_run / "frames").glob("*.npz"):
        with np.load(path, allow_pickle=False) as stored:
            depth, index = stored["depth"], (int(stored["stamp_ns"]) - START_NS) // PERIOD_NS
        truth = scene(index, HEIGHT, WIDTH)[1]
        wrong.append(float(np.mean(np.abs(depth - truth) / truth)))
    assert accuracy["methods"]["refined"]["unaligned_abs_rel"] == pytest.approx(np.mean(wrong), rel=1e-4)
    assert (raw_run / "comparison.png").exists()


def test_the_new_bag_holds_what_was_played_and_what_was_answered(raw_run: Path) -> None:
    stored = {int(np.load(path, allow_pickle=False)["stamp_ns"]) for path in (raw_run / "frames").glob("*.npz")}
    with Bag(raw_run / "bag") as bag:
        played = [m for m in bag.messages(["/camera/image"])]
        assert [m.time_ns for m in played] == [START_NS + i * PERIOD_NS for i in range(6)]
        assert {m.time_ns for m in bag.messages(["/depth_retrofit/depth/image_rect"])} == stored
        for name in ("points", "depth/camera_info", "frame_stats"):
            assert {m.stamp_ns for m in bag.messages([f"/depth_retrofit/{name}"])} <= stored
            assert bag.topics[f"/depth_retrofit/{name}"].count > 0
        depth = depth_image(next(bag.messages(["/depth_retrofit/depth/image_rect"])).data)
    assert depth.shape == (HEIGHT, WIDTH)


def test_the_page_shows_it(raw_run: Path) -> None:
    page = (raw_run / "summary.html").read_text()
    assert "played 6 = answered" in page and page.count("data:image/") >= 2
    assert "rate [Hz]" in page


def test_nothing_is_left_running(raw_run: Path) -> None:
    assert not {"player", "read-ahead", "recorder", "graph"} & {thread.name for thread in threading.enumerate()}
    assert "Traceback" not in (raw_run / "node.log").read_text()


def test_compressed_images_without_camera_info_are_relative(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / "bag", "sqlite3", frames=3, compressed=True, height=HEIGHT, width=WIDTH)
    assert replay(bag, tmp_path / "out", "--info-topic", "none") == 0
    assert "played 3 = answered" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "out/frames").iterdir()}
    assert "000000_relative.png" in names and "000000_depth.png" not in names
    assert not (tmp_path / "out/cloud.ply").exists()
    units = json.loads((tmp_path / "out/relative_units.json").read_text())
    with np.load(tmp_path / "out/frames/000000.npz", allow_pickle=False) as stored:
        depth = stored["depth"]
    png = read_depth_png(tmp_path / "out/frames/000000_relative.png", units["000000_relative.png"])
    np.testing.assert_allclose(png, depth, rtol=2e-3)


def test_a_node_that_cannot_start_tells_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / "bag", "mcap", frames=1, height=HEIGHT, width=WIDTH)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a checkpoint")
    assert replay(bag, tmp_path / "out", "--model", "compact", "--weights", str(broken)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("depth-retrofit: error: the depth node ended with code 2: cannot configure: checkpoint")
    assert str(broken) in line


def test_a_node_that_ends_in_the_middle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / "bag", "mcap", frames=600, height=8, width=8)
    ours = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    before, out = set(ours.read_text().split()), tmp_path / "out"

    def end_the_node() -> None:
        wait_until(lambda: list(out.glob("frames/*.npz")), "an answer")
        (node,) = set(ours.read_text().split()) - before
        os.kill(int(node), signal.SIGTERM)

    threading.Thread(target=end_the_node, daemon=True).start()
    assert replay(bag, out, "--rate", "0.001") == 2  # not after the sixteen hours of the bag
    assert "error: the depth node ended with code 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--image-topic", "/nope"], "its CompressedImage or Image topics: /camera/depth, /camera/image"),
        (["--info-topic", "/camera/image"], "holds sensor_msgs/msg/Image, not CameraInfo"),
        (["--depth-topic", "/camera/camera_info"], "holds sensor_msgs/msg/CameraInfo, not CompressedImage or Image"),
    ],
)
def test_wrong_topics(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str) -> None:
    bag = write_bag(tmp_path / "bag", "mcap", frames=1)
    assert replay(bag, tmp_path / "out", *options) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert told in line
    assert not (tmp_path / "out").exists()  # told before anything was started


def test_a_bag_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay(tmp_path / "absent", tmp_path / "out") == 2
    assert "no bag at" in capsys.readouterr().err


def test_a_domain_changes_its_own_variables_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other threads read the environment meanwhile, and afterwards find what they have put there."""
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    monkeypatch.delenv("OF_ANOTHER_THREAD", raising=False)
    before = dict(os.environ)
    with private_domain(None):
        assert os.environ["ROS_DOMAIN_ID"] != "7"
        monkeypatch.setattr(os.environ, "clear", lambda: pytest.fail("nothing is there for a moment"), raising=False)
        os.environ["OF_ANOTHER_THREAD"] = "1"
    assert dict(os.environ) == {**before, "OF_ANOTHER_THREAD": "1"}
    del os.environ["OF_ANOTHER_THREAD"]


def test_no_argument_of_the_program_is_taken_for_one_of_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among them may be a bag whose name is not UTF-8."""
    monkeypatch.setattr(sys, "argv", ["depth-retrofit", "replay", os.fsdecode(b"caf\xe9")])
    with private_domain(None), graph_node("depth_retrofit_replay") as node:
        assert node.get_name() == "depth_retrofit_replay"
