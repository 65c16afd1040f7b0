"""ONNX Runtime and OpenVINO answer what the network answers, from a file that is written once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from depth_retrofit_ros.coarse.engines import onnx_file as kept
from depth_retrofit_ros.coarse.engines.base import Source, Tensors
from depth_retrofit_ros.coarse.engines.cache import FOLDER_VARIABLE
from depth_retrofit_ros.coarse.engines.onnx_file import NAME, onnx_file, prune
from depth_retrofit_ros.coarse.engines.registry import load_engine
from depth_retrofit_ros.coarse.engines.self_check import compare
from depth_retrofit_ros.errors import ModelError
from test.coarse.engines.models import CASES, recorded
from test.coarse.engines.test_networks import others_like

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


def test_the_file_is_written_once_for_a_size_and_a_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    written = _count_writes(monkeypatch)
    network = torch.nn.Identity()
    small, large = (torch.zeros(1, 3, side, side) for side in (8, 16))
    for inputs, digest in (((small,), "a"), ((small,), "a"), ((large,), "a"), ((small,), "b"), ((small,), "a")):
        with onnx_file(network, inputs, Source("m", digest)) as file:
            assert file.is_file() and tmp_path in file.parents
    assert [shape for shape, _ in written] == [(1, 3, 8, 8), (1, 3, 16, 16), (1, 3, 8, 8)]
    assert not list(tmp_path.rglob(".making-*"))


def test_other_code_means_another_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    written = _count_writes(monkeypatch)
    for code in ("one", "two", "one"):
        monkeypatch.setattr(kept, "code_digest", lambda network, code=code: code)
        with onnx_file(torch.nn.Identity(), (torch.zeros(1, 3, 8, 8),), Source("m", "a")):
            pass
    assert len(written) == 2


def test_without_a_checkpoint_the_weights_tell_networks_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    written = _count_writes(monkeypatch)
    for value in (0.0, 1.0, 0.0):
        network = torch.nn.Conv2d(3, 1, 1)
        torch.nn.init.constant_(network.weight, value)
        torch.nn.init.zeros_(network.bias)  # type: ignore[arg-type]
        with onnx_file(network, (torch.zeros(1, 3, 8, 8),), Source("m", "")):
            pass
    assert len(written) == 2


def test_a_folder_that_cannot_be_written_costs_the_cache_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "a file"
    blocked.touch()
    monkeypatch.setenv(FOLDER_VARIABLE, str(blocked))
    _count_writes(monkeypatch)
    with caplog.at_level(logging.WARNING), onnx_file(torch.nn.Identity(), (torch.zeros(1, 3, 8, 8),), Source("m", "a")) as file:
        assert file.is_file()
    assert not file.exists()
    assert [record.message.endswith("(Not a directory): each start makes them anew") for record in caplog.records] == [True]


def test_a_failed_export_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))

    def fail(network: torch.nn.Module, inputs: Tensors, file: Path, name: str) -> None:
        file.write_bytes(b"half of it")
        raise ModelError("no")

    monkeypatch.setattr(kept, "write_onnx", fail)
    with pytest.raises(ModelError), onnx_file(torch.nn.Identity(), (torch.zeros(1),), Source("m", "a")):
        pass
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_oldest_files_go_first_and_the_one_in_use_never(tmp_path: Path) -> None:
    import os

    for age, name in enumerate(("newest", "middle", "oldest")):
        (tmp_path / name).mkdir()
        (tmp_path / name / NAME).write_bytes(bytes(1_000_000))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    prune(tmp_path, tmp_path / "newest", largest_mb=2.5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["middle", "newest"]
    prune(tmp_path, tmp_path / "middle", largest_mb=0.5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["middle"]


def _count_writes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[int, ...], Path]]:
    """Files are written without being exported; what was written."""
    written: list[tuple[tuple[int, ...], Path]] = []

    def write(network: torch.nn.Module, inputs: Tensors, file: Path, name: str) -> None:
        file.write_bytes(b"a network")
        written.append((tuple(inputs[0].shape), file))

    monkeypatch.setattr(kept, "write_onnx", write)
    return written
