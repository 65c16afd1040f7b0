"""Whatever of an MCAP file is missing or damaged, the rest of it is read, and what is lost is told."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data import mcap
from depth_retrofit_ros.evaluation.data.bag import IMAGE_TYPE, INFO_TYPE, Bag
from depth_retrofit_ros.evaluation.data.compression import expand
from test.evaluation.mcap_writer import MAGIC, Stream, mcap_bytes, write_mcap

COUNT = 10
STREAMS = [
    Stream("/a", IMAGE_TYPE, [(100 * i, b"\0\1" + bytes([i]) * (200 + i)) for i in range(COUNT)]),
    Stream("/b", INFO_TYPE, [(100 * i + 7, b"\0\1" + bytes([100 + i]) * 40) for i in range(COUNT)]),
]
ALL = sorted((time, stream.topic, data) for stream in STREAMS for time, data in stream.messages)


def read(path: Path) -> tuple[list[tuple[int, str, bytes]], list[str]]:
    with Bag(path) as bag:
        messages = [(m.time_ns, m.topic, m.data) for m in bag.messages(list(bag.topics))]
        assert all("\n" not in line for line in bag.problems)
        return messages, bag.problems


@pytest.mark.parametrize("compression", ["", "zstd", "lz4"])
@pytest.mark.parametrize(("chunk", "index", "summary"), [*itertools.product([0, 1, 3, 100], [True, False], [True, False])])
def test_indexes_and_summary_are_used_or_done_without(
    tmp_path: Path, compression: str, chunk: int, index: bool, summary: bool
) -> None:
    path = write_mcap(tmp_path / "a.mcap", STREAMS, compression=compression, chunk=chunk, index=index, summary=summary)
    assert read(path) == (ALL, [])
    with Bag(path) as bag:
        assert {name: (entry.msgtype, entry.count) for name, entry in bag.topics.items()} == {
            "/a": (IMAGE_TYPE, COUNT),
            "/b": (INFO_TYPE, COUNT),
        }
        assert bag.duration_s == pytest.approx(907e-9)


@pytest.mark.parametrize("compression", ["", "zstd", "lz4"])
@pytest.mark.parametrize("chunk", [0, 3])
def test_a_killed_recorder_s_file_is_read_to_its_end(tmp_path: Path, compression: str, chunk: int) -> None:
    messages, problems = read(write_mcap(tmp_path / "a.mcap", STREAMS, compression=compression, chunk=chunk, end=False))
    assert messages == ALL
    (problem,) = problems
    assert "has no end" in problem and "'mcap recover a.mcap -o NEW.mcap'" in problem


def test_of_a_chunk_that_is_cut_what_is_whole_is_read(tmp_path: Path) -> None:
    place, end = mcap_bytes(STREAMS, compression="", chunk=100).places[0]
    messages, problems = read(write_mcap(tmp_path / "a.mcap", STREAMS, compression="", chunk=100, cut=(place + end) // 2))
    assert 5 < len(messages) < len(ALL) and messages == ALL[: len(messages)]
    assert len(problems) == 1


@given(st.data())
def test_wherever_it_is_cut_the_beginning_is_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    chunk = data.draw(st.sampled_from([0, 3]))
    how: dict[str, Any] = {"compression": data.draw(st.sampled_from(["", "zstd", "lz4"])), "chunk": chunk}
    whole = mcap_bytes(STREAMS, **how)
    cut = data.draw(st.integers(0, len(whole.data) - 1))
    path = tmp_path_factory.mktemp("cut") / "a.mcap"
    path.write_bytes(whole.data[:cut])
    if cut < len(MAGIC):
        with pytest.raises(BagError, match=r"^cannot read the bag [^\n]*$"):
            read(path)
        return
    messages, problems = read(path)
    sound = sum(end <= cut for _, end in whole.places) * max(1, chunk)
    assert messages == ALL[: len(messages)] and len(messages) >= min(sound, len(ALL))
    # Without the last bytes, the magic behind the footer, nothing is missing.
    assert problems or (messages == ALL and cut >= len(whole.data) - len(MAGIC))


@pytest.mark.parametrize("compression", ["", "zstd", "lz4"])
def test_a_damaged_chunk_costs_its_own_messages(tmp_path: Path, compression: str) -> None:
    begin, end = mcap_bytes(STREAMS, compression=compression).places[2]
    path = write_mcap(tmp_path / "a.mcap", STREAMS, compression=compression, damage={(begin + end) // 2 + 20: b"\x55\xaa\x55"})
    messages, problems = read(path)
    assert messages == ALL[:6] + ALL[9:]
    assert len(problems) == 1 and "1 of 7 chunks are damaged" in problems[0] and "3 messages in them lost" in problems[0]


def test_behind_a_destroyed_record_chunks_are_found_by_the_index(tmp_path: Path) -> None:
    begin, _ = mcap_bytes(STREAMS).places[2]
    messages, problems = read(write_mcap(tmp_path / "a.mcap", STREAMS, damage={begin: b"\0" * 20}))
    assert messages == ALL[:6] + ALL[9:]
    assert "is damaged at byte" in problems[0] and "4 chunks behind it were found" in problems[0]


def test_a_tail_of_zeros_as_after_a_power_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(mcap_bytes(STREAMS, end=False).data + bytes(5000))
    messages, problems = read(path)
    assert messages == ALL and len(problems) == 1


@pytest.mark.parametrize("kind", [("json", "jsonschema"), ("protobuf", "protobuf"), ("ros1", "ros1msg"), ("", "")])
def test_what_is_no_ros_2_lies_beside_it_unread(tmp_path: Path, kind: tuple[str, str]) -> None:
    other = Stream("/other", "Event", [(50, b"{}"), (60, b"")], *kind)
    bare = Stream("/bare", "", [(55, b"{}")], kind[0])
    path = write_mcap(tmp_path / "a.mcap", [other, *STREAMS, bare])
    assert read(path) == (ALL, [])
    with Bag(path) as bag:
        assert set(bag.foreign) == {"/other", "/bare"}
        with pytest.raises(BagError, match=f"topic /other holds {kind[0] or 'an unknown encoding'}, not ROS 2 messages"):
            bag.msgtype("/other", (IMAGE_TYPE,))


def test_unknown_types_no_schema_and_another_profile_do_not_matter(tmp_path: Path) -> None:
    others = [Stream("/mine", "my_msgs/msg/Odd", [(1, b"\0\1abc")]), Stream("/bare", "", [(2, b"\0\1")])]
    path = write_mcap(tmp_path / "a.mcap", [*others, *STREAMS], profile="")
    with Bag(path) as bag:
        assert bag.topics["/mine"].msgtype == "my_msgs/msg/Odd" and bag.topics["/a"].count == COUNT
        assert [m.data for m in bag.messages(["/bare"])] == [b"\0\1"]
        with pytest.raises(BagError, match="topic /bare holds messages of no stated type, not Image; the Image topics of the bag"):
            bag.msgtype("/bare", (IMAGE_TYPE,))


def test_an_index_that_promises_messages_which_are_not_there(tmp_path: Path) -> None:
    """The index of the first chunk's first channel is turned into one of a channel without messages."""
    written = mcap_bytes([*STREAMS, Stream("/empty", IMAGE_TYPE, [])])
    _, end = written.places[0]
    data = bytearray(written.data)
    data[end + 9 : end + 11] = b"\2\0"
    (tmp_path / "a.mcap").write_bytes(data)
    with Bag(tmp_path / "a.mcap") as bag:
        assert bag.topics["/empty"].count == 0 and bag.topics["/a"].count == COUNT
        assert bag.first("/empty") is None and list(bag.messages(["/empty"])) == []
        with pytest.raises(BagError, match=r"topic /empty of a\.mcap has no messages"):
            bag.msgtype("/empty", (IMAGE_TYPE,))


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("chunk", [3, 100])
def test_an_index_that_forgets_a_channel_is_not_believed(tmp_path: Path, chunk: int, statistics: bool) -> None:
    path = write_mcap(tmp_path / "a.mcap", STREAMS, chunk=chunk, forgotten=[0], statistics=statistics)
    with Bag(path) as bag:
        assert bag.topics["/a"].count == bag.topics["/b"].count == COUNT
    assert read(path) == (ALL, [])


