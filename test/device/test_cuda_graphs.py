"""Capture and replay, with a stand-in for CUDA's graph that computes on the CPU: whose memory is whose, and what is kept."""

from __future__ import annotations

from collections.abc import Hashable

import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.graphed import GraphedCoarse
from depth_retrofit_ros.device.cuda_graphs import Captured, Graphed
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.retrofit import load


class Recorded(Graphed[torch.Tensor]):
    """Replays by computing again, into the memory of the first result, as a graph does."""

    captures = 0

    def __init__(self, most: int = 8) -> None:
        super().__init__(lambda key, a, b: key * a + b, torch.Tensor.clone, torch.device("cpu"), most)
        self._on_cuda = True

    def _capture(self, key: Hashable, inputs: tuple[torch.Tensor, ...]) -> Captured[torch.Tensor]:
        self.captures += 1
        result = self._work(key, *inputs)

        class Graph:
            def replay(graph) -> None:
                result.copy_(self._work(key, *inputs))

        return Captured(Graph(), inputs, result)


def test_results_are_of_the_inputs_of_their_call_and_stay() -> None:
    graphed = Recorded()
    calls = [(2, torch.randn(4), torch.randn(4)) for _ in range(3)]
    results = [graphed(*call) for call in calls]
    assert graphed.captures == 1
    for (key, a, b), result in zip(calls, results, strict=True):
        torch.testing.assert_close(result, key * a + b)


def test_another_key_shape_or_type_is_another_graph() -> None:
    graphed = Recorded()
    for key, size, dtype in ((1, 4, torch.float32), (2, 4, torch.float32), (1, 5, torch.float32), (1, 4, torch.float64)):
        for _ in range(2):
            assert graphed(key, torch.ones(size, dtype=dtype), torch.ones(size, dtype=dtype)).tolist() == [key + 1] * size
    assert graphed.captures == 4


def test_the_graph_not_used_for_longest_is_forgotten() -> None:
    graphed, one = Recorded(most=2), torch.ones(1)
    for key in (1, 2, 1, 3, 1):
        graphed(key, one, one)
    assert graphed.captures == 3
    graphed(2, one, one)
    assert graphed.captures == 4


def test_on_a_cpu_the_work_is_just_called() -> None:
    class Model:
        name, claim, device = "model", ScaleClaim("metric", "camera"), torch.device("cpu")

        def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
            return CoarsePrediction(image[..., 0].float(), image.permute(2, 0, 1).float())

    image, camera = torch.full((4, 6, 3), 7, dtype=torch.uint8), Camera(6, 4, 5.0, 5.0, 3.0, 2.0)
    graphed = GraphedCoarse(Model())
    assert (graphed.name, graphed.claim) == ("model", Model.claim)
    prediction = graphed.predict(image, camera)
    assert prediction.depth.tolist() == [[7.0] * 6] * 4


def test_graphs_without_cuda_are_refused_in_one_line() -> None:
    with pytest.raises(ModelError, match=r"cuda_graphs needs CUDA and engine triton, not cpu and cpu: leave it off"):
        load("compact", device="cpu", cuda_graphs=True)


@pytest.mark.cuda
def test_on_cuda_graphs_give_what_the_method_gives() -> None:
    image = torch.randint(0, 256, (180, 320, 3), dtype=torch.uint8).numpy()
    from depth_retrofit_ros.frame import Frame

    plain, graphed = load("compact", device="cuda"), load("compact", device="cuda", cuda_graphs=True)
    for _ in range(3):
        torch.testing.assert_close(graphed(Frame(image)).depth, plain(Frame(image)).depth, rtol=1e-3, atol=1e-3)
