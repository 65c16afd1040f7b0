"""A stand-in for CUDA graphs that computes on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from depth_retrofit_ros.device.cuda_graphs import Captured, Graphed

R = TypeVar("R")


class Capturing(TorchDispatchMode):
    """What CUDA does to work that looks at a value while it is captured."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name in ("aten::_local_scalar_dense", "aten::nonzero"):
            raise RuntimeError("operation not permitted when stream is capturing")
        return func(*args, **kwargs or {})


class Recorded(Graphed[R]):
    """Replays by computing again, into the memory of the first result, as a graph does."""

    def __init__(
        self,
        work: Callable[..., R],
        copy: Callable[[R], R],
        device: torch.device,
        most: int = 8,
        source: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(work, copy, device, most, source)
        self._on_cuda = True

    def _capture(self, key: Hashable, inputs: tuple[torch.Tensor, ...]) -> Captured[R]:
        with Capturing():
            result = self._work(key, *inputs)

        class Graph:
            @torch.inference_mode()
            def replay(graph) -> None:
                for memory, new in zip(_tensors(result), _tensors(self._work(key, *inputs)), strict=True):
                    memory.copy_(new)

        return Captured(Graph(), inputs, result)


def _tensors(result: Any) -> list[torch.Tensor]:
    values = [getattr(result, field.name) for field in fields(result)] if is_dataclass(result) else [result]
    return [value for value in values if isinstance(value, torch.Tensor)]
