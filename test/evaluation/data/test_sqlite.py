"""A damaged page of an SQLite bag costs the messages on it; what its recorder left in a journal is read too."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.bag import IMAGE_TYPE, Bag
from test.evaluation.bags import write_bag

FRAMES = 8


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A sound file, of images of 9 kB, which fill pages of their own."""
    folder = write_bag(tmp_path_factory.mktemp("whole") / "bag", "sqlite3", frames=FRAMES)
    return (folder / "bag.db3").read_bytes()


def read(path: Path) -> tuple[list[tuple[str, int, bytes]], list[str]]:
    with Bag(path) as bag:
        messages = [(m.topic, m.time_ns, m.data) for m in bag.messages(list(bag.topics))]
        assert all("\n" not in line for line in bag.problems)
        return messages, bag.problems


@pytest.fixture
def sound(tmp_path: Path, whole: bytes) -> list[tuple[str, int, bytes]]:
    (tmp_path / "sound.db3").write_bytes(whole)
    messages, problems = read(tmp_path / "sound.db3")
    assert len(messages) == 3 * FRAMES and problems == []
    return messages


@pytest.mark.parametrize("keep", [0.5, 0.8, 0.95, 0.99])
def test_of_a_file_that_was_cut_the_rest_is_read(
    tmp_path: Path, whole: bytes, sound: list[tuple[str, int, bytes]], keep: float
) -> None:
    (tmp_path / "cut.db3").write_bytes(whole[: int(len(whole) * keep)])
    messages, problems = read(tmp_path / "cut.db3")
    assert 2 < len(messages) < len(sound) and set(messages) < set(sound)
    assert [time for _, time, _ in messages] == sorted(time for _, time, _ in messages)
    (problem,) = problems
    assert "cut.db3 is damaged" in problem and "copy it from its source again" in problem


def test_a_destroyed_page_costs_what_lies_on_it(tmp_path: Path, whole: bytes, sound: list[tuple[str, int, bytes]]) -> None:
    (page,) = {int.from_bytes(whole[16:18], "big")}
    middle = len(whole) // page // 2 * page
    (tmp_path / "hole.db3").write_bytes(whole[:middle] + b"\xff" * page + whole[middle + page :])
    messages, problems = read(tmp_path / "hole.db3")
    sound_ones = [message for message in messages if message in sound]
    assert len(sound_ones) >= len(sound) - 4
    assert len(messages) == len(sound) or problems  # pages of pixels have no checksum: one may be a message with other pixels


def test_what_its_recorder_left_in_the_journal_is_read_and_nothing_is_written(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "live.db3")
    database.execute("PRAGMA journal_mode=WAL")
    database.executescript(
        "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT, offered_qos_profiles TEXT);"
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB);"
        f"INSERT INTO topics VALUES (1, '/a', '{IMAGE_TYPE}', 'cdr', ''), (2, '/b', 'x', 'json', '')"
    )
    database.executemany("INSERT INTO messages VALUES (NULL, 1, ?, ?)", [(30, b"\0\1c"), (10, b"\0\1a"), (20, b"\0\1b")])
    database.execute("INSERT INTO messages VALUES (NULL, 2, 15, ?), (NULL, 9, 16, ?)", (b"{}", b"of no topic"))
    database.commit()
    killed = tmp_path / "killed"
    killed.mkdir()
    for file in tmp_path.glob("live.db3*"):  # as they are while the recorder runs
        shutil.copy(file, killed)
    database.close()
    assert (killed / "live.db3-wal").stat().st_size > 0
    before = {file.name: file.read_bytes() for file in killed.iterdir()}
    for path in (killed / "live.db3", killed):  # a recorder that was killed has not written metadata.yaml
        assert read(path)[0] == [("/a", 10, b"\0\1a"), ("/a", 20, b"\0\1b"), ("/a", 30, b"\0\1c")]
    assert {file.name: file.read_bytes() for file in killed.iterdir()} == before
    with Bag(killed) as bag:
        assert bag.foreign == {"/b": "json"}


def test_a_database_of_something_else(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "other.db3")
    database.execute("CREATE TABLE addresses(name TEXT)")
    database.close()
    with pytest.raises(BagError, match=r"^cannot read the bag [^\n]*no such table: topics[^\n]*$"):
        read(tmp_path / "other.db3")


def test_rows_without_data_are_counted(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "null.db3"
    path.write_bytes(whole)
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE copy AS SELECT * FROM messages")
    database.execute("DROP TABLE messages")
    database.execute("ALTER TABLE copy RENAME TO messages")
    database.execute("UPDATE messages SET data = NULL WHERE id = 3")
    database.execute("UPDATE messages SET timestamp = 'noon' WHERE id = 4")
    database.commit()
    database.close()
    messages, problems = read(path)
    assert len(messages) == 3 * FRAMES - 2
    assert "1 messages are lost" in problems[0]


@given(st.data())
def test_any_damage_gives_messages_or_one_line(tmp_path_factory: pytest.TempPathFactory, whole: bytes, data: st.DataObject) -> None:
    raw = bytearray(whole[: data.draw(st.integers(1, len(whole)))])
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        raw[place : place + 40] = data.draw(st.sampled_from([b"\0" * 40, b"\xff" * 40, b"\x7f\xff\xff\xff"]))
    path = tmp_path_factory.mktemp("fuzz") / "a.db3"
    path.write_bytes(raw)
    try:
        read(path)
    except BagError as error:
        assert "\n" not in str(error)
