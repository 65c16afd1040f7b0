"""``replay --every-frame --on`` and ``evaluate --on``: the JSON of one process, to the byte."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from depth_retrofit_ros.batch import shared_replay
from depth_retrofit_ros.batch.engine import Job
from depth_retrofit_ros.cli import evaluate, replay
from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.evaluation.data.bag import Bag, BagMessage
from depth_retrofit_ros.io.photos import read_photo
from depth_retrofit_ros.ros.replay.bag_parts import BagPart, divided
from depth_retrofit_ros.ros.replay.bag_source import BagSource
from depth_retrofit_ros.ros.replay.live_run import NODE
from depth_retrofit_ros.ros.replay.player import TimedMessage
from depth_retrofit_ros.ros.replay.shared_parts import _copied
from test.batch.works import InlineEngine
from test.evaluation.bags import PERIOD_NS, START_NS, info_message, scene, write_bag

SMALL = ("--model", "compact", "--device", "cpu", "--budget", "0.02")


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[InlineEngine]:
    made: list[InlineEngine] = []

    def make(args: Any, threads: int, factory: str, settings: Any) -> InlineEngine:
        made.append(InlineEngine(Job(factory, settings)))
        return made[-1]

    for command in (replay, evaluate):
        monkeypatch.setattr(command, "make_chosen_engine", make)
    monkeypatch.setattr(shared_replay, "PART_S", 0.15)  # two images
    return made


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("bag")
    return write_bag(folder / "bag", "mcap", frames=5, height=96, width=128)


def told(bag: Path) -> dict[str, list[tuple[int, Any]]]:
    """Times and messages of each topic; of their bytes, those between the fields may be anything."""
    found: dict[str, list[tuple[int, Any]]] = {}
    with AnyReader([bag]) as reader:
        for connection, at_ns, data in reader.messages():
            found.setdefault(connection.topic, []).append((at_ns, reader.deserialize(data, connection.msgtype)))
    return found


def answered(bag: Path, out: Path, *options: str) -> int:
    given = ("--every-frame", "--trust-scale", "--depth-topic", "/camera/depth", *SMALL, *options)
    return cli.main(["replay", str(bag), "--out", str(out), *given])


def test_a_replay_in_parts_has_the_json_of_one_process(bag: Path, tmp_path: Path, engines: list[InlineEngine]) -> None:
    one, parts = tmp_path / "one", tmp_path / "parts"
    assert answered(bag, one) == 0
    assert answered(bag, parts, "--on", "local") == 0
    assert len(engines[0].submitted) == 3
    assert (one / "summary.json").read_bytes() == (parts / "summary.json").read_bytes()
    names = {path.relative_to(one) for path in one.rglob("*")}
    assert names == {path.relative_to(parts) for path in parts.rglob("*")}
    for name in ("cloud.ply", *(f"frames/{number:06d}.npz" for number in range(5))):
        assert (one / name).read_bytes() == (parts / name).read_bytes(), name
    for topic, messages in told(one / "bag").items():
        others = told(parts / "bag")[topic]
        assert [at for at, _ in messages] == [at for at, _ in others]
        for (_, here), (_, there) in zip(messages, others, strict=True):
            np.testing.assert_array_equal(getattr(here, "data", ()), getattr(there, "data", ()))
            assert repr(here.header) == repr(there.header)
    with Bag(parts / "bag") as written:
        assert written.topics[f"{NODE}/frame_stats"].count == 5
    played = [float(line.split(",")[1]) for line in (parts / "frames.csv").read_text().splitlines()[1:]]
    assert played == sorted(played)


def test_statistics_of_parts_count_all_images(bag: Path, tmp_path: Path, engines: list[InlineEngine]) -> None:
    assert answered(bag, tmp_path / "out", "--on", "local") == 0
    from rclpy.serialization import deserialize_message

    from depth_retrofit_ros.msg import FrameStats

    with Bag(tmp_path / "out" / "bag") as written:
        stats = [deserialize_message(message.data, FrameStats) for message in written.messages([f"{NODE}/frame_stats"])]
    assert [entry.processed for entry in stats] == [1, 2, 3, 4, 5]


def test_failed_images_are_the_same_ones(
    bag: Path, tmp_path: Path, engines: list[InlineEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Bag.messages

    def messages(self: Bag, topics: Any, *since_ns: int) -> Any:
        for message in original(self, topics, *since_ns):
            bad = message.topic == "/camera/image" and message.time_ns >= START_NS + 2 * PERIOD_NS
            yield type(message)(message.topic, message.time_ns, message.data[:40]) if bad else message

    with monkeypatch.context() as patch:
        patch.setattr(Bag, "messages", messages)
        assert answered(bag, tmp_path / "one") == 0
        assert answered(bag, tmp_path / "parts", "--on", "local") == 0
    assert (tmp_path / "one" / "summary.json").read_bytes() == (tmp_path / "parts" / "summary.json").read_bytes()


def test_a_run_that_remembers_is_one_part(bag: Path, tmp_path: Path, engines: list[InlineEngine]) -> None:
    assert answered(bag, tmp_path / "one", "--temporal", "on") == 0
    assert answered(bag, tmp_path / "parts", "--temporal", "on", "--on", "local") == 0
    assert len(engines[0].submitted) == 1
    assert (tmp_path / "one" / "summary.json").read_bytes() == (tmp_path / "parts" / "summary.json").read_bytes()


def test_only_every_frame_is_shared(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["replay", str(bag), "--out", str(tmp_path / "out"), "--on", "local"]) == 2
    assert "--on shares what --every-frame answers" in capsys.readouterr().err


def test_an_evaluation_has_the_json_and_the_page_of_one_process(
    tmp_path: Path, engines: list[InlineEngine], capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2

    pairs = tmp_path / "pairs"
    pairs.mkdir()
    for number in range(3):
        rgb, depth = scene(number, 96, 128)
        cv2.imwrite(str(pairs / f"a{number}.png"), rgb)
        np.savez(pairs / f"a{number}.npz", depth=depth, fx=100.0, fy=100.0, cx=63.5, cy=47.5)
    assert read_photo(pairs / "a0.png").image.shape == (96, 128, 3)

    def evaluated(name: str, *options: str) -> int:
        results = ("--json", str(tmp_path / f"{name}.json"), "--html", str(tmp_path / f"{name}.html"))
        return cli.main(["evaluate", str(pairs), *SMALL, *results, *options])

    assert evaluated("one", "--no-times") == 0
    assert evaluated("parts", "--on", "local", "--workers", "2") == 0
    assert len(engines[0].submitted) == 3
    for kind in ("json", "html"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"parts.{kind}").read_bytes()
    assert evaluated("video", "--on", "local", "--temporal", "on") == 2
    assert "the images are one video" in capsys.readouterr().err


def test_a_part_is_read_from_where_it_is_and_knows_what_came_before(tmp_path: Path) -> None:
    def message(number: int, is_image: bool, at_ns: int) -> tuple[BagMessage, bool]:
        topic = "/image" if is_image else "/info"
        return BagMessage(topic, at_ns, info_message(START_NS + number, 4, 4, 1.0)), is_image

    stream = [
        message(0, False, 0),
        *(message(number, True, 10 * (number // 2)) for number in range(6)),  # two of each time
        message(7, False, 25),
        message(8, True, 30),
    ]
    parts = divided(stream, 1.5e-8, warm=1)
    assert [(part.first, part.count, part.since_ns, part.skipped, part.warm) for part in parts] == [
        (0, 4, 0, 0, 0),
        (4, 3, 10, 1, 1),
    ]
    assert [len(list(part.infos())) for part in parts] == [1, 1]
    assert divided([], 1.0, 0) == []


def test_a_camera_info_that_is_that_of_the_part_before_is_not_copied_again() -> None:
    info, image = (TimedMessage(0.0, topic, topic.encode() * 9) for topic in ("/info", "/image"))
    source = SimpleNamespace(
        image_topic="/image",
        info_topic="/info",
        types={"/image": "sensor_msgs/msg/Image", "/info": "sensor_msgs/msg/CameraInfo"},
        stream=lambda part: iter([info, image, info, image]),
    )
    written: list[str] = []
    bag = SimpleNamespace(write_bytes=lambda topic, *message: written.append(topic))
    assert len(list(_copied(source, BagPart(2, 2, 0, 0, 0, b""), bag))) == 4  # type: ignore[arg-type]
    assert written == ["/image", "/image"]
    assert len(list(_copied(source, BagPart(0, 2, 0, 0, 0, b""), bag))) == 4  # type: ignore[arg-type]
    assert written == ["/image", "/image", "/info", "/image", "/image"]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_the_parts_of_a_bag_are_its_stream(tmp_path: Path, storage: str) -> None:
    source = BagSource(write_bag(tmp_path / "bag", storage, frames=7, height=8, width=8), limit=6)
    whole = [message.data for message in source.stream() if message.topic == source.image_topic]
    parts = source.parts(0.25)
    assert [part.count for part in parts] == [3, 3]
    found = [message.data for part in parts for message in source.stream(part) if message.topic == source.image_topic]
    assert found == whole and len(whole) == 6
    (_, second) = source.parts(0.25, warm=2)
    warmed = [message.data for message in source.stream(second) if message.topic == source.image_topic]
    assert warmed == whole[1:]
