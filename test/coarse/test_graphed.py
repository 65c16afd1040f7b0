"""A camera whose focal length changes from frame to frame replays one graph, and its metres are right."""

from __future__ import annotations

import copy
import gc
import importlib.util
import weakref
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import nn

from depth_retrofit_ros.bench.audit import META, Audit
from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse import graphed
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarseModel, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.compact import Compact
from depth_retrofit_ros.coarse.compact_net import CompactNet
from depth_retrofit_ros.coarse.depth_anything3 import DepthAnything3
from depth_retrofit_ros.coarse.engines import compiled
from depth_retrofit_ros.coarse.engines.base import Network, Source, Tensors
from depth_retrofit_ros.coarse.engines.compiled import use_engine
from depth_retrofit_ros.coarse.engines.eager import EagerEngine
from depth_retrofit_ros.coarse.graphed import CapturedCamera, GraphedCoarse
from depth_retrofit_ros.coarse.input_size import InputSize, long_side
from depth_retrofit_ros.coarse.metric3d import Metric3DV2
from depth_retrofit_ros.coarse.moge import MoGe2
from depth_retrofit_ros.coarse.networks import moge
from depth_retrofit_ros.coarse.networks.view_plane import recover_shift
from test.coarse import test_depth_anything3, test_moge
from test.coarse.families import FAMILIES, model_of
from test.coarse.networks.test_metric3d import tiny_network
from test.coarse.networks.test_moge import TINY
from test.device.recorded import Recorded

CPU, METRIC = torch.device("cpu"), ScaleClaim("metric", "camera")


def compact() -> CoarseModel:
    torch.manual_seed(0)
    return Compact(CompactNet(), CPU, METRIC, long_side(128, 16))


def depth_anything3() -> CoarseModel:
    net = test_depth_anything3.net_of(test_depth_anything3.METRIC_LARGE)
    return DepthAnything3(net, "tiny", METRIC, CPU, long_side(112, 14))


MODELS: dict[str, Callable[[], CoarseModel]] = {
    "compact": compact,
    "depth anything 3": depth_anything3,
    "metric3d": lambda: Metric3DV2(tiny_network(), "tiny", METRIC, CPU, InputSize("exact", (84, 140))),
    "moge": lambda: MoGe2(test_moge._net(), "tiny", METRIC, CPU, long_side(140, 14)),
    "depth pro": lambda: model_of(FAMILIES["depth pro"]),
}


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphed, "Graphed", Recorded)
    monkeypatch.setattr(moge, "ENCODERS", {**moge.ENCODERS, "tiny": TINY})


def maps(prediction: CoarsePrediction) -> dict[str, Any]:
    return {field.name: value for field in fields(prediction) if (value := getattr(prediction, field.name)) is not None}


@pytest.mark.parametrize("name", MODELS)
def test_one_graph_serves_all_focal_lengths(name: str) -> None:
    if name == "depth pro" and importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed: pip install transformers")
    model = MODELS[name]()
    replayed, image = GraphedCoarse(model), torch.randint(0, 256, (90, 150, 3), dtype=torch.uint8)
    known = [Camera(150, 90, f_px, 1.1 * f_px, 70.0, 46.0) for f_px in (100.0, 101.5, 240.0)]
    for camera in (*known, None, known[0], None):
        got, wanted = maps(replayed.predict(image, camera)), maps(model.predict(image, camera))
        assert got.keys() == wanted.keys()
        for part, values in wanted.items():
            assert got[part].dtype == values.dtype
            torch.testing.assert_close(got[part], values, rtol=2e-6, atol=1e-6)
    assert replayed.captures == 2, "with a camera and without one"


def test_answers_stay_when_the_graph_is_replayed() -> None:
    replayed, image = GraphedCoarse(compact()), torch.zeros(90, 150, 3, dtype=torch.uint8)
    first = replayed.predict(image, Camera(150, 90, 100.0, 100.0, 70.0, 46.0)).depth
    second = replayed.predict(image, Camera(150, 90, 200.0, 200.0, 70.0, 46.0)).depth
    torch.testing.assert_close(second, 2 * first)


def test_a_model_that_decides_by_the_focal_length_cannot_be_captured() -> None:
    class Decides:
        name, claim, device = "decides", METRIC, CPU

        def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
            assert camera is not None
            depth = torch.ones(4, 6) * (2.0 if camera.fx > 100 else 1.0)
            return CoarsePrediction(depth, depth[None])

    with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
        GraphedCoarse(Decides()).predict(torch.zeros(90, 150, 3, dtype=torch.uint8), Camera(150, 90, 99.0, 99.0, 70.0, 46.0))


def test_a_captured_camera_is_resized_without_a_look_at_it() -> None:
    camera = Camera(150, 90, 100.0, 110.0, 70.0, 46.0)
    numbers = torch.tensor([camera.fx, camera.fy, camera.cx, camera.cy], dtype=torch.float64)
    captured = CapturedCamera.of(torch.zeros(90, 150, 3), numbers)
    for got, wanted in ((captured.resized(75, 30), camera.resized(75, 30)), (captured.strided(2), camera.strided(2))):
        assert (got.width, got.height) == (wanted.width, wanted.height)
        assert [float(value) for value in (got.fx, got.fy, got.cx, got.cy)] == [wanted.fx, wanted.fy, wanted.cx, wanted.cy]
    audit = Audit()
    with audit.watching():
        on_device = CapturedCamera.of(torch.empty(90, 150, 3, device=META), torch.empty(4, dtype=torch.float64, device=META))
        depth = torch.ones(9, 15, device=META) * on_device.resized(15, 9).fx
        points, mask = torch.ones(3, 9, 15, device=META), torch.ones(9, 15, dtype=torch.bool, device=META)
        recover_shift(points, mask, 5 / 3, on_device.fx / 87.0)
    assert audit.waits == [] and depth.dtype == torch.float32


def test_a_graph_keeps_the_program_whose_weights_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph reads the memory of the program that it was captured from, which the model may forget before."""
    programs: list[weakref.ref[Any]] = []

    class Copies(EagerEngine):
        name = "copies"

        def compile(self, network: nn.Module, inputs: Tensors, precision: torch.dtype, source: Source) -> Network:
            program = copy.deepcopy(network)
            programs.append(weakref.ref(program))
            return program

    monkeypatch.setattr(compiled, "MOST", 2)
    model = compact()
    use_engine(model, Copies(), torch.float32, Source("compact", ""))
    replayed = GraphedCoarse(model)
    for height in range(32, 112, 16):
        replayed.predict(torch.zeros(height, 128, 3, dtype=torch.uint8), None)
    gc.collect()
    assert len(programs) == replayed.captures == 5 and all(program() is not None for program in programs)
    del replayed, model
    gc.collect()
    assert all(program() is None for program in programs)