def test_nothing_is_decompressed_where_the_statistics_agree_with_the_indexes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although most chunks have no message of most channels."""
    rare = [*STREAMS, Stream("/rare", INFO_TYPE, [(1, b"\0\1")])]
    path = write_mcap(tmp_path / "a.mcap", rare, chunk=1, statistics=True)
    loaded: list[int] = []

    def noted(data: bytes, compression: str, size: int) -> tuple[bytes, str | None]:
        loaded.append(size)
        return expand(data, compression, size)

    monkeypatch.setattr(mcap, "expand", noted)
    with Bag(path) as bag:
        assert {name: topic.count for name, topic in bag.topics.items()} == {"/a": COUNT, "/b": COUNT, "/rare": 1}
        assert loaded == []
        assert len(list(bag.messages(["/rare"]))) == 1


def test_chunks_that_overlap_come_in_the_order_of_time(tmp_path: Path) -> None:
    late = Stream("/a", IMAGE_TYPE, [(0, b"\0\1x"), (900, b"\0\1y")])
    early = Stream("/b", IMAGE_TYPE, [(450, b"\0\1z")])
    first, second = mcap_bytes([late], chunk=9, end=False), mcap_bytes([early, late], chunk=1, end=False)
    begin, end = second.places[1]  # the chunk of /b alone, as channel 0: the definitions of the first file make it /a
    (tmp_path / "a.mcap").write_bytes(first.data + second.data[begin:end])
    assert [time for time, _, _ in read(tmp_path / "a.mcap")[0]] == [0, 450, 900]


@given(st.data())
def test_any_change_of_bytes_gives_messages_or_one_line(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    compression = data.draw(st.sampled_from(["", "zstd", "lz4"]))
    raw = bytearray(mcap_bytes(STREAMS, compression=compression, summary=data.draw(st.booleans())).data)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(raw) - 1))
        change = data.draw(
            st.sampled_from([b"\0", b"\xff", b"\xff\xff\xff\xff\xff\xff\xff\x7f"]) | st.binary(min_size=1, max_size=8)
        )
        raw[place : place + len(change)] = change
    path = tmp_path_factory.mktemp("fuzz") / "a.mcap"
    path.write_bytes(raw)
    try:
        read(path)
    except BagError as error:
        assert "\n" not in str(error)
