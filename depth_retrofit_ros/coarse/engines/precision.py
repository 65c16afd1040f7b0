"""In which precision a network computes: its bulk in one dtype, and the parts that it calls exact in float32."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.engines.base import Tensors

_Module = TypeVar("_Module", bound=nn.Module)


@runtime_checkable
class HasExactParts(Protocol):
    """A network some of whose parts compute in float32 in any case; it gives these what they take in float32."""

    def exact(self) -> Iterator[nn.Module]:
        """The parts: mostly the last projection, and what is behind it."""
        ...


def in_precision(network: _Module, dtype: torch.dtype) -> _Module:
    """The network itself with its floating-point numbers in ``dtype``, but for its exact parts, which are float32.

    Numbers of an exact part are not rounded on the way, as they would be by ``network.to(dtype)`` and back.
    """
    parts: Iterable[nn.Module] = network.exact() if isinstance(network, HasExactParts) else ()
    exact = {id(module) for part in parts for module in part.modules()}
    for module in network.modules():
        wanted = torch.float32 if id(module) in exact else dtype
        for parameter in module.parameters(recurse=False):
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(wanted)
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_floating_point():
                setattr(module, name, buffer.to(wanted))
    return network


class Lowered(nn.Module):
    """A network of another precision in the place of the first: inputs are cast to it, the answer comes back in float32.

    Inputs of a single number, which holds for the whole frame, stay as they are; features and what else is answered have the
    dtype that the network gives them.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype

    def forward(self, *inputs: Tensor) -> Tensors:
        """See ``CompilableModel.network``."""
        answer, *more = self.network(*(self._cast(tensor) for tensor in inputs))
        return (answer.float(), *more)

    def _cast(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.dtype) if tensor.is_floating_point() and tensor.numel() > 1 else tensor


class LoweredOnce:
    """``lowered``, one copy of the weights for all the programs made of a network in a dtype: it is kept as long as this."""

    def __init__(self) -> None:
        self._made: tuple[nn.Module, torch.dtype, Lowered] | None = None

    def __call__(self, network: nn.Module, dtype: torch.dtype) -> Lowered:
        """The copy of the network that was asked for last, or a new one."""
        if self._made is None or self._made[0] is not network or self._made[1] != dtype:
            self._made = network, dtype, lowered(network, dtype)
        return self._made[2]


def lowered(network: nn.Module, dtype: torch.dtype) -> Lowered:
    """A copy of the network that computes in ``dtype`` but for its exact parts; the network itself stays as it is."""
    with torch.inference_mode(False):  # whose tensors cannot be exported
        return Lowered(in_precision(copy.deepcopy(network), dtype), dtype)
