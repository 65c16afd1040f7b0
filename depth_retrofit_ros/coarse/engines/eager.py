"""The network as it is."""

from __future__ import annotations

import torch
from torch import nn

from depth_retrofit_ros.coarse.engines.base import Network, Source, Tensors


class EagerEngine:
    """``CoarseEngine``: what the others are checked against."""

    name = "eager"
    devices = ("cpu", "cuda")
    precisions = (torch.float32, torch.float16, torch.bfloat16)

    def compile(self, network: nn.Module, inputs: Tensors, precision: torch.dtype, source: Source) -> Network:
        """See ``CoarseEngine.compile``."""
        return network
