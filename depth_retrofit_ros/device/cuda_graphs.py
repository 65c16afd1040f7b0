"""CUDA graphs: hundreds of small kernels launched by one call, for work of fixed shapes. On a CPU the work is just called."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import torch

R = TypeVar("R")
CAPTURE_ERROR_MODE = "thread_local"
"""By CUDA's default, whatever any thread of the process allocates while one captures breaks the capture: another camera of the
process loads its networks, or warms up, at that moment."""
WARM_UPS = 3  # libraries choose their kernels and workspaces in these; a capture must not


class Graph(Protocol):
    """What ``torch.cuda.CUDAGraph`` and its stand-ins do."""

    def replay(self) -> None:
        """Compute the outputs anew from what the inputs hold now."""
        ...


@dataclass(frozen=True, slots=True)
class Captured(Generic[R]):
    """A graph, the tensors that it reads, and what it writes. source: whose memory it reads beside them, kept as long as this."""

    graph: Graph
    inputs: tuple[torch.Tensor, ...]
    result: R
    source: object = None


class Graphed(Generic[R]):
    """``work(key, *tensors)``, captured once per key and shapes, and replayed from then on.

    work: must not look at values. copy: of its result, with tensors of its own: those that the graph writes are overwritten by the
    next replay. most: graphs that are kept; of more, the one not used for longest is forgotten. They share one memory pool, so all
    must be replayed on one stream. source: asked after each capture for what owns the memory that the work read, where that could
    be released before the graph is; None where it lives as long as the work.
    """

    def __init__(
        self,
        work: Callable[..., R],
        copy: Callable[[R], R],
        device: torch.device,
        most: int = 8,
        source: Callable[[], object] | None = None,
    ) -> None:
        self._work, self._copy, self._most, self._source = work, copy, most, source
        self.captures = 0
        """How many graphs were captured so far."""
        self._on_cuda = device.type == "cuda"
        self._captured: OrderedDict[Hashable, Captured[R]] = OrderedDict()
        self._pool: Any = None

    def __call__(self, key: Hashable, *tensors: torch.Tensor) -> R:
        """The work's result, its own to keep. Raises what capturing raises, such as RuntimeError for work that looks at values."""
        if not self._on_cuda:
            return self._work(key, *tensors)
        full_key = key, *((tensor.shape, tensor.dtype) for tensor in tensors)
        if full_key not in self._captured:
            self.captures += 1
            captured = self._capture(key, tuple(tensor.clone() for tensor in tensors))
            if self._source is not None:
                captured = replace(captured, source=self._source())
            self._captured[full_key] = captured
            while len(self._captured) > self._most:
                self._captured.popitem(last=False)
        self._captured.move_to_end(full_key)
        captured = self._captured[full_key]
        for static, tensor in zip(captured.inputs, tensors, strict=True):
            static.copy_(tensor)
        captured.graph.replay()
        return self._copy(captured.result)

    def _capture(self, key: Hashable, inputs: tuple[torch.Tensor, ...]) -> Captured[R]:
        for _ in range(WARM_UPS):
            self._work(key, *inputs)
        torch.cuda.synchronize()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream()
        with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode=CAPTURE_ERROR_MODE):
            result = self._work(key, *inputs)
        return Captured(graph, inputs, result)
