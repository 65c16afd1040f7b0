"""TensorRT, by ``torch_tensorrt``: minutes to build for a GPU and a size, seconds to load afterwards.

TensorRT here is strongly typed: it computes in the dtypes that the network has, so that a network is lowered before it is exported
and its exact parts stay in float32. Both interfaces of ``torch_tensorrt`` are served, told apart by their parameters: the older one
of 2.8, for JetPack 6, which has to be asked for that, and that from 2.13 on, which does nothing else.

``torch_tensorrt`` has a cache of engines of its own, whose key knows neither weights nor GPU; a hit is refitted with the weights,
so that it needs refittable engines and is ignored without a word for others. It is left off: whole programs are kept in
``cache.ProgramCache``, under all that went into them, and their weights are baked in.
"""

from __future__ import annotations

import ctypes
import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.engines.base import Network, Source, Tensors
from depth_retrofit_ros.coarse.engines.cache import Key, ProgramCache, code_digest, engines_folder, replaced, weights_digest
from depth_retrofit_ros.coarse.engines.precision import lowered
from depth_retrofit_ros.coarse.engines.registry import ENGINES
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.io.checkpoints import first_line

_PRODUCTS = ("linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "einsum")  # in an exported graph
_DRIVER_FILES = (Path("/proc/driver/nvidia/version"), Path("/etc/nv_tegra_release"))


class TensorRtEngine:
    """``CoarseEngine``. folder: where programs are kept, None for one in ``engines_folder``."""

    name = "tensorrt"
    devices: tuple[str, ...] = ("cuda",)
    precisions: tuple[torch.dtype, ...] = (torch.float16, torch.bfloat16, torch.float32)

    def __init__(self, folder: Path | None = None) -> None:
        self._cache = ProgramCache(engines_folder() / "tensorrt" if folder is None else folder)

    def compile(self, network: nn.Module, inputs: Tensors, precision: torch.dtype, source: Source) -> Network:
        """See ``CoarseEngine.compile``."""
        library, gpu = _library(), gpu_of(inputs[0].device)
        settings = _settings(library, precision)
        key = _key(network, inputs, precision, source, gpu, library, settings)
        timings = f"timings-{_file_name(gpu['gpu'])}-{gpu['compute capability']}-{_file_name(key['tensorrt'])}.bin"

        def build(folder: Path | None) -> Any:
            with _in_one_line(source.model):
                if folder is None:
                    return _built(library, network, inputs, precision, settings)
                with replaced(folder / timings, begin_with_it=True) as file:  # of kernels: the next build is faster
                    return _built(library, network, inputs, precision, {**settings, "timing_cache_path": str(file)})

        def save(program: Any, file: Path) -> None:
            library.save(program, str(file), output_format="exported_program", arg_inputs=list(inputs))

        with torch.inference_mode(False), torch.no_grad():
            inputs = tuple(tensor.clone(memory_format=torch.contiguous_format) for tensor in inputs)
            return _Program(self._cache.program(key, build, save, lambda file: library.load(str(file)).module()))


def _built(library: Any, network: nn.Module, inputs: Tensors, precision: torch.dtype, settings: Mapping[str, Any]) -> Any:
    exported = torch.export.export(lowered(network, precision), inputs)
    fits = not _is_old(library) or _products_are(exported, torch.float16)
    sums = bool(settings["use_fp32_acc"]) and fits  # the older one would make float16 of the products of exact parts, too
    return library.dynamo.compile(exported, arg_inputs=list(inputs), device=inputs[0].device, **{**settings, "use_fp32_acc": sums})


@contextmanager
def _in_one_line(model: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of torch.export, of the library, of TensorRT, of CUDA and of the disk
        raise ModelError(f"coarse engine tensorrt cannot build {model} ({first_line(error)}): use eager or inductor") from error


class _Program:
    """``Network``: inputs in the layout that the engine was built for."""

    def __init__(self, program: Any) -> None:
        self._program = program

    def __call__(self, *inputs: Tensor) -> Tensors:
        """See ``Network``."""
        return tuple(self._program(*(tensor.contiguous() for tensor in inputs)))


def gpu_of(device: torch.device) -> dict[str, str]:
    """What an engine depends on of the machine. Raises ModelError without CUDA."""
    if device.type != "cuda" or not torch.cuda.is_available():
        raise ModelError("coarse engine tensorrt needs an NVIDIA GPU that torch sees: use eager, or one that computes on a CPU")
    major, minor = torch.cuda.get_device_capability(device)
    return {
        "gpu": torch.cuda.get_device_name(device),
        "compute capability": f"{major}.{minor}",
        "driver": driver_version(),
        "cuda": str(torch.version.cuda),
    }


def driver_version() -> str:
    """CUDA's version of the driver, and the driver's own words where it has any."""
    number = ctypes.c_int(0)
    with suppress(OSError, AttributeError):  # where torch found the driver elsewhere, the files tell
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number))
    words = [file.read_text(encoding="utf-8", errors="replace").partition("\n")[0] for file in _DRIVER_FILES if file.is_file()]
    return " ".join([str(number.value), *words])


def _library() -> Any:
    """Raises ModelError where it is missing, or does not find TensorRT."""
    try:
        return import_module("torch_tensorrt")
    except Exception as error:  # a library that is missing, or of another version: ImportError, OSError, RuntimeError
        how_to_get = ENGINES["tensorrt"].how_to_get
        raise ModelError(f"coarse engine tensorrt cannot import torch_tensorrt ({first_line(error)}): {how_to_get}") from None


def _is_old(library: Any) -> bool:
    """Whether TensorRT is weakly typed unless asked."""
    return "use_explicit_typing" in inspect.signature(library.dynamo.compile).parameters


def _settings(library: Any, precision: torch.dtype) -> dict[str, Any]:
    """How to build, in the words of the version that is installed.

    Sums of half products are float32, and float32 is not TF32. ``attn_bias_is_causal`` would take the bias of every attention for a
    causal mask, which no depth model has.
    """
    known = inspect.signature(library.dynamo.compile).parameters
    wanted = {"immutable_weights": True, "disable_tf32": True, "use_fp32_acc": precision == torch.float16}
    new = {"use_explicit_typing": True, "attn_bias_is_causal": False}
    return {**wanted, **{name: value for name, value in new.items() if name in known}}


def _products_are(exported: torch.export.ExportedProgram, dtype: torch.dtype) -> bool:
    """Whether every matrix product of the graph is of that dtype."""
    for node in exported.graph.nodes:
        words = str(node.target).split(".")
        if node.op == "call_function" and len(words) > 1 and words[1] in _PRODUCTS and node.meta["val"].dtype != dtype:
            return False
    return True


def _key(
    network: nn.Module,
    inputs: Tensors,
    precision: torch.dtype,
    source: Source,
    gpu: Mapping[str, str],
    library: Any,
    settings: Mapping[str, Any],
) -> Key:
    """All that a program depends on, in words."""
    return {
        "model": source.model,
        "checkpoint": source.digest or weights_digest(network),
        "inputs": ", ".join(f"{tuple(tensor.shape)} {tensor.dtype}" for tensor in inputs),
        "precision": str(precision),
        **gpu,
        "tensorrt": str(import_module("tensorrt").__version__),
        "torch": torch.__version__,
        "torch_tensorrt": str(library.__version__),
        "settings": json.dumps(dict(settings), sort_keys=True),
        "code": code_digest(network),
    }


def _file_name(words: str) -> str:
    return "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in words)
