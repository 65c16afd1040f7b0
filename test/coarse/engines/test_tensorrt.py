"""The code path of TensorRT, with a stand-in for ``torch_tensorrt``: what is built, what is kept, what is read, what is refused."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.engines import progress, tensorrt
from depth_retrofit_ros.coarse.engines.base import CoarseEngine, Source, Tensors
from depth_retrofit_ros.coarse.engines.compiled import CompiledNetwork
from depth_retrofit_ros.coarse.engines.registry import load_engine
from depth_retrofit_ros.coarse.engines.tensorrt import TensorRtEngine, driver_version, gpu_of
from depth_retrofit_ros.errors import ModelError
from test.coarse.engines.models import CASES, compact, recorded
from test.coarse.engines.torch_tensorrt_stand_in import GPU, VERSIONS, StandIn, installed
from test.coarse.families import image

HERE = Source("depth-anything-v2-small", "ab" * 32)
HALF = torch.bfloat16  # which a CPU can compute
EVERY_VERSION = pytest.mark.parametrize("version", VERSIONS)


class Net(nn.Module):
    """As small as a network with an exact part can be. linear: whether that is a matrix product."""

    def __init__(self, linear: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.mix = nn.Conv2d(3, 8, 1), nn.Linear(8, 8)
        self.head: nn.Module = nn.Linear(8, 1) if linear else nn.Conv2d(8, 1, 1)
        self.linear = linear

    def exact(self) -> Iterator[nn.Module]:
        """See ``HasExactParts``."""
        yield self.head

    def forward(self, planes: Tensor) -> Tensors:
        features = self.mix(self.body(planes).permute(0, 2, 3, 1)).relu()
        if self.linear:
            return self.head(features.float())[..., 0], features.permute(0, 3, 1, 2)
        features = features.permute(0, 3, 1, 2)
        return self.head(features.float())[:, 0], features


def planes(height: int = 6, width: int = 8) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))


def built(folder: Path, net: nn.Module | None = None, precision: torch.dtype = HALF, source: Source = HERE, **shape: int) -> Any:
    """A program by an engine that remembers nothing of those before it."""
    return TensorRtEngine(folder).compile(Net() if net is None else net, (planes(**shape),), precision, source)


@EVERY_VERSION
def test_it_computes_what_the_lowered_network_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    stand_in = installed(monkeypatch, version)
    program = built(tmp_path)
    answer, features = program(planes())
    wanted = Net()(planes())
    assert answer.dtype == torch.float32 and features.dtype == HALF
    torch.testing.assert_close(answer, wanted[0], rtol=0.02, atol=0.02)
    (build,) = stand_in.builds
    dtypes = {name.removeprefix("network."): value.dtype for name, value in build.exported.state_dict.items()}
    assert dtypes["body.weight"] == dtypes["mix.weight"] == HALF and dtypes["head.weight"] == torch.float32
    assert [tensor.shape for tensor in build.settings["arg_inputs"]] == [planes().shape]
    assert build.settings["device"] == planes().device


@EVERY_VERSION
def test_types_are_the_network_s_and_weights_are_baked_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """And the library's own cache, whose key knows no weights, is left off."""
    stand_in = installed(monkeypatch, version)
    built(tmp_path)
    settings = stand_in.builds[0].settings
    assert settings["immutable_weights"] is True and settings["disable_tf32"] is True
    assert not {"cache_built_engines", "reuse_cached_engines", "enabled_precisions", "enable_autocast"} & set(settings)
    assert settings.get("use_explicit_typing") is (True if version == "2.8.0" else None)
    assert settings.get("attn_bias_is_causal") is (None if version == "2.8.0" else False)


@pytest.mark.parametrize(
    ("version", "precision", "linear", "wanted"),
    [
        ("2.13.0", torch.float16, True, True),
        ("2.13.0", torch.bfloat16, False, False),
        ("2.13.0", torch.float32, False, False),
        ("2.8.0", torch.float16, False, True),
        ("2.8.0", torch.float16, True, False),  # it would make float16 of the exact part's product, too
    ],
)
def test_half_products_are_summed_in_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, precision: torch.dtype, linear: bool, wanted: bool
) -> None:
    stand_in = installed(monkeypatch, version)
    built(tmp_path, Net(linear), precision)
    assert stand_in.builds[0].settings["use_fp32_acc"] is wanted


