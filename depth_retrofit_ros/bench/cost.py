"""What one kernel costs a GPU: bytes of its tensors, operations of its matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

from depth_retrofit_ros.device.launches import Launch, plain

SECTOR = 32  # bytes, the least that a GPU reads of its memory
ATTENTION = "scaled_dot_product_attention"


@dataclass(frozen=True, slots=True)
class Kernel:
    """One launch. read, written: bytes of its arguments and results, each tensor once: the least that moves.

    flops: of a matrix product, convolution or attention, 0 of anything else; half: in 16 bits, which tensor cores take. fusible: an
    operation on each element, or a copy.
    """

    name: str
    read: int
    written: int
    flops: int = 0
    half: bool = False
    fusible: bool = False


@dataclass(slots=True)
class Cost:
    """Of a stage: its kernels, each operation that is no view and no allocation being one; fetched: bytes that are copied to the
    host, behind which nothing waits on the device."""

    kernels: list[Kernel] = field(default_factory=list)
    fetched: int = 0

    @property
    def launches(self) -> int:
        """Of kernels."""
        return len(self.kernels)

    @property
    def read(self) -> int:
        """[bytes]"""
        return sum(kernel.read for kernel in self.kernels)

    @property
    def written(self) -> int:
        """[bytes]"""
        return sum(kernel.written for kernel in self.kernels)

    @property
    def flops(self) -> int:
        """Of matrix products, convolutions and attention."""
        return sum(kernel.flops for kernel in self.kernels)


def flops_of(func: Any, args: Any, kwargs: Any, result: Any) -> int:
    """As torch counts them: a multiplication and an addition are two."""
    if func._schema.name == f"aten::{ATTENTION}":
        query, key, value = (argument.shape for argument in args[:3])
        heads = query[:-2].numel()
        return 2 * heads * query[-2] * key[-2] * (query[-1] + value[-1])
    count = flop_registry.get(func._overloadpacket)
    return 0 if count is None else int(count(*args, **kwargs, out_val=result))


def convolution_flops(launch: Launch) -> int:
    """Of a kernel that multiplies matrices, as the sparse convolution says in its constants: neighbors that are absent, which
    count as zeros, are multiplied too. 0 of any other."""
    if "TAPS" not in launch.constants:
        return 0
    rows = dict(zip(plain(launch.kernel).arg_names, launch.arguments, strict=False))["count"]
    constants = launch.constants
    return int(2 * rows * constants["TAPS"] * constants["SLOTS"] * constants["CHANNELS"] * constants["OUTPUTS"])


def is_half(tensors: Sequence[torch.Tensor]) -> bool:
    """Whether all their floating-point numbers have 16 bits."""
    sizes = {tensor.element_size() for tensor in tensors if tensor.is_floating_point()}
    return sizes == {2}


def bytes_of(tensors: Sequence[torch.Tensor]) -> int:
    """Of these tensors, each once. Of a column, each element costs a sector of memory."""
    return sum(tensor.numel() * _bytes_each(tensor) for tensor in {id(tensor): tensor for tensor in tensors}.values())


def _bytes_each(tensor: torch.Tensor) -> int:
    size = tensor.element_size()
    return min(SECTOR, size * tensor.stride(0)) if tensor.dim() == 1 else size
