"""The engines: one mapping from name to class, each imported when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import cast

from depth_retrofit_ros.coarse.engines.base import CoarseEngine
from depth_retrofit_ros.errors import ModelError

AUTO, EAGER = "auto", "eager"
GRAPHABLE = ("eager", "inductor")  # those whose work a CUDA graph can capture: kernels of torch's own stream


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """loader: ``module:class``; packages: the modules that it needs beside torch, with how to get them."""

    loader: str
    description: str
    packages: tuple[str, ...] = ()
    how_to_get: str = ""


_FOLDER = "depth_retrofit_ros.coarse.engines"
_WRITES_ONNX = ("onnx", "onnxscript")
ENGINES: dict[str, EngineInfo] = {
    "eager": EngineInfo(f"{_FOLDER}.eager:EagerEngine", "torch, operation by operation: what the others are checked against"),
    "inductor": EngineInfo(f"{_FOLDER}.inductor:InductorEngine", "torch.compile for inputs of one size; needs a C++ compiler"),
    "onnxruntime": EngineInfo(
        f"{_FOLDER}.onnxruntime:OnnxRuntimeEngine",
        "ONNX Runtime, float32, for inputs of one size",
        (*_WRITES_ONNX, "onnxruntime"),
        "pip install 'depth_retrofit_ros[onnxruntime]'",
    ),
    "openvino": EngineInfo(
        f"{_FOLDER}.openvino:OpenVinoEngine",
        "OpenVINO, float32 and bfloat16, for inputs of one size",
        (*_WRITES_ONNX, "openvino"),
        "pip install 'depth_retrofit_ros[openvino]'",
    ),
    "tensorrt": EngineInfo(
        f"{_FOLDER}.tensorrt:TensorRtEngine",
        "TensorRT, built for one GPU and inputs of one size in minutes, and kept on disk",
        ("torch_tensorrt",),
        "install the torch-tensorrt of torch's version; on a Jetson that of its JetPack (docs/coarse-engines.md)",
    ),
}


def missing_packages(info: EngineInfo) -> tuple[str, ...]:
    """The modules that the engine needs and that are not installed."""
    return tuple(package for package in info.packages if find_spec(package) is None)


def load_engine(name: str) -> CoarseEngine:
    """An engine by name. Raises ModelError for a name that is none, and for software that is missing."""
    if name not in ENGINES:
        raise ModelError(f"unknown coarse engine '{name}': choose one of {AUTO}, {', '.join(ENGINES)}")
    info = ENGINES[name]
    if missing := missing_packages(info):
        raise ModelError(f"coarse engine {name} needs {', '.join(missing)}: {info.how_to_get}")
    module, _, engine = info.loader.partition(":")
    return cast(CoarseEngine, getattr(import_module(module), engine)())
