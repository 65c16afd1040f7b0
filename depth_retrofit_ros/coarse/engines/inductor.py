"""``torch.compile``: kernels of its own between the products, made on this machine."""

from __future__ import annotations

import torch
from torch import nn

from depth_retrofit_ros.coarse.engines.base import Network, Source, Tensors
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.io.checkpoints import first_line


class InductorEngine:
    """``CoarseEngine``. What it makes, torch keeps in a cache on disk of its own, so that the next start takes seconds."""

    name = "inductor"
    devices = ("cpu", "cuda")
    precisions = (torch.float32, torch.float16, torch.bfloat16)

    def compile(self, network: nn.Module, inputs: Tensors, precision: torch.dtype, source: Source) -> Network:
        """See ``CoarseEngine.compile``. Raises ModelError where the network is not one graph, or no C++ compiler is there."""
        compiled: Network = torch.compile(network, fullgraph=True, dynamic=False)
        try:
            with torch.no_grad():
                compiled(*inputs)
        except (RuntimeError, torch._dynamo.exc.TorchDynamoException) as error:
            raise ModelError(f"coarse engine inductor cannot compile {source.model} ({first_line(error)}): use eager") from error
        return compiled
