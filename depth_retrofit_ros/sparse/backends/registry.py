"""Sparse backends: one protocol, one mapping from name to class, loaded when asked for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

import torch

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.pyramid import Level, Pyramid

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """loader: ``module:class``; package: the one that it needs beside ours, with how to get it; gradients: whether one can train by
    it."""

    loader: str
    description: str
    package: str = "torch"
    how_to_get: str = ""
    gradients: bool = False


BACKENDS: dict[str, BackendInfo] = {
    "torch": BackendInfo(
        "depth_retrofit_ros.sparse.backends.torch:TorchBackend",
        "plain torch, any device, with gradients: for training, and the specification of the others",
        gradients=True,
    ),
    "cpu": BackendInfo(
        "depth_retrofit_ros.sparse.backends.cpu.backend:CpuBackend",
        "compiled and fused, float32, or bfloat16 where the CPU has AVX-512 BF16, without gradients: for inference on a CPU",
    ),
    "triton": BackendInfo(
        "depth_retrofit_ros.sparse.backends.triton.backend:TritonBackend",
        "one fused kernel, float16, bfloat16 or float32, without gradients: for inference on CUDA",
        "triton",
        "pip install 'depth_retrofit_ros[cuda]', or triton as it fits your torch",
    ),
    "minkowski": BackendInfo(
        "depth_retrofit_ros.sparse.backends.minkowski:MinkowskiBackend",
        "MinkowskiEngine's convolutions, float32, with gradients: to compare with, and to train by",
        "MinkowskiEngine",
        "build it from github.com/NVIDIA/MinkowskiEngine (docs/engines.md)",
        gradients=True,
    ),
    "spconv": BackendInfo(
        "depth_retrofit_ros.sparse.backends.spconv:SpconvBackend",
        "spconv's convolutions, to compare with; on a CPU on one thread, more give wrong results there",
        "spconv",
        "pip install spconv (CPU) or spconv-cuXYZ for your CUDA X.YZ",
    ),
}


class SparseBackend(Protocol):
    """What a sparse U-Net needs from a backend.

    Features are ``[K, C]`` in the order of the level's pixels; weights have the layouts of the dense ``Conv2d`` (for ``up_conv``,
    ``ConvTranspose2d``); a bias is ``[Cout]`` or None. Absent pixels count as zero. relu_input: apply ReLU to the features first;
    residual: of the result's shape, added to it. Every backend agrees with ``torch``.

    devices: the types of device that it computes on; types: those of features and weights that it computes in on this machine, the
    fastest that is good enough for a refiner first. ``linear`` converts from each of them to each other.
    """

    name: str
    devices: tuple[str, ...]

    @property
    def types(self) -> tuple[torch.dtype, ...]: ...

    def lack_of(self, dtype: torch.dtype) -> str:
        """What is missing on this machine to compute in a type that is not among ``types``; empty where nothing would help."""
        ...

    def build_pyramid(self, pixels: PixelSet, levels: int) -> Pyramid:
        """All levels and kernel maps of a frame, to be shared by every convolution on it."""
        ...

    def submanifold_conv(
        self,
        features: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        level: Level,
        *,
        relu_input: bool = False,
        residual: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """3x3, ``[K, Cin]`` to ``[K, Cout]``; weight ``[Cout, Cin, 3, 3]``."""
        ...

    def down_conv(self, features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, level: Level) -> torch.Tensor:
        """2x2 with stride 2, from ``level`` ``[K, Cin]`` to the next coarser one ``[K', Cout]``; weight ``[Cout, Cin, 2, 2]``."""
        ...

    def up_conv(
        self,
        features: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        level: Level,
        *,
        residual: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Its transpose, from the next coarser level ``[K', Cin]`` to ``level`` ``[K, Cout]``; weight ``[Cin, Cout, 2, 2]``."""
        ...

    def linear(
        self, features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *, relu_input: bool = False
    ) -> torch.Tensor:
        """Each row by itself, ``[K, Cin]`` to ``[K, Cout]``; weight ``[Cout, Cin]``, as in ``nn.Linear``. The features are
        brought to the weight's type."""
        ...


def is_installed(info: BackendInfo) -> bool:
    """Whether what it needs can be imported."""
    return find_spec(info.package) is not None


def resolve_backend(name: str, device: torch.device) -> str:
    """``auto`` is ``cpu`` on a CPU, and on CUDA ``triton``, or ``torch`` where Triton is missing; other names are themselves."""
    if name != "auto":
        return name
    if device.type != "cuda":
        return "cpu"
    return "triton" if is_installed(BACKENDS["triton"]) else "torch"


def load_backend(name: str, device: torch.device | None = None, *, gradients: bool = False) -> SparseBackend:
    """The backend of that name, or of ``auto``, which says so in the log where it is not the fastest.

    device: where it shall compute; None: on the CPU. gradients: it must have them. Raises ModelError where the name is unknown, its
    software is not installed, it does not compute there, or has no gradients.
    """
    device = device or torch.device("cpu")
    asked, name = name, resolve_backend(name, device)
    if asked == "auto" and name == "torch":
        _LOG.warning(
            "sparse backend auto is torch here, slower than triton, which is not installed: %s", BACKENDS["triton"].how_to_get
        )
    if name not in BACKENDS:
        raise ModelError(f"unknown sparse backend '{name}': choose one of auto, {', '.join(BACKENDS)}")
    info = BACKENDS[name]
    if gradients and not info.gradients:
        able = " or ".join(other for other, theirs in BACKENDS.items() if theirs.gradients)
        raise ModelError(f"sparse backend '{asked}' computes no gradients: train with {able}")
    if not is_installed(info):
        raise ModelError(f"sparse backend '{name}' needs {info.package}, which is not installed: {info.how_to_get}")
    module, _, attribute = info.loader.partition(":")
    try:
        backend: SparseBackend = getattr(import_module(module), attribute)()
    except ImportError as error:
        raise ModelError(f"sparse backend '{name}' cannot be loaded ({error}): {info.how_to_get}") from error
    if device.type not in backend.devices:
        there = " and ".join(backend.devices)
        raise ModelError(f"sparse backend '{name}' computes on {there}, not on {device.type}: choose another one, or auto")
    return backend
