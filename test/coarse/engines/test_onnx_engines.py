"""ONNX Runtime and OpenVINO answer what the network answers, from a file that is written once."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from depth_retrofit_ros.coarse.engines import onnx_file as kept
from depth_retrofit_ros.coarse.engines.base import Source, Tensors
from depth_retrofit_ros.coarse.engines.cache import FOLDER_VARIABLE, discard
from depth_retrofit_ros.coarse.engines.onnx_file import NAME, loaded_from_onnx
from depth_retrofit_ros.coarse.engines.registry import load_engine
from depth_retrofit_ros.coarse.engines.self_check import compare
from depth_retrofit_ros.errors import ModelError
from test.coarse.engines.models import CASES, recorded
from test.coarse.engines.test_networks import others_like
from test.waiting import run_python, same_imports

ENGINES = ("onnxruntime", "openvino")
# One input; two, the second a number; two, the second a map; and a transformer among them.
SOME = ("compact", "meter nyu", "moge", "prompt, with a prompt")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", SOME)
def test_a_program_answers_what_the_network_does(name: str, engine: str) -> None:
    pytest.importorskip(engine)
    _, network, recorder = recorded(CASES[name])
    first, second = recorder.inputs, others_like(recorder.inputs)
    with torch.inference_mode():  # as frames come
        program = load_engine(engine).compile(network, first, torch.float32, Source(name, ""))
        answers = [program(*first), program(*second)]  # the first must not be written over by the second
        for inputs, given in zip((first, second), answers, strict=True):
            expected = network(*inputs)
            assert [(t.shape, t.dtype) for t in given] == [(t.shape, torch.float32) for t in expected]
            agreement = compare(expected, given)
            assert agreement.largest < 1e-3 and agreement.overlap > 0.98, agreement
    assert not torch.equal(answers[0][0], answers[1][0])


@pytest.mark.parametrize("engine", ENGINES)
def test_inputs_in_another_layout_of_memory_are_read_alike(engine: str) -> None:
    pytest.importorskip(engine)
    _, network, recorder = recorded(CASES["compact"])
    (planes,) = recorder.inputs
    program = load_engine(engine).compile(network, (planes,), torch.float32, Source("compact", ""))
    with torch.inference_mode():
        plain, turned = (program(planes.contiguous(memory_format=form)) for form in (torch.contiguous_format, torch.channels_last))
    assert torch.equal(plain[0], turned[0])


def test_openvino_in_bfloat16_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("no bfloat16 in this processor")
    _, network, recorder = recorded(CASES["meter nyu"])
    program = load_engine("openvino").compile(network, recorder.inputs, torch.bfloat16, Source("meter nyu", ""))
    with torch.inference_mode():
        agreement = compare(network(*recorder.inputs), program(*recorder.inputs))
    assert 1e-5 < agreement.median < 0.2, agreement


def test_openvino_refuses_bfloat16_that_would_be_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino")
    monkeypatch.setattr(openvino.Core, "get_property", lambda self, device, name: ["FP32"])
    _, network, recorder = recorded(CASES["compact"])
    with pytest.raises(ModelError, match=r"no bfloat16 on this processor: use coarse precision float32$"):
        load_engine("openvino").compile(network, recorder.inputs, torch.bfloat16, Source("compact", ""))


class Written:
    """Files are written without being exported; the shapes they are written for, and the files that were loaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.loaded: list[tuple[Path, Path | None]] = []
        self.fails = False
        monkeypatch.setattr(kept, "export_onnx", self._export)
        monkeypatch.setattr(kept, "save_onnx", lambda program, file: file.write_bytes(program))

    def _export(self, network: torch.nn.Module, inputs: Tensors, name: str) -> bytes:
        self.shapes.append(tuple(inputs[0].shape))
        return b"a network"

    def _load(self, file: Path, folder: Path | None) -> bytes:
        if self.fails:
            raise RuntimeError("no such operation\nmore")
        self.loaded.append((file, folder))
        return file.read_bytes()

    def __call__(self, network: torch.nn.Module | None = None, side: int = 8, digest: str = "a") -> None:
        inputs = (torch.zeros(1, 3, side, side),)
        assert loaded_from_onnx(network or torch.nn.Identity(), inputs, Source("m", digest), "onnx", self._load) == b"a network"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Written:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return Written(monkeypatch)


def test_the_file_is_written_once_for_a_size_and_a_checkpoint(written: Written, tmp_path: Path) -> None:
    for side, digest in ((8, "a"), (8, "a"), (16, "a"), (8, "b"), (8, "a")):
        written(side=side, digest=digest)
        file, folder = written.loaded[-1]
        assert file.is_file() and tmp_path in file.parents
        assert folder is not None and folder.parent == file.parent.parent and folder.name == f"{file.parent.name}.onnx"
    assert [shape[-1] for shape in written.shapes] == [8, 16, 8]
    assert not list(tmp_path.rglob("partial-*"))


@pytest.mark.parametrize("fact", ["code_digest", "_version"])
def test_other_code_and_another_version_mean_another_file(written: Written, monkeypatch: pytest.MonkeyPatch, fact: str) -> None:
    for told in ("one", "two", "one"):
        monkeypatch.setattr(kept, fact, lambda of, told=told: told)
        written()
    assert len(written.shapes) == 2


def test_the_key_has_the_versions_of_what_writes_and_reads(written: Written, tmp_path: Path) -> None:
    written()
    (note,) = (tmp_path / "onnx").glob("*.json")
    key = json.loads(note.read_text())["key"]
    for package in ("onnx", "onnxscript", "onnx-ir", "torch"):
        assert key[package] == version(package)


