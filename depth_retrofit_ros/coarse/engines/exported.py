"""``depth-retrofit models export``: a coarse model as an ONNX file for other programs, checked against the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import depth_retrofit_ros
from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse import hub
from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.engines.assign import family_of
from depth_retrofit_ros.coarse.engines.base import CompilableModel, Network, Tensors
from depth_retrofit_ros.coarse.engines.natural_image import natural_image
from depth_retrofit_ros.coarse.engines.onnx_export import OPSET, write_onnx
from depth_retrofit_ros.coarse.engines.registry import ENGINES, missing_packages
from depth_retrofit_ros.coarse.engines.self_check import Agreement, compare
from depth_retrofit_ros.coarse.info import ModelInfo
from depth_retrofit_ros.errors import ModelError

LEAST_OVERLAP = 0.98  # of the selection, float32 against float32
LARGEST_TAIL = 1e-3
USUAL_HFOV_DEG = 70.0  # of the camera for models that take a focal length: an input of the file, for each frame to be given

# What the output "depth" is, by family; of the others it is depth, or disparity where the model's claim says so.
_ANSWERS = {
    "compact": "ln of depth in metres for a focal length of 256 px at the size of the input; other depths are times f / 256",
    "meter": "depth, in metres after multiplying with 0.01 (meter-nyu) or 0.1 (meter-kitti)",
}


@dataclass(frozen=True, slots=True)
class Exported:
    """agreement: of ONNX Runtime with the model; inputs, outputs: names and shapes."""

    file: Path
    agreement: Agreement
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]

    def __str__(self) -> str:
        inputs, outputs = (_told(shapes) for shapes in (self.inputs, self.outputs))
        return f"{self.file}: opset {OPSET}, float32, {inputs} -> {outputs}; by ONNX Runtime it {self.agreement}"


def _told(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())


class _Recorder:
    """``Network``: another one, whose inputs are kept."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.inputs: Tensors = ()

    def __call__(self, *inputs: Tensor) -> Tensors:
        self.inputs = tuple(tensor.clone() for tensor in inputs)
        return self._network(*inputs)


def require_software() -> None:
    """Raises ModelError where what writes and checks the file is not installed."""
    info = ENGINES["onnxruntime"]
    if missing := missing_packages(info):
        raise ModelError(f"exporting needs {', '.join(missing)}: {info.how_to_get}")


def export_model(model: CoarseModel, info: ModelInfo, checkpoint: Path | None, frame_size: tuple[int, int], file: Path) -> Exported:
    """Write the network of a model on the CPU, for frames of ``frame_size = (H, W)``, and compare ONNX Runtime's answers with its.

    checkpoint: of the model. Raises ModelError for a model without such a network and for a file that answers something else (it is
    not left there), OSError where it cannot be written.
    """
    if not isinstance(model, CompilableModel) or not isinstance(network := model.network, nn.Module):
        raise ModelError(f"{info.name} has no network that could be exported: it needs more than an image and its camera")
    inputs = _inputs(model, natural_image(*frame_size))
    black, white = (_inputs(model, torch.full((*frame_size, 3), value, dtype=torch.uint8))[0] for value in (0, 255))
    metadata = {
        "model": info.name,
        "license": info.license,
        "sha256_of_checkpoint": "" if checkpoint is None else hub.digest_of(checkpoint),
        "revision": "" if info.hub is None else info.hub.revision or "",
        "made_by": f"depth_retrofit_ros {depth_retrofit_ros.__version__}, torch {torch.__version__}",
        "frame": f"{frame_size[1]}x{frame_size[0]}",
        "image_planes": _normalization(black, white),
        "depth": _ANSWERS.get(family_of(info), "disparity" if info.claim.inverse else "depth"),
        "scale": str(info.claim),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_onnx(network, inputs, file, info.name, metadata)
    agreement, described = _checked(file, network, inputs)
    if not agreement.holds or agreement.overlap < LEAST_OVERLAP or agreement.tail > LARGEST_TAIL:
        file.unlink()
        raise ModelError(f"{info.name} as ONNX {agreement}: it is not written")
    return Exported(file, agreement, *described)


def _inputs(model: Any, image: Tensor) -> Tensors:
    """What the model gives its network for this frame."""
    height, width = image.shape[:2]
    network = model.network
    recorder = model.network = _Recorder(network)
    try:
        model.predict(image, Camera.from_hfov(width, height, USUAL_HFOV_DEG))
    finally:
        model.network = network
    return recorder.inputs


def _normalization(black: Tensor, white: Tensor) -> str:
    """How the planes are made of RGB in 0…1, in words, by what became of black and of white; a border is 0 in both."""
    low, high = (planes[0, ..., planes.shape[-2] // 2, planes.shape[-1] // 2].double().flatten()[-3:] for planes in (black, white))
    deviation = 1 / (high - low)
    mean, std = (", ".join(f"{value:.4g}" for value in values.tolist()) for values in (-low * deviation, deviation))
    return f"RGB in 0 to 1 by area averaging, minus ({mean}), divided by ({std})"


def _checked(file: Path, network: nn.Module, inputs: Tensors) -> tuple[Agreement, list[dict[str, tuple[int, ...]]]]:
    """How ONNX Runtime's answers agree with the network's; names and shapes of inputs and outputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    given = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})
    with torch.no_grad():
        expected = network(*inputs)
    answer = tuple(torch.from_numpy(values) for values in given)
    described = [{entry.name: tuple(entry.shape) for entry in entries} for entries in (session.get_inputs(), session.get_outputs())]
    return compare(expected, answer), described
