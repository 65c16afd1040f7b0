"""Every frame of a bag through the node's own processor: none is lost, and the figures are the same in every run."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Writer
from sensor_msgs.msg import Image

from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.cli.progress import Progress
from depth_retrofit_ros.cli.replay import tell
from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.bag import IMAGE_TYPE, TF_TYPE, Bag
from depth_retrofit_ros.evaluation.metrics.pointwise import abs_rel, median_scale
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.node.outputs import Outputs
from depth_retrofit_ros.ros.replay.every_frame import deserialize
from depth_retrofit_ros.temporal.motion import FlowEstimator
from test.evaluation.bags import PERIOD_NS, START_NS, STORE, image_message, scene, write_bag

HEIGHT, WIDTH, FRAMES = 96, 128, 4
GT = ("--depth-topic", "/camera/depth")


def replay(bag: Path, out: Path, *options: str) -> int:
    return cli.main(["replay", str(bag), "--every-frame", "--trust-scale", "--out", str(out), *options])


def told(out: Path) -> Any:
    return json.loads((out / "summary.json").read_text(), parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bag``, and what two runs made of it: ``one``, ``two``, and the copies ``given.json``, ``given.html``."""
    folder = tmp_path_factory.mktemp("every_frame")
    write_bag(folder / "bag", "mcap", frames=FRAMES, height=HEIGHT, width=WIDTH)
    copies = ("--json", str(folder / "given" / "given.json"), "--html", str(folder / "given" / "given.html"))
    assert replay(folder / "bag", folder / "one", *GT, *copies) == 0
    assert replay(folder / "bag", folder / "two", *GT) == 0
    return folder


def test_the_same_json_twice(folder: Path) -> None:
    assert (folder / "one/summary.json").read_bytes() == (folder / "two/summary.json").read_bytes()
    assert (folder / "given/given.json").read_bytes() == (folder / "one/summary.json").read_bytes()
    assert (folder / "given/given.html").read_bytes() == (folder / "one/summary.html").read_bytes()


def test_a_camera_s_bag_gives_the_same_json_twice(shared_data: Path, tmp_path: Path) -> None:
    bag = shared_data / "bags" / "d435_tabletop"
    for out in ("one", "two"):
        options = ("--depth-topic", "/camera/aligned_depth_to_color/image_raw", "--frames", "3")
        assert replay(bag, tmp_path / out, *options) == 0
    assert (tmp_path / "one/summary.json").read_bytes() == (tmp_path / "two/summary.json").read_bytes()
    accuracy = told(tmp_path / "one")["accuracy"]
    assert accuracy["evaluated"] == 3 and 0 < accuracy["methods"]["refined"]["abs_rel"] < 1
    assert told(tmp_path / "one")["flicker"]["pairs_with_static_pixels"] == 1  # of two: then the camera looks elsewhere


def test_every_frame_is_answered(folder: Path) -> None:
    document = told(folder / "one")
    assert document["mode"] == "every-frame"
    frames = document["frames"]
    assert frames["played"] == frames["answered"] == frames["recorded"] == FRAMES
    assert frames["dropped"] == frames["failed"] == frames["lost"] == 0
    rows = list(csv.DictReader((folder / "one/frames.csv").read_text().splitlines()))
    assert [int(row["stamp_ns"]) for row in rows] == [START_NS + i * PERIOD_NS for i in range(FRAMES)]
    assert all(float(row["total_ms"]) > 0 for row in rows)


