"""Bags in which something is broken, through the node: each image is accounted for, and there is always a summary."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.evaluation.data.bag import Bag, with_stamp
from test.evaluation.bags import PERIOD_NS, START_NS, write_bag
from test.evaluation.mcap_writer import Stream, write_mcap

HEIGHT, WIDTH, FRAMES = 48, 64, 4
IMAGE, DEPTH = "/camera/image", "/camera/depth"
STAMPS = [START_NS + i * PERIOD_NS for i in range(FRAMES)]

Change = Callable[[str, int, bytes], bytes]


def replay(bag: Path, out: Path, *options: str) -> int:
    return cli.main(["replay", str(bag), "--out", str(out), "--budget", "0.02", *options])


def told(out: Path) -> Any:
    assert (out / "summary.md").exists() and (out / "summary.html").exists()
    return json.loads((out / "summary.json").read_text(), parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))


def changed(folder: Path, change: Change, **how: Any) -> Path:
    """A bag whose messages are ``change`` of topic, place among them and data of those of a sound one. how: see ``mcap_bytes``."""
    messages: dict[str, list[tuple[int, bytes]]] = {}
    with Bag(write_bag(folder / "sound", "mcap", frames=FRAMES, height=HEIGHT, width=WIDTH)) as bag:
        for message in bag.messages(list(bag.topics)):
            some = messages.setdefault(message.topic, [])
            some.append((message.time_ns, change(message.topic, len(some), message.data)))
        streams = [Stream(topic, bag.topics[topic].msgtype, some) for topic, some in messages.items()]
    return write_mcap(folder / "bag.mcap", streams, **how)


def stamped(stamps: list[int]) -> Change:
    return lambda topic, place, data: with_stamp(data, stamps[place])


def broken(*places: int, keep: int = 100) -> Change:
    """Images that end after ``keep`` bytes."""
    return lambda topic, place, data: data[:keep] if topic == IMAGE and place in places else data


REPEATED = {
    "one duplicate": [STAMPS[0], STAMPS[1], STAMPS[1], STAMPS[3]],
    "all zero": [0] * FRAMES,
    "looped": STAMPS[:2] * 2,
}


@pytest.mark.parametrize("stamps", REPEATED.values(), ids=REPEATED)
def test_images_that_share_stamps_are_all_answered_and_compared(tmp_path: Path, stamps: list[int]) -> None:
    bag = changed(tmp_path, stamped(stamps))
    for out in ("one", "two"):
        assert replay(bag, tmp_path / out, "--every-frame", "--depth-topic", DEPTH) == 0
    document = told(tmp_path / "one")
    assert document["frames"]["answered"] == document["frames"]["played"] == FRAMES
    assert "have the stamp of another one" in document["facts"]["remarks"]
    assert (
        replay(
            write_bag(tmp_path / "plain", "mcap", frames=FRAMES), tmp_path / "plain_out", "--every-frame", "--depth-topic", DEPTH
        )
        == 0
    )
    figures = [entry["methods"]["refined"]["abs_rel"] for entry in told(tmp_path / "plain_out")["accuracy"]["frames"]]
    assert [entry["methods"]["refined"]["abs_rel"] for entry in document["accuracy"]["frames"]] == figures
    assert (tmp_path / "one/summary.json").read_bytes() == (tmp_path / "two/summary.json").read_bytes()
    rows = list(csv.DictReader((tmp_path / "one/frames.csv").read_text().splitlines()))
    assert [int(row["stamp_ns"]) for row in rows] == stamps and all(float(row["total_ms"]) > 0 for row in rows)
    with Bag(tmp_path / "one/bag") as written:
        assert written.topics[IMAGE].count == written.topics["/depth_retrofit/depth/image_rect"].count == FRAMES


@pytest.mark.parametrize("keep", [0, 11, 30, 100])
@pytest.mark.parametrize("places", [(0,), (1, 2), (3,)])
def test_a_broken_image_costs_that_image(
    tmp_path: Path, places: tuple[int, ...], keep: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay(changed(tmp_path, broken(*places, keep=keep)), tmp_path / "out", "--every-frame", "--depth-topic", DEPTH) == 0
    document = told(tmp_path / "out")
    frames = document["frames"]
    assert (frames["played"], frames["answered"], frames["failed"]) == (FRAMES, FRAMES - len(places), len(places))
    assert document["accuracy"]["evaluated"] == FRAMES - len(places)
    with np.load(tmp_path / "out/frames/000000.npz", allow_pickle=False) as stored:
        assert int(stored["stamp_ns"]) == STAMPS[1 if 0 in places else 0]
    assert f"the last failed image: a message of {keep} bytes is no Image" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["--every-frame", "--realtime"])
def test_where_every_image_is_broken_there_is_a_summary_and_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    assert replay(changed(tmp_path, broken(*range(FRAMES))), tmp_path / "out", mode) == 1
    frames = told(tmp_path / "out")["frames"]
    assert (frames["played"], frames["answered"], frames["failed"]) == (FRAMES, 0, FRAMES)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert line.startswith("depth-retrofit: error: none of the 4 images was answered (played 4 = answered 0")
    assert "is no Image" in line


@pytest.mark.parametrize("stamps", REPEATED.values(), ids=REPEATED)
def test_live_each_image_is_accounted_for_whatever_its_stamp(tmp_path: Path, stamps: list[int]) -> None:
    bag = changed(tmp_path, stamped(stamps))
    assert replay(bag, tmp_path / "out", "--rate", "0.2", "--depth-topic", DEPTH) == 0
    document = told(tmp_path / "out")
    frames = document["frames"]
    assert frames["played"] == FRAMES == frames["answered"] + frames["dropped"] + frames["failed"] + frames["lost"]
    assert frames["recorded"] == frames["answered"] == len(list((tmp_path / "out/frames").glob("*.npz")))
    evaluated = document["accuracy"]["evaluated"] if document["accuracy"] else 0
    unknown = "answers have a stamp that several images share" in document["facts"].get("remarks", "")
    assert unknown == (evaluated < frames["answered"])


def test_a_killed_recorder_s_file_is_replayed_and_the_remedy_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = changed(tmp_path, lambda topic, place, data: data, chunk=1, end=False)
    data = bag.read_bytes()
    bag.write_bytes(data[: len(data) * 3 // 4])
    assert replay(bag, tmp_path / "out", "--every-frame") == 0
    assert told(tmp_path / "out")["frames"]["answered"] == 3
    assert "note: bag.mcap has no end" in capsys.readouterr().out
    assert "mcap recover bag.mcap" in told(tmp_path / "out")["facts"]["remarks"]