@EVERY_VERSION
def test_a_later_start_reads_what_was_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    stand_in = installed(monkeypatch, version)
    with caplog.at_level(logging.INFO):
        first = built(tmp_path / "new" / "folder")
        again = built(tmp_path / "new" / "folder")
    assert len(stand_in.builds) == 1 and len(stand_in.loads) == 1
    for ours, theirs in zip(first(planes()), again(planes()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    kept, read = (line for line in caplog.messages if line.startswith("program of"))
    assert kept.startswith("program of depth-anything-v2-small kept as ") and "MB; all that are kept there: " in kept
    assert read.startswith("program of depth-anything-v2-small read from ") and read.endswith(" MB)")


def _gpu(**changes: str) -> Callable[[StandIn, pytest.MonkeyPatch], None]:
    def change(stand_in: StandIn, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(tensorrt, "gpu_of", lambda device: {**GPU, **changes})

    return change


CHANGES: dict[str, Callable[[StandIn, pytest.MonkeyPatch], Any]] = {
    "gpu": _gpu(gpu="NVIDIA H100"),
    "compute capability": _gpu(**{"compute capability": "9.0"}),
    "driver": _gpu(driver="13010"),
    "cuda": _gpu(cuda="12.6"),
    "tensorrt": lambda stand_in, patch: patch.setattr(stand_in.tensorrt, "__version__", "11.0.1"),
    "torch_tensorrt": lambda stand_in, patch: patch.setattr(stand_in.module, "__version__", "2.13.1"),
    "torch": lambda stand_in, patch: patch.setattr(torch, "__version__", "2.13.1"),
    "code": lambda stand_in, patch: patch.setattr(tensorrt, "code_digest", lambda network: "other"),
    "settings": lambda stand_in, patch: patch.setattr(tensorrt, "_settings", lambda *_: {"use_fp32_acc": False}),
}
REQUESTS: dict[str, dict[str, Any]] = {
    "model": {"source": Source("another", HERE.digest)},
    "checkpoint": {"source": Source(HERE.model, "cd" * 32)},
    "inputs": {"width": 10},
    "precision": {"precision": torch.float32},
}


@pytest.mark.parametrize("part", CHANGES)
def test_a_change_of_the_machine_or_of_the_software_builds_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    stand_in = installed(monkeypatch)
    built(tmp_path)
    with monkeypatch.context() as patch:
        CHANGES[part](stand_in, patch)
        built(tmp_path)
        built(tmp_path)
    assert len(stand_in.builds) == 2
    built(tmp_path)
    assert len(stand_in.builds) == 2, "the first is still kept"
    notes = [json.loads(note.read_text())["key"] for note in tmp_path.glob("*.json")]
    assert len(notes) == 2 and {name for name in notes[0] if notes[0][name] != notes[1][name]} == {part}


@pytest.mark.parametrize("part", REQUESTS)
def test_another_request_builds_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    stand_in = installed(monkeypatch)
    for request in ({}, REQUESTS[part], {}, REQUESTS[part]):
        built(tmp_path, **request)
    assert len(stand_in.builds) == 2 and len(stand_in.loads) == 2


def test_without_a_checkpoint_the_weights_themselves_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in, other = installed(monkeypatch), Net()
    nn.init.zeros_(other.mix.bias)
    for net in (Net(), other, Net()):
        built(tmp_path, net, source=Source("a plug-in/of mine", ""))
    assert len(stand_in.builds) == 2
    assert all(path.name.startswith("a_plug-in_of_mine-") for path in tmp_path.glob("*.pt2"))


def test_timings_of_kernels_are_kept_for_the_next_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a build that fails are not."""
    stand_in = installed(monkeypatch)
    built(tmp_path)
    built(tmp_path, width=10)

    def fail() -> None:
        raise RuntimeError("out of memory\nmore")

    stand_in.before = fail
    with pytest.raises(ModelError):
        built(tmp_path, width=12)
    (timings,) = tmp_path.glob("timings-*.bin")
    assert timings.name == "timings-NVIDIA_GeForce_RTX_4090-8.9-11.0.0.bin"
    assert timings.read_text() == "timings of build 1\ntimings of build 2\n"
    assert not list(tmp_path.glob("partial-*"))


def test_a_build_that_fails_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = installed(monkeypatch)

    def fail() -> None:
        raise RuntimeError("[TRT] no implementation for node\nmore")

    stand_in.before = fail
    with pytest.raises(ModelError) as caught:
        built(tmp_path)
    told = "coarse engine tensorrt cannot build depth-anything-v2-small ([TRT] no implementation for node): use eager or inductor"
    assert str(caught.value) == told
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_long_build_is_told_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in, told_twice = installed(monkeypatch), threading.Event()
    monkeypatch.setattr(progress, "EVERY_S", 0.01)

    class Counting(logging.Handler):
        lines = 0

        def emit(self, record: logging.LogRecord) -> None:
            self.lines += 1
            if self.lines == 2:
                told_twice.set()

    stand_in.before = lambda: None if told_twice.wait(60) else pytest.fail("it was never told")
    logger, handler = logging.getLogger(progress.__name__), Counting()
    logger.addHandler(handler)
    try:
        with caplog.at_level(logging.INFO):
            CompiledNetwork(Net().eval(), TensorRtEngine(tmp_path), torch.float32, HERE)(planes())
    finally:
        logger.removeHandler(handler)
    lines = [line for line in caplog.messages if line.endswith(" so far")]
    shape = "x".join(map(str, planes().shape))
    told = f"coarse engine tensorrt: making the program of {HERE.model} for {shape}, 0 s so far"
    assert lines[0] == told and len(lines) >= 2
    assert "progress" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda outputs: (2 * outputs[0], *outputs[1:]), "coarse engine tensorrt differs from eager by"),
        (lambda outputs: (outputs[0] + torch.nan, *outputs[1:]), "coarse engine tensorrt answers NaN or infinity for"),
        (lambda outputs: (outputs[0], outputs[1] * torch.inf), "coarse engine tensorrt answers NaN or infinity for"),
        (lambda outputs: (outputs[0][:, 1:], outputs[1]), "coarse engine tensorrt answers other shapes than"),
    ],
    ids=["twice the scale", "NaN", "infinite features", "shape"],
)
def test_a_program_that_answers_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, answer: Any, told: str
) -> None:
    """At each start, and it is not kept: the next one builds it anew."""
    stand_in = installed(monkeypatch, version)
    stand_in.answer = answer
    for start in range(2):
        network = CompiledNetwork(Net().eval(), TensorRtEngine(tmp_path), torch.float32, HERE)
        with pytest.raises(ModelError, match=told) as caught:
            network(planes())
        assert "\n" not in str(caught.value)
        assert len(stand_in.builds) == start + 1 and stand_in.loads == [] and not list(tmp_path.glob("*.pt2")), "it is not kept"


def test_a_model_in_inference_mode_runs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``compact`` does, with planes in another layout; what is exported must not be tensors of that mode."""
    stand_in = installed(monkeypatch)
    depths = []
    for _ in range(2):
        model, source = compact(), Source("compact", "ef" * 32)
        wanted = model.predict(image(90, 120), None).depth
        model.network = CompiledNetwork(model.network, TensorRtEngine(tmp_path), torch.float32, source)
        depths.append(model.predict(image(90, 120), None).depth)
        torch.testing.assert_close(depths[-1], wanted, rtol=1e-4, atol=1e-4)
    assert len(stand_in.builds) == 1 and len(stand_in.loads) == 1
    assert all(tensor.is_contiguous() and not tensor.is_inference() for tensor in stand_in.builds[0].settings["arg_inputs"])


@pytest.mark.parametrize("name", ["moge", "metric3d"])
def test_models_of_several_inputs_and_outputs_come_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    stand_in = installed(monkeypatch)
    _, network, recorder = recorded(CASES[name])
    for _ in range(2):
        answer = TensorRtEngine(tmp_path).compile(network, recorder.inputs, torch.float32, HERE)(*recorder.inputs)
        for ours, theirs in zip(answer, recorder.answer, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert len(stand_in.builds) == 1


def test_without_a_gpu_it_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = installed(monkeypatch)
    monkeypatch.setattr(tensorrt, "gpu_of", gpu_of)
    with pytest.raises(ModelError, match=r"^coarse engine tensorrt needs an NVIDIA GPU that torch sees: use eager, or [^\n]*$"):
        built(tmp_path)
    assert stand_in.builds == [] and not list(tmp_path.iterdir())


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = r"^coarse engine tensorrt needs torch_tensorrt: install the torch-tensorrt of torch's version[^\n]*$"
    monkeypatch.setattr("depth_retrofit_ros.coarse.engines.registry.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=wanted):
        load_engine("tensorrt")


def test_a_package_that_does_not_find_tensorrt_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch_tensorrt.py").write_text("raise OSError('libnvinfer.so.11: cannot open shared object file\\nmore')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch_tensorrt", raising=False)
    engine = load_engine("tensorrt")
    told = (
        r"^coarse engine tensorrt cannot import torch_tensorrt \(libnvinfer\.so\.11: [^\n]*\): install the torch-tensorrt [^\n]*$"
    )
    with pytest.raises(ModelError, match=told):
        engine.compile(Net(), (planes(),), HALF, HERE)


def test_the_registry_knows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    monkeypatch.setenv("DEPTH_RETROFIT_ENGINES", str(tmp_path / "mine"))
    engine: CoarseEngine = load_engine("tensorrt")
    assert (engine.name, engine.devices) == ("tensorrt", ("cuda",))
    engine.compile(Net(), (planes(),), HALF, HERE)
    assert len(list((tmp_path / "mine" / "tensorrt").glob("*.pt2"))) == 1


def test_the_driver_is_told_by_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = tmp_path / "version"
    words.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  590.44.01\nGCC version: 13\n")
    monkeypatch.setattr(tensorrt, "_DRIVER_FILES", (words, tmp_path / "absent"))
    assert driver_version().endswith("NVRM version: NVIDIA UNIX x86_64 Kernel Module  590.44.01")
