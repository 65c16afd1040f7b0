"""Capture and replay, with a stand-in for CUDA's graph that computes on the CPU: whose memory is whose, and what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.graphed import GraphedCoarse
from depth_retrofit_ros.device.cuda_graphs import Graphed
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.retrofit import load
from test.coarse.plugin_package import forget_plugins, use_plugins, write_plugin
from test.device.recorded import Recorded


class Sums(Recorded[torch.Tensor]):
    def __init__(self, most: int = 8) -> None:
        super().__init__(lambda key, a, b: key * a + b, torch.Tensor.clone, torch.device("cpu"), most)


def test_results_are_of_the_inputs_of_their_call_and_stay() -> None:
    graphed = Sums()
    calls = [(2, torch.randn(4), torch.randn(4)) for _ in range(3)]
    results = [graphed(*call) for call in calls]
    assert graphed.captures == 1
    for (key, a, b), result in zip(calls, results, strict=True):
        torch.testing.assert_close(result, key * a + b)


def test_another_key_shape_or_type_is_another_graph() -> None:
    graphed = Sums()
    for key, size, dtype in ((1, 4, torch.float32), (2, 4, torch.float32), (1, 5, torch.float32), (1, 4, torch.float64)):
        for _ in range(2):
            assert graphed(key, torch.ones(size, dtype=dtype), torch.ones(size, dtype=dtype)).tolist() == [key + 1] * size
    assert graphed.captures == 4


def test_the_graph_not_used_for_longest_is_forgotten() -> None:
    graphed, one = Sums(most=2), torch.ones(1)
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


def test_a_capture_bears_what_other_threads_do_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another camera of the process may configure. By what is passed to torch: there is no device here that could tell."""
    asked: list[dict[str, object]] = []

    @contextmanager
    def graph(captured: object, **options: object) -> Iterator[None]:
        asked.append(options)
        yield

    class CUDAGraph:
        def replay(self) -> None: ...

    nothing = {"synchronize": lambda: None, "graph_pool_handle": lambda: "pool", "current_stream": lambda: "stream"}
    for name, stand_in in {**nothing, "graph": graph, "CUDAGraph": CUDAGraph}.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    graphed = Graphed(lambda key, a: a + key, torch.Tensor.clone, torch.device("cuda"))
    assert graphed(2, torch.ones(3)).tolist() == [3.0] * 3
    assert asked == [{"pool": "pool", "stream": "stream", "capture_error_mode": "thread_local"}]


def test_graphs_without_cuda_are_refused_in_one_line() -> None:
    with pytest.raises(ModelError, match=r"cuda_graphs needs CUDA and engine triton, not cpu and cpu: leave it off"):
        load("compact", device="cpu", cuda_graphs=True)


def test_graphs_of_a_model_that_remembers_are_refused_before_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "MODEL = entry('rememberer', uses=frozenset({'the past', 'sparse depth', 'focal length'}), loader='nowhere:load')\n"
    use_plugins(monkeypatch, write_plugin(tmp_path, "rememberer", source, "rememberer = rememberer:MODEL"))
    told = "cuda_graphs cannot replay rememberer, which uses sparse depth and the past: leave it off"
    with pytest.raises(ModelError, match=f"^{told}$"):
        load("rememberer", device="cpu", cuda_graphs=True)
    forget_plugins()


@pytest.mark.cuda
def test_on_cuda_graphs_give_what_the_method_gives() -> None:
    image = torch.randint(0, 256, (180, 320, 3), dtype=torch.uint8).numpy()
    plain, graphed = load("compact", device="cuda"), load("compact", device="cuda", cuda_graphs=True)
    frames = [Frame(image, camera=Camera(320, 180, f_px, f_px, 159.5, 89.5)) for f_px in (200.0, 210.0, 400.0)]
    for frame in (Frame(image), *frames, Frame(image)):
        torch.testing.assert_close(graphed(frame).depth, plain(frame).depth, rtol=1e-3, atol=1e-3)
    assert isinstance(graphed.coarse, GraphedCoarse) and graphed.coarse.captures == 2, "with a camera and without one"
