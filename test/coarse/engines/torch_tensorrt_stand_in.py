"""A module in the place of ``torch_tensorrt``: the interfaces of 2.8 and 2.13, recording what they are asked for.

It knows the parameters of both versions' ``dynamo.compile``, ``save`` and ``load``, and refuses any other name, where the real ones
swallow it. A compiled program is the exported one, which ``answer`` may change; ``save`` and ``load`` write and read it.
"""

from __future__ import annotations

import importlib.machinery
import inspect
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn


def _names(text: str) -> list[str]:
    return text.split()


Answer = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]

BOTH = _names("""
    arg_inputs kwarg_inputs device disable_tf32 assume_dynamic_shape_support sparse_weights engine_capability
    num_avg_timing_iters workspace_size dla_sram_size dla_local_dram_size dla_global_dram_size truncate_double
    require_full_compilation min_block_size torch_executed_ops torch_executed_modules pass_through_build_failures
    max_aux_streams version_compatible optimization_level use_python_runtime use_fast_partitioner
    enable_experimental_decompositions dryrun hardware_compatible timing_cache_path lazy_engine_init cache_built_engines
    reuse_cached_engines engine_cache_dir engine_cache_size custom_engine_cache use_fp32_acc refit_identical_engine_weights
    strip_engine_weights immutable_weights enable_weight_streaming tiling_optimization_level l2_limit_for_tiling
    offload_module_to_cpu
""")
OLD = ["enabled_precisions", "use_explicit_typing"]
NEW = _names("""
    use_distributed_mode_trace enable_autocast autocast_low_precision_type autocast_excluded_nodes autocast_excluded_ops
    autocast_max_output_threshold autocast_max_depth_of_reduction autocast_calibration_dataloader cpu_memory_budget
    enable_resource_partitioning dynamically_allocate_resources decompose_attention attn_bias_is_causal
    fallback_data_dependent_ops
""")
VERSIONS = {"2.8.0": [*BOTH, *OLD], "2.13.0": [*BOTH, *NEW]}


class Build(NamedTuple):
    """exported: the program that was to be compiled; settings: what else ``compile`` was given."""

    exported: torch.export.ExportedProgram
    settings: dict[str, Any]


class StandIn:
    """Put into ``sys.modules`` by ``installed``.

    builds: the calls of ``compile``; loads: the files that were read. answer: what becomes of a program's answer; before: called in
    each build.
    """

    def __init__(self, version: str) -> None:
        self.builds: list[Build] = []
        self.loads: list[Path] = []
        self.answer: Answer = tuple
        self.before: Callable[[], None] = lambda: None
        self.module = types.ModuleType("torch_tensorrt")
        self.module.__spec__ = importlib.machinery.ModuleSpec("torch_tensorrt", None)
        compile_ = self._compile
        dynamo = types.SimpleNamespace(compile=_with_signature(compile_, VERSIONS[version]))
        vars(self.module).update(__version__=version, dynamo=dynamo, save=self._save, load=self._load)
        self.tensorrt = types.ModuleType("tensorrt")
        self.tensorrt.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
        vars(self.tensorrt).update(__version__="11.0.0" if version != "2.8.0" else "10.3.0")

    def _compile(self, exported_program: torch.export.ExportedProgram, **settings: Any) -> nn.Module:
        names = inspect.signature(self.module.dynamo.compile).parameters
        assert set(settings) <= set(names), "the real one would swallow a name that it does not know"
        if settings.get("use_explicit_typing"):
            assert "enabled_precisions" not in settings, "2.8 takes one or the other"
        if settings.get("cache_built_engines"):
            assert not settings["immutable_weights"], "ignored for engines that cannot be refitted"
        self.before()
        self.builds.append(Build(exported_program, settings))
        if path := settings.get("timing_cache_path"):
            known = Path(path).read_text() if Path(path).is_file() else ""
            Path(path).write_text(f"{known}timings of build {len(self.builds)}\n")
        return _Compiled(exported_program.module(), self.answer)

    def _save(self, module: nn.Module, file_path: str = "", *, output_format: str = "", arg_inputs: Any = None) -> None:
        assert output_format == "exported_program"
        torch.export.save(torch.export.export(module, tuple(arg_inputs), strict=False), file_path)

    def _load(self, file_path: str = "") -> torch.export.ExportedProgram:
        self.loads.append(Path(file_path))
        return torch.export.load(file_path)


class _Compiled(nn.Module):
    def __init__(self, program: nn.Module, answer: Answer) -> None:
        super().__init__()
        self.program, self.answer = program, answer

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.answer(self.program(*inputs))


def _with_signature(function: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
    def compile(*args: Any, **settings: Any) -> Any:
        return function(*args, **settings)

    kinds = inspect.Parameter
    parameters = [kinds("exported_program", kinds.POSITIONAL_OR_KEYWORD)]
    parameters += [kinds(name, kinds.KEYWORD_ONLY, default=None) for name in names] + [kinds("kwargs", kinds.VAR_KEYWORD)]
    vars(compile)["__signature__"] = inspect.Signature(parameters)
    return compile


def installed(monkeypatch: pytest.MonkeyPatch, version: str = "2.13.0") -> StandIn:
    """The stand-in, until the test's end, on a machine with a GPU of that kind."""
    stand_in = StandIn(version)
    monkeypatch.setitem(sys.modules, "torch_tensorrt", stand_in.module)
    monkeypatch.setitem(sys.modules, "tensorrt", stand_in.tensorrt)
    monkeypatch.setattr("depth_retrofit_ros.coarse.engines.tensorrt.gpu_of", lambda device: dict(GPU))
    return stand_in


GPU = {"gpu": "NVIDIA GeForce RTX 4090", "compute capability": "8.9", "driver": "13000 590.44.01", "cuda": "13.0"}
