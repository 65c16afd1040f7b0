"""One protocol for everything that runs a network, and what a model must be for that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Tensors = tuple[Tensor, ...]
Network = Callable[..., Tensors]


@runtime_checkable
class CompilableModel(Protocol):
    """A ``CoarseModel`` whose network an engine may take the place of.

    network: called with tensors alone, it returns a tuple of tensors: the depth, or whatever depth is made of by a monotonic
    function, ``[1, h, w]``; the features ``[1, C, h', w']``; and what else the model needs. Shapes depend on shapes alone. It is an
    ``nn.Module`` until an engine takes its place. Its parameters may have several dtypes; its inputs say which those have.
    """

    network: Network


@dataclass(frozen=True, slots=True)
class Source:
    """Where a network comes from, so that a program made of it is not taken for another's.

    model: as registered. digest: SHA-256 of its checkpoint.
    """

    model: str
    digest: str


class CoarseEngine(Protocol):
    """name: as registered. devices: the types of device that it computes on. precisions: in which it can compute there."""

    name: str
    devices: tuple[str, ...]
    precisions: tuple[torch.dtype, ...]

    def compile(self, network: nn.Module, inputs: Tensors, precision: torch.dtype, source: Source) -> Network:
        """A program that does what ``network`` does, for inputs of these shapes and dtypes on their device; it answers there.

        precision: of the bulk of it; parts that a network calls exact, and what it returns beside features, are float32. Raises
        ModelError in one line for a network that the engine cannot take.
        """
        ...
