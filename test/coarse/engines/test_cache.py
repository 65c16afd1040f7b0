"""Programs on disk: read while nothing has changed, made anew where anything is odd, and never half there."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

from depth_retrofit_ros.coarse.engines import cache
from depth_retrofit_ros.coarse.engines.base import Source
from depth_retrofit_ros.coarse.engines.cache import (
    Key,
    ProgramCache,
    code_digest,
    described,
    discard,
    engines_folder,
    replaced,
    weights_digest,
)

KEY = {"model": "tiny", "gpu": "one"}


def _written(program: str, file: Path) -> None:
    file.write_text(program)


class Maker:
    """Makes programs that are words, and counts."""

    def __init__(self, folder: Path) -> None:
        self.cache, self.built = ProgramCache(folder), 0
        self.folders: list[Path | None] = []

    def __call__(self, key: Key = KEY, load: Callable[[Path], str] = Path.read_text) -> str:
        def build(folder: Path | None) -> str:
            self.built += 1
            self.folders.append(folder)
            return f"program {self.built}"

        return self.cache.program(key, build, _written, load)


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "engines")


def _kept(make: Maker) -> tuple[Path, Path]:
    """The program of ``KEY``, made and kept, and its note."""
    assert make() == "program 1"
    (program,), (note,) = make.cache.folder.glob("*.pt2"), make.cache.folder.glob("*.json")
    return program, note


def test_a_program_is_made_once_for_each_key(make: Maker) -> None:
    assert [make(), make(), make({**KEY, "gpu": "two"}), make(), make({**KEY, "gpu": "two"})] == [
        f"program {number}" for number in (1, 1, 2, 1, 2)
    ]
    assert make.folders == [make.cache.folder] * 2


def _cut(program: Path, note: Path) -> None:
    program.write_bytes(program.read_bytes()[:-1])


def _foreign(program: Path, note: Path) -> None:
    program.write_text("a program of somebody else")


def _gone(program: Path, note: Path) -> None:
    program.unlink()


def _note_cut(program: Path, note: Path) -> None:
    note.write_bytes(note.read_bytes()[:20])


def _note_foreign(program: Path, note: Path) -> None:
    note.write_text("[1, 2]\n")


def _note_without_digest(program: Path, note: Path) -> None:
    note.write_text(json.dumps({"key": KEY}))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_cut, "its SHA-256 is another"),
        (_foreign, "its SHA-256 is another"),
        (_gone, "it is gone"),
        (_note_cut, "is damaged"),
        (_note_foreign, "is damaged"),
        (_note_without_digest, "is damaged"),
    ],
)
def test_what_is_not_whole_is_told_and_made_anew(
    make: Maker, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path, Path], None], reason: str
) -> None:
    program, note = _kept(make)
    spoil(program, note)
    read: list[Path] = []

    def load(path: Path) -> str:
        read.append(path)
        return path.read_text()

    assert make(load=load) == "program 2" and read == [], "bytes that are not known are never read as a program"
    (line,) = caplog.messages
    assert line.startswith(f"{program} is not what was kept there (") and reason in line and line.endswith("): it is made anew")
    assert "\n" not in line
    assert make(load=load) == "program 2" and make.built == 2


def test_a_program_that_cannot_be_read_is_made_anew(make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    program, _ = _kept(make)

    def refuse(path: Path) -> str:
        raise RuntimeError("engine of another version\nmore")

    assert make(load=refuse) == "program 2"
    told = f"{program} is not what was kept there (RuntimeError: engine of another version): it is made anew"
    assert caplog.messages == [told]
    assert make() == "program 2"


def test_a_note_of_another_key_does_not_count(make: Maker) -> None:
    _, note = _kept(make)
    told = json.loads(note.read_text())
    note.write_text(json.dumps({**told, "key": {**KEY, "gpu": "two"}}))
    assert make() == "program 2"


def test_an_interrupted_write_leaves_nothing(make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    def fail(program: str, file: Path) -> None:
        file.write_text(program[:4])
        raise OSError(28, "No space left on device")

    assert make.cache.program(KEY, lambda folder: "made", fail, Path.read_text) == "made"
    assert [path.name for path in make.cache.folder.iterdir()] == ["lock"]
    (line,) = caplog.messages
    assert line.startswith(f"cannot keep a program in {make.cache.folder} (") and "No space left on device" in line
    assert line.endswith("each start makes it anew, unless DEPTH_RETROFIT_ENGINES is a folder that has room for it")
    assert make() == "program 1"


def test_without_a_folder_that_can_be_written_it_is_made_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    make = Maker(tmp_path / "file" / "engines")
    assert make() == "program 1" and make.folders == [None]
    (line,) = caplog.messages
    assert line.startswith(f"cannot keep a program in {tmp_path / 'file' / 'engines'} (Not a directory): each start makes it anew")


def test_who_comes_second_waits_and_reads_what_the_first_has_made(make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    make.cache.folder.mkdir()
    waiting, answers = threading.Event(), list[str]()

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == f"another process makes a program for {make.cache.folder}: waiting for it":
                waiting.set()

    logger, handler = logging.getLogger(cache.__name__), Heard()
    logger.addHandler(handler)
    second = threading.Thread(target=lambda: answers.append(make()))
    try:
        with caplog.at_level(logging.INFO), (make.cache.folder / "lock").open("wb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            second.start()
            assert waiting.wait(60)
            make.cache._keep(KEY, "of the first", _written)
    finally:
        second.join(60)
        logger.removeHandler(handler)
    assert answers == ["of the first"] and make.built == 0


def test_a_scratch_file_takes_the_place_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "timings.bin"
    with replaced(file, begin_with_it=True) as scratch:
        assert not scratch.exists()
        scratch.write_text("one")
        assert not file.exists()
    with replaced(file, begin_with_it=True) as scratch:
        assert scratch.read_text() == "one"
        scratch.write_text("one, two")
    with pytest.raises(KeyboardInterrupt), replaced(file) as scratch:
        scratch.write_text("three")
        raise KeyboardInterrupt
    with replaced(file):
        pass
    assert file.read_text() == "one, two" and os.listdir(tmp_path) == ["timings.bin"]


def test_of_more_than_it_may_hold_what_was_not_used_for_longest_goes(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [{**KEY, "gpu": str(number)} for number in range(4)]
    monkeypatch.setattr(cache, "LARGEST_MB", 2.5 * len("program 1") / 1e6)
    assert [make(key) for key in keys[:2]] == ["program 1", "program 2"]
    for age, note in enumerate(sorted(make.cache.folder.glob("*.json"), key=lambda note: note.read_text())):
        os.utime(note, (1000 + age, 1000 + age))  # 0 was used before 1
    make(keys[0])  # and now again
    make(keys[2])
    assert make.built == 3 and len(list(make.cache.folder.glob("*.pt2"))) == len(list(make.cache.folder.glob("*.json"))) == 2
    assert [make(keys[0]), make(keys[2])] == ["program 1", "program 3"] and make(keys[1]) == "program 4"


def test_what_an_interrupted_write_left_goes_with_the_next_program(make: Maker) -> None:
    program, note = _kept(make)
    orphan, strangers = program.with_name(f"tiny-{'0' * 16}.pt2"), program.with_name("timings-one-9.0.bin")
    partial = program.with_name(f"partial-tiny-{'1' * 16}.pt2")
    for path in (orphan, strangers, partial):
        path.write_text("x")
    make({**KEY, "gpu": "two"})
    assert not orphan.exists() and not partial.exists()
    assert strangers.exists() and program.exists() and note.exists()


@pytest.mark.parametrize("spoil", ["cut", "one file less", "one file more"])
def test_a_program_may_be_a_folder_and_all_of_its_bytes_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    kept, built = ProgramCache(tmp_path, suffix=""), list[int]()

    def program(key: Key = KEY) -> str:
        def build(folder: Path | None) -> str:
            built.append(1)
            return f"program {len(built)}"

        def save(program: str, folder: Path) -> None:
            folder.mkdir()
            (folder / "network").write_text(program)
            (folder / "network.data").write_text("weights")

        return kept.program(key, build, save, lambda folder: (folder / "network").read_text())

    assert [program(), program()] == ["program 1"] * 2 and caplog.messages == []
    folder, beside = kept.file(KEY), tmp_path / f"{kept.file(KEY).name}.own"
    beside.mkdir()
    (beside / "blob").write_text("made of it")
    if spoil == "cut":
        (folder / "network.data").write_text("weight")
    elif spoil == "one file less":
        (folder / "network.data").unlink()
    else:
        (folder / "another").touch()
    assert [program(), program()] == ["program 2"] * 2
    assert caplog.messages == [f"{folder} is not what was kept there (its SHA-256 is another): it is made anew"]
    assert not beside.exists(), "it was made of the other one"
    beside.mkdir()
    (beside / "blob").write_bytes(bytes(1000))
    monkeypatch.setattr(cache, "LARGEST_MB", 1e-3)
    program({**KEY, "gpu": "two"})
    assert not beside.exists() and not folder.exists(), "what an engine made of a program counts, and goes with it"


def test_a_program_that_answers_something_else_is_dropped(make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    inputs = (torch.zeros(1, 3, 4, 5), torch.zeros(1))
    key = {**KEY, "inputs": described(inputs)}
    other = {**KEY, "inputs": described(inputs[:1])}
    assert key["inputs"] == "(1, 3, 4, 5) torch.float32, (1,) torch.float32"
    assert [make(key), make(other), make(key)] == ["program 1", "program 2", "program 1"]
    with caplog.at_level(logging.INFO):
        assert discard(Source("tiny", "any"), inputs)
    assert caplog.messages == [f"program of tiny removed from {make.cache.file(key)}"]
    assert not discard(Source("tiny", "any"), inputs), "once"
    assert not discard(Source("another", "any"), inputs)
    assert [make(other), make(key)] == ["program 2", "program 3"]


def test_a_program_of_tensorrt_is_dropped_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from test.coarse.engines.test_tensorrt import HERE, built, planes
    from test.coarse.engines.torch_tensorrt_stand_in import installed

    stand_in = installed(monkeypatch)
    built(tmp_path)
    assert discard(HERE, (planes(),)) and not list(tmp_path.glob("*.pt2"))
    built(tmp_path)
    assert len(stand_in.builds) == 2


def test_the_folder_is_the_user_s_own_or_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEPTH_RETROFIT_ENGINES", str(tmp_path / "own"))
    assert engines_folder() == tmp_path / "own"
    monkeypatch.delenv("DEPTH_RETROFIT_ENGINES")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert engines_folder() == tmp_path / "depth_retrofit_ros" / "engines"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert engines_folder() == tmp_path / "home" / ".cache" / "depth_retrofit_ros" / "engines"


def test_code_is_that_of_the_models_and_of_whoever_defines_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tmp_path / "their_network_of_a_test.py"
    theirs.write_text("from torch import nn\nclass Net(nn.Linear):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = import_module("their_network_of_a_test")

    ours, net = code_digest(nn.Linear(1, 1)), module.Net(1, 1)
    before = code_digest(net)
    assert len({ours, before}) == 2 and code_digest(module.Net(1, 1)) == before
    theirs.write_text(theirs.read_text() + "# changed\n")
    assert code_digest(net) != before and code_digest(nn.Linear(1, 1)) == ours
    monkeypatch.setattr(module, "__version__", "2", raising=False)
    theirs.write_text(theirs.read_text().removesuffix("# changed\n"))
    assert code_digest(net) != before

    before = code_digest(net)
    net.scale = 2.0  # a setting, such as one of a config.json
    assert code_digest(net) != before

    folder = tmp_path / "coarse"
    (folder / "networks").mkdir(parents=True)
    monkeypatch.setattr(cache, "_CODE", folder)
    empty = code_digest(nn.Linear(1, 1))
    (folder / "networks" / "new.py").write_text("X = 1\n")
    assert code_digest(nn.Linear(1, 1)) != empty != ours


def test_a_package_s_other_modules_are_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "their_package_of_a_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "net.py").write_text("from torch import nn\nclass Net(nn.Linear):\n    pass\n")
    (package / "helpers.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    net = import_module("their_package_of_a_test.net").Net(1, 1)
    before = code_digest(net)
    (package / "helpers.py").write_text("X = 2\n")
    assert code_digest(net) != before


def test_a_configuration_is_a_setting_whatever_the_weights() -> None:
    from test.coarse import tiny_networks

    pytest.importorskip("transformers")
    digests = []
    for depth in (10, 20, 10):
        digests.append(code_digest(tiny_networks.depth_anything(depth_estimation_type="metric", max_depth=depth)))
    assert digests[0] == digests[2] != digests[1]


def test_weights_are_told_by_every_value_and_name() -> None:
    torch.manual_seed(0)
    net = nn.BatchNorm1d(3).to(torch.bfloat16)
    before = weights_digest(net)
    assert weights_digest(net) == before
    for change in (lambda: net.weight.data[0].add_(1), lambda: net.get_buffer("num_batches_tracked").add_(1), net.float):
        change()
        after = weights_digest(net)
        assert after != before
        before = after
