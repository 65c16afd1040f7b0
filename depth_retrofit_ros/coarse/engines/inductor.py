"""``torch.compile``: kernels of its own between the products, made on this machine."""

from __future__ import annotations

import torch
from torch import nn

from depth_retrofit_ros.coarse.engines.base import Network, Source, Tensors
from depth_retrofit_ros.coarse.engines.precision import lowered
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.io.checkpoints import first_line


class InductorEngine:
    """``CoarseEngine``. What it makes, torch keeps in a cache on disk of its own, so that the next start takes seconds."""

    name = "inductor"
    devices: tuple[str, ...] = ("cpu", "cuda")
    precisions: tuple[torch.dtype, ...] = (torch.float32, torch.float16, torch.bfloat16)

    def compile(self, network: nn.Module, inputs: Tensors, precision: torch.dtype, source: Source) -> Network:
        """See ``CoarseEngine.compile``. Raises ModelError where the network is not one graph, or no C++ compiler is there."""
        with torch.inference_mode(False):  # parameters of its own, which any mode can use
            compiled: Network = torch.compile(lowered(network, precision), fullgraph=True, dynamic=False)
        try:
            compiled(*inputs)  # in the mode that frames come in: another would compile it again
        except Exception as error:  # dynamo and inductor raise classes of their own, which differ among the versions of torch
            raise ModelError(f"coarse engine inductor cannot compile {source.model} ({first_line(error)}): use eager") from error
        return compiled
