"""``depth-retrofit models export``: a coarse model as an ONNX file for other programs, checked against the model."""

from __future__ import annotations

import errno
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import depth_retrofit_ros
from depth_retrofit_ros.coarse import hub
from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.engines.answers import answer_of
from depth_retrofit_ros.coarse.engines.base import CompilableModel, Tensors
from depth_retrofit_ros.coarse.engines.examples import network_inputs
from depth_retrofit_ros.coarse.engines.natural_image import natural_image
from depth_retrofit_ros.coarse.engines.onnx_export import OPSET, write_onnx
from depth_retrofit_ros.coarse.engines.registry import ENGINES, missing_packages
from depth_retrofit_ros.coarse.engines.self_check import Agreement, compare
from depth_retrofit_ros.coarse.info import ModelInfo
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.io.checkpoints import first_line

LEAST_OVERLAP = 0.98  # of the selection, float32 against float32
LARGEST_TAIL = 1e-3


@dataclass(frozen=True, slots=True)
class Exported:
    """agreement: of ONNX Runtime with the model; inputs, outputs: names and shapes; frame_size: ``(H, W)`` that it is made for."""

    file: Path
    agreement: Agreement
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]
    frame_size: tuple[int, int]

    def __str__(self) -> str:
        inputs, outputs = (_told(shapes) for shapes in (self.inputs, self.outputs))
        frames = f"for frames of aspect {aspect_of(self.frame_size)} ({self.frame_size[1]}x{self.frame_size[0]})"
        return f"{self.file}: {frames}, opset {OPSET}, float32, {inputs} -> {outputs}; by ONNX Runtime it {self.agreement}"


def aspect_of(frame_size: tuple[int, int]) -> str:
    """Width to height of frames ``(H, W)``, in the smallest whole numbers."""
    divisor = math.gcd(*frame_size)
    return f"{frame_size[1] // divisor}:{frame_size[0] // divisor}"


def _told(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())


def require_software() -> None:
    """Raises ModelError where what writes and checks the file is not installed."""
    info = ENGINES["onnxruntime"]
    if missing := missing_packages(info):
        raise ModelError(f"exporting needs {', '.join(missing)}: {info.how_to_get}")


def export_model(model: CoarseModel, info: ModelInfo, checkpoint: Path | None, frame_size: tuple[int, int], file: Path) -> Exported:
    """Write the network of a model on the CPU, for frames of ``frame_size = (H, W)``, and compare ONNX Runtime's answers with its.

    checkpoint: of the model. Raises ModelError for a model without such a network and for a file that cannot be run or answers
    something else, OSError where it cannot be written; what lay there before is still there then.
    """
    if not isinstance(model, CompilableModel) or not isinstance(network := model.network, nn.Module):
        raise ModelError(
            f"{info.name} has no network that an export could take: its adapter states none, so only it itself runs it"
        )
    inputs = network_inputs(model, natural_image(*frame_size))
    metadata = described(model, info, checkpoint, frame_size)
    file.parent.mkdir(parents=True, exist_ok=True)
    with _scratch_folder(file) as scratch:
        write_onnx(network, inputs, scratch / file.name, info.name, metadata)
        agreement, shapes = _checked(scratch / file.name, info.name, network, inputs)
        if not agreement.holds or agreement.overlap < LEAST_OVERLAP or agreement.tail > LARGEST_TAIL:
            raise ModelError(f"{info.name} as ONNX {agreement}: it is not written")
        _take_place(scratch / file.name, file)
    return Exported(file, agreement, shapes[0], shapes[1], frame_size)


def described(model: Any, info: ModelInfo, checkpoint: Path | None, frame_size: tuple[int, int]) -> dict[str, str]:
    """The file's metadata: where it comes from, how its first input is made, and how depth follows from its outputs."""
    black, white = (network_inputs(model, torch.full((*frame_size, 3), value, dtype=torch.uint8))[0] for value in (0, 255))
    answer = answer_of(info, model, frame_size)
    source = {
        "sha256_of_checkpoint": None if checkpoint is None else hub.digest_of(checkpoint),
        "revision": None if info.hub is None else info.hub.revision,
    }
    return {
        "model": info.name,
        "license": info.license,
        **{key: value for key, value in source.items() if value},
        "made_by": f"depth_retrofit_ros {depth_retrofit_ros.__version__}, torch {torch.__version__}",
        "frame": f"{frame_size[1]}x{frame_size[0]}",
        "image_planes": _normalization(black, white),
        "depth": answer.depth,
        "to_depth": answer.to_depth,
        "scale": answer.scale,
    }


@contextmanager
def _scratch_folder(file: Path) -> Iterator[Path]:
    """A folder beside the file, on the same disk; it goes with the block."""
    folder = Path(tempfile.mkdtemp(prefix=f".{file.name}-", dir=file.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _take_place(made: Path, file: Path) -> None:
    """Let what was made take the place of ``file``, with the weights beside it, if any; those of an older one go."""
    made_data, data = (path.with_name(f"{path.name}.data") for path in (made, file))
    if file.is_dir():  # before anything of the user's is touched
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if made_data.is_file():
        made_data.replace(data)
        made.replace(file)
    else:
        made.replace(file)
        data.unlink(missing_ok=True)


def _normalization(black: Tensor, white: Tensor) -> str:
    """How the planes are made of RGB in 0…1, in words, by what became of black and of white; a border is 0 in both.

    Nothing of mean and deviation where they change nothing.
    """
    low, high = (planes[0, ..., planes.shape[-2] // 2, planes.shape[-1] // 2].double().flatten()[-3:] for planes in (black, white))
    deviation = 1 / (high - low)
    if low.abs().max() < 1e-6 and (high - 1).abs().max() < 1e-6:
        return "RGB in 0 to 1 by area averaging"
    mean, std = (", ".join(f"{value:.4g}" for value in values.tolist()) for values in (-low * deviation, deviation))
    return f"RGB in 0 to 1 by area averaging, minus ({mean}), divided by ({std})"


def _checked(file: Path, name: str, network: nn.Module, inputs: Tensors) -> tuple[Agreement, list[dict[str, tuple[int, ...]]]]:
    """How ONNX Runtime's answers agree with the network's; names and shapes of inputs and outputs. Raises ModelError."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal: errors are raised, too
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        entries = session.get_inputs()
        given = session.run(None, {entry.name: tensor.numpy() for entry, tensor in zip(entries, inputs, strict=True)})
    except Exception as error:  # its exceptions have no common class of their own
        raise ModelError(f"ONNX Runtime cannot run {name} as ONNX ({first_line(error)}): it is not written") from error
    with torch.no_grad():
        expected = network(*inputs)
    answer = tuple(torch.from_numpy(values) for values in given)
    shapes = [{entry.name: tuple(entry.shape) for entry in entries} for entries in (session.get_inputs(), session.get_outputs())]
    return compare(expected, answer), shapes
