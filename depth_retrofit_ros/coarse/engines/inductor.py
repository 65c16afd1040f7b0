"""``torch.compile``: kernels of its own between the products, made on this machine."""

from __future__ import annotations

from types import FunctionType

import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.engines.base import Network, Source, Tensors
from depth_retrofit_ros.coarse.engines.precision import Lowered, LoweredOnce
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.io.checkpoints import first_line


class InductorEngine:
    """``CoarseEngine``. What it makes, torch keeps in a cache on disk of its own, so that the next start takes seconds."""

    name = "inductor"
    devices: tuple[str, ...] = ("cpu", "cuda")
    precisions: tuple[torch.dtype, ...] = (torch.float32, torch.float16, torch.bfloat16)

    def __init__(self) -> None:
        self._lowered = LoweredOnce()

    def compile(self, network: nn.Module, inputs: Tensors, precision: torch.dtype, source: Source) -> Network:
        """See ``CoarseEngine.compile``. Raises ModelError where the network is not one graph, or no C++ compiler is there."""
        compiled: Network = torch.compile(_function(self._lowered(network, precision)), fullgraph=True, dynamic=False)
        try:
            compiled(*inputs)  # in the mode that frames come in: another would compile it again
        except Exception as error:  # dynamo and inductor raise classes of their own, which differ among the versions of torch
            raise ModelError(f"coarse engine inductor cannot compile {source.model} ({first_line(error)}): use eager") from error
        return compiled


def _function(network: Lowered) -> Network:
    """The call of a network, in code of its own: what is compiled, torch keeps with the code object, a few programs at most, of
    which none is released before the code is."""

    def call(*inputs: Tensor) -> Tensors:
        return network(*inputs)

    return FunctionType(call.__code__.replace(), call.__globals__, call.__name__, None, call.__closure__)
