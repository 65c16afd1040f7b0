"""The network as it is, in its own precision or in another."""

from __future__ import annotations

import torch
from torch import nn

from depth_retrofit_ros.coarse.engines.base import Network, Source, Tensors
from depth_retrofit_ros.coarse.engines.precision import lowered


class EagerEngine:
    """``CoarseEngine``: what the others are checked against."""

    name = "eager"
    devices: tuple[str, ...] = ("cpu", "cuda")
    precisions: tuple[torch.dtype, ...] = (torch.float32, torch.float16, torch.bfloat16)

    def compile(self, network: nn.Module, inputs: Tensors, precision: torch.dtype, source: Source) -> Network:
        """See ``CoarseEngine.compile``."""
        with torch.inference_mode(False):  # parameters of its own, which any mode can use
            return lowered(network, precision)
