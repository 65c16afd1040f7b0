"""Sparse engines: one protocol, one mapping from name to class, loaded when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

import torch

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.selection.pixel_set import PixelSet
from depth_retrofit_ros.sparse.pyramid import Level, Pyramid

ENGINES: dict[str, str] = {
    "torch": "depth_retrofit_ros.sparse.torch_engine:TorchEngine",
}


class SparseEngine(Protocol):
    """What a sparse U-Net needs from an engine.

    Features are ``[K, C]`` in the order of the level's pixels; weights have the layouts of the dense ``Conv2d`` (for ``up_conv``,
    ``ConvTranspose2d``); a bias is ``[Cout]`` or None. Absent pixels count as zero. Every engine agrees with ``torch``.
    """

    name: str

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
    ) -> torch.Tensor:
        """3x3, ``[K, Cin]`` to ``[K, Cout]``; weight ``[Cout, Cin, 3, 3]``. relu_input: apply ReLU to the features first."""
        ...

    def down_conv(self, features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, level: Level) -> torch.Tensor:
        """2x2 with stride 2, from ``level`` ``[K, Cin]`` to the next coarser one ``[K', Cout]``; weight ``[Cout, Cin, 2, 2]``."""
        ...

    def up_conv(self, features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, level: Level) -> torch.Tensor:
        """Its transpose, from the next coarser level ``[K', Cin]`` to ``level`` ``[K, Cout]``; weight ``[Cin, Cout, 2, 2]``."""
        ...


def load_engine(name: str = "torch") -> SparseEngine:
    """The engine of that name. Raises ModelError where it is unknown or its software is not installed."""
    if name not in ENGINES:
        raise ModelError(f"unknown sparse engine '{name}': choose one of {', '.join(ENGINES)}")
    module, _, attribute = ENGINES[name].partition(":")
    try:
        engine: SparseEngine = getattr(import_module(module), attribute)()
    except ImportError as error:
        raise ModelError(f"sparse engine '{name}' needs software that is not installed: {error}") from error
    return engine
