"""A coarse model's network as an ONNX file for inputs of one size, which other programs can run too."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from depth_retrofit_ros.coarse.engines.base import Tensors
from depth_retrofit_ros.coarse.engines.folding import one_graph
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.io.checkpoints import first_line

OPSET = 18
WRITERS = ("onnx", "onnxscript", "onnx-ir")  # distributions that write such a file, whose versions decide what is in it
IMAGE, DEPTH, FEATURES = "image_planes", "depth", "features"
LARGEST_IN_ONE = (
    1_800_000_000  # bytes of weights in the file itself; it must stay below 2 GiB, so those of larger ones stand beside
)


def write_onnx(network: nn.Module, inputs: Tensors, file: Path, name: str, metadata: Mapping[str, str] | None = None) -> None:
    """``export_onnx`` and ``save_onnx``; metadata: to be written into the file."""
    program = export_onnx(network, inputs, name)
    program.model.metadata_props.update(metadata or {})
    save_onnx(program, file)


def export_onnx(network: nn.Module, inputs: Tensors, name: str) -> Any:
    """The ``torch.onnx.ONNXProgram`` of ``network`` for inputs of these shapes, float32, opset ``OPSET``.

    Inputs are called ``image_planes``, ``input_1`` …; outputs ``depth``, ``features``, ``output_2`` …; name: the model's.
    Raises ModelError for a network that cannot be exported.
    """
    graph = one_graph(network, inputs, name)
    try:
        with _quiet(), torch.inference_mode(False), torch.no_grad():
            inputs = tuple(tensor.clone() for tensor in inputs)
            outputs = len(graph(*inputs))
            return torch.onnx.export(
                graph,
                inputs,
                dynamo=True,
                opset_version=OPSET,
                verbose=False,
                input_names=[IMAGE, *(f"input_{index}" for index in range(1, len(inputs)))],
                output_names=[DEPTH, FEATURES, *(f"output_{index}" for index in range(2, outputs))],
            )
    except Exception as error:  # torch.onnx wraps what any of its passes raise
        raise ModelError(f"{name} cannot be written as ONNX ({first_line(error)}): use coarse engine eager") from error


def save_onnx(program: Any, file: Path) -> None:
    """Write it; weights above ``LARGEST_IN_ONE`` into ``FILE.data``. Raises OSError."""
    weights = sum(value.const_value.nbytes for value in program.model.graph.initializers.values() if value.const_value is not None)
    program.save(str(file), external_data=weights > LARGEST_IN_ONE)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of each of its passes, and of packages that are not installed."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