def test_one_that_answers_something_else_is_dropped_and_written_anew(written: Written) -> None:
    written()
    written(side=16)
    assert discard(Source("m", "a"), (torch.zeros(1, 3, 8, 8),))
    written()
    written(side=16)
    assert [shape[-1] for shape in written.shapes] == [8, 16, 8]


def test_without_a_checkpoint_the_weights_tell_networks_apart(written: Written) -> None:
    for value in (0.0, 1.0, 0.0):
        network = torch.nn.Conv2d(3, 1, 1)
        torch.nn.init.constant_(network.weight, value)
        torch.nn.init.zeros_(network.bias)  # type: ignore[arg-type]
        written(network, digest="")
    assert len(written.shapes) == 2


def test_a_folder_that_cannot_be_written_costs_the_cache_alone(
    written: Written, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "a file"
    blocked.touch()
    monkeypatch.setenv(FOLDER_VARIABLE, str(blocked))
    written()
    ((file, folder),) = written.loaded
    assert not file.exists() and folder is None
    (line,) = caplog.messages
    assert line.startswith(f"cannot keep a program in {blocked / 'onnx'} (Not a directory): each start makes it anew")


def test_a_failed_export_leaves_nothing(written: Written, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*arguments: object) -> None:
        raise ModelError("no")

    monkeypatch.setattr(kept, "export_onnx", fail)
    with pytest.raises(ModelError, match=r"^no$"):
        written()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["lock"]


@pytest.mark.parametrize("spoil", ["cut", "gone", "foreign folder"])
def test_what_is_not_whole_is_told_and_written_anew(
    written: Written, caplog: pytest.LogCaptureFixture, tmp_path: Path, spoil: str
) -> None:
    written()
    file = written.loaded[0][0]
    if spoil == "cut":
        file.write_bytes(b"a net")
    else:
        file.unlink()
        if spoil == "foreign folder":
            (file.parent / "openvino.blob").touch()
    written()
    written()
    (line,) = caplog.messages
    assert line.startswith(f"{file.parent} is not what was kept there (") and line.endswith("): it is made anew")
    assert len(written.shapes) == 2 and file.read_bytes() == b"a network"


def test_what_is_not_whole_where_nothing_can_be_written_is_not_read(
    written: Written, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    written()
    file = written.loaded[0][0]
    (tmp_path / "onnx" / "lock").unlink()
    (tmp_path / "onnx" / "lock").mkdir()  # as where the folder belongs to somebody else
    written()
    assert written.loaded[1][0] == file and caplog.messages == []
    file.write_bytes(b"a net")
    written()
    assert written.loaded[2][0] != file and written.loaded[2][1] is None
    (line,) = caplog.messages
    assert line.startswith("cannot keep a program in ")


def test_what_an_engine_keeps_is_not_written_into_a_folder_of_others(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    written()
    monkeypatch.setattr("os.access", lambda path, mode: False)
    written()
    assert [folder is None for _, folder in written.loaded] == [False, True]


def test_what_cannot_be_loaded_is_told_and_not_kept(written: Written, tmp_path: Path) -> None:
    written()
    written.fails = True
    with pytest.raises(ModelError, match=r"^coarse engine onnx cannot load m \(no such operation\): use eager$"):
        written()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["lock"]
    written.fails = False
    written()
    assert len(written.shapes) == 3


@pytest.mark.parametrize("engine", ENGINES)
def test_a_second_start_reads_and_one_with_a_cut_file_heals(
    engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip(engine)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    _, network, recorder = recorded(CASES["compact"])
    (planes,) = recorder.inputs
    answers = []
    for start in range(4):
        if start in (2, 3):  # the file, then what the engine made of it
            files = [path for path in tmp_path.rglob("*") if path.is_file() and (path.name == NAME) == (start == 2)]
            largest = max(files, key=lambda path: path.stat().st_size)
            largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
        program = load_engine(engine).compile(network, (planes,), torch.float32, Source("compact", "cd"))
        with torch.inference_mode():
            answers.append(program(planes))
    for answer in answers[1:]:
        torch.testing.assert_close(answer, answers[0])
    assert len([line for line in caplog.messages if "is made anew" in line]) in (1, 2)


SIGNAL_AFTER = """
import gc, signal, sys
import torch
from depth_retrofit_ros.coarse.engines.base import Source
from depth_retrofit_ros.coarse.engines.registry import load_engine
network, planes = torch.nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 16, 16)
class Two(torch.nn.Module):
    def forward(self, x):
        return network(x)[:, 0], network(x)
signal.signal(signal.SIGINT, lambda number, frame: print("came"))
programs = [load_engine(sys.argv[1]).compile(Two().eval(), (planes,), torch.float32, Source("m", "ab")) for _ in range(2)]
while programs:
    del programs[0]
    gc.collect()
    signal.raise_signal(signal.SIGINT)
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_signal_after_a_program_is_gone_is_handled(engine: str, tmp_path: Path) -> None:
    """Python handles signals on a stack of their own, which a library must not take with it."""
    pytest.importorskip(engine)
    done = run_python("-c", SIGNAL_AFTER, engine, env={**os.environ, **same_imports(), FOLDER_VARIABLE: str(tmp_path)})
    assert (done.returncode, done.stdout.split()) == (0, ["came", "came"]), done.stderr[-2000:]
