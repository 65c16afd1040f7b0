"""The network as it is, in its own precision or in another."""

from __future__ import annotations

import torch
from torch import nn

from depth_retrofit_ros.coarse.engines.base import Network, Source, Tensors
from depth_retrofit_ros.coarse.engines.precision import LoweredOnce


class EagerEngine:
    """``CoarseEngine``: what the others are checked against. One program serves all sizes."""

    name = "eager"
    devices: tuple[str, ...] = ("cpu", "cuda")
    precisions: tuple[torch.dtype, ...] = (torch.float32, torch.float16, torch.bfloat16)

    def __init__(self) -> None:
        self._lowered = LoweredOnce()

    def compile(self, network: nn.Module, inputs: Tensors, precision: torch.dtype, source: Source) -> Network:
        """See ``CoarseEngine.compile``."""
        return self._lowered(network, precision)
