"""CUDA graphs: hundreds of small kernels launched by one call, for work of fixed shapes. On a CPU the work is just called."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarseModel, CoarsePrediction
from depth_retrofit_ros.refinement.pixels.features import PixelFeatures
from depth_retrofit_ros.refinement.pixels.network import Refinement
from depth_retrofit_ros.refinement.pixels.refiner import Refined, SparseRefiner
from depth_retrofit_ros.sparse.pixel_set import PixelSet

R = TypeVar("R")
WARM_UPS = 3  # libraries choose their kernels and workspaces in these; a capture must not


class Graph(Protocol):
    """What ``torch.cuda.CUDAGraph`` and its stand-ins do."""

    def replay(self) -> None:
        """Compute the outputs anew from what the inputs hold now."""
        ...


@dataclass(frozen=True, slots=True)
class Captured(Generic[R]):
    """A graph, the tensors that it reads, and what it writes."""

    graph: Graph
    inputs: tuple[torch.Tensor, ...]
    result: R


class Graphed(Generic[R]):
    """``work(key, *tensors)``, captured once per key and shapes, and replayed from then on.

    work: must not look at values. copy: of its result, with tensors of its own: those that the graph writes are overwritten by the
    next replay. most: graphs that are kept; of more, the one not used for longest is forgotten. They share one memory pool, so all
    must be replayed on one stream.
    """

    def __init__(self, work: Callable[..., R], copy: Callable[[R], R], device: torch.device, most: int = 8) -> None:
        self._work, self._copy, self._most = work, copy, most
        self._on_cuda = device.type == "cuda"
        self._captured: OrderedDict[Hashable, Captured[R]] = OrderedDict()
        self._pool: Any = None

    def __call__(self, key: Hashable, *tensors: torch.Tensor) -> R:
        """The work's result, its own to keep. Raises what capturing raises, such as RuntimeError for work that looks at values."""
        if not self._on_cuda:
            return self._work(key, *tensors)
        full_key = key, *((tensor.shape, tensor.dtype) for tensor in tensors)
        if full_key not in self._captured:
            self._captured[full_key] = self._capture(key, tuple(tensor.clone() for tensor in tensors))
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
        with torch.cuda.graph(graph, pool=self._pool, stream=torch.cuda.current_stream()):
            result = self._work(key, *inputs)
        return Captured(graph, inputs, result)


class GraphedCoarse:
    """A ``CoarseModel`` replayed as a graph: one per image size and camera."""

    def __init__(self, model: CoarseModel) -> None:
        self.name, self.claim, self.device = model.name, model.claim, model.device
        self._graphed = Graphed(
            lambda camera, image: model.predict(image, camera),
            lambda made: replace(made, depth=made.depth.clone(), features=made.features.clone()),
            model.device,
        )

    def predict(self, image: torch.Tensor, camera: Camera | None) -> CoarsePrediction:
        """See ``CoarseModel.predict``."""
        return self._graphed(camera, image)


class GraphedRefiner:
    """A ``SparseRefiner`` whose ``refine`` is replayed as a graph: one per image size and number of pixels."""

    def __init__(self, refiner: SparseRefiner) -> None:
        self.backend_name = refiner.backend_name
        self.fuse = refiner.fuse
        device = next(refiner.network.parameters()).device

        def refine(key: Hashable, *tensors: torch.Tensor) -> Refined:
            image, small, coarse, features, depth, score, indices, index_image = tensors
            prediction = CoarsePrediction(coarse, features)
            return refiner.refine(image, small, prediction, depth, score, PixelSet(indices, index_image))

        self._graphed = Graphed(refine, _own, device)

    def refine(
        self,
        image: torch.Tensor,
        small: torch.Tensor,
        coarse: CoarsePrediction,
        depth: torch.Tensor,
        score: torch.Tensor,
        pixels: PixelSet,
    ) -> Refined:
        """See ``Refiner.refine``."""
        maps = coarse.depth, coarse.features, depth, score
        return self._graphed(None, image, small, *maps, pixels.indices, pixels.index_image)


def _own(refined: Refined) -> Refined:
    """A copy of what ``fuse`` needs."""
    decided = refined.refinement
    own = Refinement(decided.change.clone(), None, decided.entropy.clone())
    return Refined(refined.coarse.clone(), PixelFeatures(refined.features.rows.clone()), own)