def test_accuracy_is_that_of_the_stored_depth(folder: Path) -> None:
    accuracy = told(folder / "one")["accuracy"]
    assert (accuracy["evaluated"], accuracy["unmatched"], accuracy["align"]) == (FRAMES, 0, "median")
    for index, entry in enumerate(accuracy["frames"]):
        with np.load(folder / f"one/frames/{index:06d}.npz", allow_pickle=False) as stored:
            depth = stored["depth"]
        truth = np.round(scene(index, HEIGHT, WIDTH)[1] * 1000) / 1000
        scale = entry["alignment"]["scale"]
        figures = entry["methods"]["refined"]
        assert figures["unaligned_abs_rel"] == pytest.approx(abs_rel(depth, truth), rel=1e-5)
        assert figures["abs_rel"] == pytest.approx(abs_rel(scale * depth, truth), rel=1e-5)
        assert scale == pytest.approx(median_scale(depth, truth), rel=0.2)  # that of the bilinear map
        assert {"rmse", "silog", "delta1", "edge_abs_rel", "flat_abs_rel", "see", "boundary_f1"} < figures.keys()
    mean = np.mean([entry["methods"]["refined"]["abs_rel"] for entry in accuracy["frames"]])
    assert accuracy["methods"]["refined"]["abs_rel"] == pytest.approx(mean)


def test_the_new_bag_holds_inputs_and_outputs_at_their_stamps(folder: Path) -> None:
    with AnyReader([folder / "one" / "bag"]) as reader:
        messages: list[tuple[str, int, Any]] = [
            (c.topic, time_ns, reader.deserialize(data, c.msgtype)) for c, time_ns, data in reader.messages()
        ]
    stamps = [START_NS + i * PERIOD_NS for i in range(FRAMES)]
    by_topic = {name: [(at, message) for topic, at, message in messages if topic == name] for name, _, _ in messages}
    outputs = {f"/depth_retrofit/{name}" for name in ("depth/image_rect", "depth/camera_info", "points", "frame_stats")}
    assert by_topic.keys() == outputs | {"/camera/image", "/camera/camera_info"}
    for name, entries in by_topic.items():
        assert [at for at, _ in entries] == stamps, name
        assert all(10**9 * m.header.stamp.sec + m.header.stamp.nanosec == at for at, m in entries)
        assert {m.header.frame_id for _, m in entries} == {"camera_optical"}
    depth = by_topic["/depth_retrofit/depth/image_rect"][1][1]
    with np.load(folder / "one/frames/000001.npz", allow_pickle=False) as stored:
        np.testing.assert_array_equal(np.frombuffer(depth.data, np.float32).reshape(HEIGHT, WIDTH), stored["depth"])
    assert by_topic["/depth_retrofit/points"][0][1].point_step == 16
    assert by_topic["/depth_retrofit/frame_stats"][-1][1].processed == FRAMES
    with Bag(folder / "bag") as original, Bag(folder / "one" / "bag") as copy:
        assert [m.data for m in copy.messages(["/camera/image"])] == [m.data for m in original.messages(["/camera/image"])]


def test_the_page_shows_strips_and_plots(folder: Path) -> None:
    page = (folder / "one/summary.html").read_text()
    assert page.count("data:image/jpeg") == FRAMES and page.count("data:image/png") == 1
    assert "latency [ms]" in page and "p95" in page and "AbsRel at edges" in page


def test_compressed_images_without_camera_info_and_only_the_first_two(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", "sqlite3", frames=3, compressed=True, height=HEIGHT, width=WIDTH, depth_step=2)
    assert replay(bag, tmp_path / "out", *GT, "--info-topic", "none", "--frames", "2", "--align", "scale-shift") == 0
    document = told(tmp_path / "out")
    assert document["frames"]["answered"] == 2 and "relative" in document["facts"]["model"]
    figures = document["accuracy"]["methods"]["refined"]
    assert figures["unaligned_abs_rel"] is None and figures["see"] is None and figures["abs_rel"] > 0
    assert document["accuracy"]["frames"][0]["width"] == WIDTH // 2
    with Bag(tmp_path / "out/bag") as written:
        assert "/depth_retrofit/points" not in written.topics and written.topics["/camera/image/compressed"].count == 2


def test_an_image_that_cannot_be_decoded_is_counted_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / "bag", "mcap", frames=3, height=HEIGHT, width=WIDTH)
    broken = image_message(START_NS + PERIOD_NS, scene(1, HEIGHT, WIDTH)[0], "rgb8", step=7)
    with pytest.MonkeyPatch.context() as patch:
        original = Bag.messages

        def messages(self: Bag, topics: Any, *since_ns: int) -> Any:
            for message in original(self, topics, *since_ns):
                bad = message.topic == "/camera/image" and message.stamp_ns == START_NS + PERIOD_NS
                yield type(message)(message.topic, message.time_ns, broken) if bad else message

        patch.setattr(Bag, "messages", messages)
        assert replay(bag, tmp_path / "out", *GT) == 0
    document = told(tmp_path / "out")
    assert (document["frames"]["answered"], document["frames"]["failed"]) == (2, 1)
    assert document["accuracy"]["evaluated"] == 2
    assert "the last failed image: image step 7 is too small" in capsys.readouterr().out


def test_an_answer_whose_statistics_alone_failed_is_an_answer(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", "mcap", frames=3, height=HEIGHT, width=WIDTH)
    with pytest.MonkeyPatch.context() as patch:
        original = Outputs.publish_stats

        def publish_stats(self: Outputs, stats: FrameStats) -> None:
            if stats.header.stamp.nanosec != PERIOD_NS:
                original(self, stats)

        patch.setattr(Outputs, "publish_stats", publish_stats)
        assert replay(bag, tmp_path / "out") == 0
    frames = told(tmp_path / "out")["frames"]
    assert (frames["answered"], frames["failed"]) == (3, 0)
    rows = list(csv.DictReader((tmp_path / "out/frames.csv").read_text().splitlines()))
    assert [row["refined_pixels"] != "" for row in rows] == [True, False, True]


@pytest.mark.parametrize("name", ["bag", os.fsdecode(b"caf\xe9")])
def test_no_argument_of_the_program_is_taken_for_one_of_ros(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bag = write_bag(tmp_path / "bag", "mcap", frames=1, height=HEIGHT, width=WIDTH).rename(tmp_path / f"{name} renamed")
    monkeypatch.setattr(sys, "argv", ["depth-retrofit", "replay", str(bag), "--ros-args", "--no-such-argument"])
    assert replay(bag, tmp_path / "out") == 0


def test_figures_that_nothing_is_known_of_are_told_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As of a model that answers NaN: the run is over, and its results are there."""
    nothing = {"refined": dict.fromkeys(("abs_rel", "edge_abs_rel", "unaligned_abs_rel", "delta1"))}
    still = {"refined": {"median": None, "p95": None, "drift": 0.5}, "bilinear": dict.fromkeys(("median", "p95", "drift"))}
    summary: Any = SimpleNamespace(
        mode="every-frame",
        times=dict,
        accuracy={"evaluated": 2, "unmatched": 0, "methods": nothing},
        flicker={"pairs": 1, "pairs_with_static_pixels": 1, "static": still},
    )
    tell(summary, tmp_path, Progress())
    said = capsys.readouterr().out
    assert "refined: unknown" in said and "ln depth| drift 0.5000" in said and "bilinear: |Δ ln depth| unknown" in said


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / "bag", "mcap", frames=2, height=HEIGHT, width=WIDTH)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Writer, "write", full)
    assert replay(bag, tmp_path / "out") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert line.startswith("depth-retrofit: error: cannot write") and "No space left on device" in line


@given(st.data())
def test_whatever_bytes_come_they_are_a_message_or_one_line(data: st.DataObject) -> None:
    whole = image_message(START_NS, np.zeros((3, 4, 3), np.uint8), "rgb8")
    broken = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for place in data.draw(st.lists(st.integers(0, max(0, len(broken) // 4 - 1)), max_size=3)):
        broken[4 * place : 4 * place + 4] = data.draw(st.sampled_from([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\x10\0"]))
    try:
        message = deserialize(bytes(broken), IMAGE_TYPE)
    except BagError as error:
        assert "does not parse as sensor_msgs/msg/Image" in str(error) and "\n" not in str(error)
    else:
        assert isinstance(message, Image)


@pytest.mark.parametrize("option", [("--rate", "2"), ("--domain", "7")])
def test_options_of_the_other_mode_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], option: tuple[str, str]) -> None:
    assert replay(tmp_path / "bag", tmp_path / "out", *option) == 2
    assert "belong to --realtime" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("file", ["", "bag.mcap"])
def test_the_bag_that_is_read_is_never_written(folder: Path, capsys: pytest.CaptureFixture[str], file: str) -> None:
    assert replay(folder / "two" / "bag" / file, folder / "two") == 2
    assert "is where the new bag would be written: choose another --out" in capsys.readouterr().err
    assert (folder / "two" / "bag" / "bag.mcap").exists()


def test_two_modes_at_once(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        replay(tmp_path / "bag", tmp_path / "out", "--realtime")


@pytest.mark.parametrize("options", [("--temporal", "on"), ("--every-frame",)])
def test_the_camera_s_motion_by_tf_is_asked_for_with_all_that_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    assert cli.main(["replay", str(tmp_path), "--out", str(tmp_path / "out"), "--motion-frame", "odom", *options]) == 2
    assert "--motion-frame belongs to --every-frame and --temporal on" in capsys.readouterr().err


def test_the_camera_s_motion_comes_from_the_bag_s_tf(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which is recorded behind the image that it is of; tf2_msgs is not needed."""
    types = STORE.types
    stamp, head = types["builtin_interfaces/msg/Time"], types["std_msgs/msg/Header"]
    geometry = (types[f"geometry_msgs/msg/{name}"] for name in ("Vector3", "Quaternion", "Transform", "TransformStamped"))
    (vector, turn, transform, stamped), message = geometry, types[TF_TYPE]

    def tf(at_ns: int, parent: str, child: str, x: float) -> bytes:
        pose = transform(translation=vector(x=x, y=0.0, z=0.0), rotation=turn(x=0.0, y=0.0, z=0.0, w=1.0))
        header = head(stamp=stamp(*divmod(at_ns, 10**9)), frame_id=parent)
        told = message(transforms=[stamped(header=header, child_frame_id=child, transform=pose)])
        return bytes(STORE.serialize_cdr(told, TF_TYPE))

    with AnyReader([folder / "bag"]) as reader, Writer(tmp_path / "bag", version=9) as writer:
        topics = {c.topic: writer.add_connection(c.topic, c.msgtype, typestore=STORE) for c in reader.connections}
        moving, fixed = (writer.add_connection(name, TF_TYPE, typestore=STORE) for name in ("/tf", "/tf_static"))
        writer.write(fixed, START_NS, tf(0, "base", "camera_optical", 1.0))
        for connection, time_ns, data in reader.messages():
            writer.write(topics[connection.topic], time_ns, bytes(data))
        for number in range(FRAMES + 1):
            at_ns = START_NS + number * PERIOD_NS
            writer.write(moving, at_ns + PERIOD_NS // 10, tf(at_ns - PERIOD_NS // 2, "odom", "base", 0.01 * number))
    known: list[Any] = []
    motion = FlowEstimator.motion

    def watched(self: FlowEstimator, *given: Any) -> Any:
        known.append(given[7])
        return motion(self, *given)

    monkeypatch.setattr(FlowEstimator, "motion", watched)
    asked = ("--temporal", "on", "--motion-frame", "odom")
    assert replay(tmp_path / "bag", tmp_path / "out", *asked) == 0
    assert len(known) == FRAMES - 1
    for moved in known:
        np.testing.assert_allclose(moved.shift, (0.01, 0, 0), atol=1e-9)
        np.testing.assert_allclose(moved.rotation, np.eye(3), atol=1e-12)
    assert replay(folder / "bag", tmp_path / "without", *asked) == 2
    assert "has neither /tf nor /tf_static: leave --motion-frame out, or record them" in capsys.readouterr().err


def test_with_memory_over_time_the_same_json_twice(folder: Path, tmp_path: Path) -> None:
    for out in ("one", "two"):
        assert replay(folder / "bag", tmp_path / out, *GT, "--temporal", "on") == 0
    assert (tmp_path / "one/summary.json").read_bytes() == (tmp_path / "two/summary.json").read_bytes()
