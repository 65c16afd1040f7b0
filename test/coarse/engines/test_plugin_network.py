"""A model of another package that has a network is one that an engine can compile; one without is told so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.engines.base import CompilableModel, Network, Source, Tensors
from depth_retrofit_ros.coarse.engines.compiled import use_engine
from depth_retrofit_ros.coarse.networks.vggt.model import Vggt
from depth_retrofit_ros.coarse.registry import load_coarse
from depth_retrofit_ros.coarse.vggt import VggtModel
from depth_retrofit_ros.errors import ModelError
from test.coarse import test_video_depth_anything
from test.coarse.families import image
from test.coarse.networks.test_vggt import TINY
from test.coarse.plugin_package import use_plugins, write_plugin
from test.coarse.test_vggt import CLAIM, CPU, SIZE

SOURCE = """
import torch
from torch import nn
from depth_retrofit_ros.coarse import NO_HINTS, CoarsePrediction

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 1, 1)

    def forward(self, planes):
        features = self.body(planes)
        return self.head(features)[:, 0].exp(), features

class Model:
    def __init__(self, weights, device, claim, size):
        self.device, self.claim, self.size = device, claim, size
        setattr(self, "{attribute}", Net().to(device).eval())

    @torch.no_grad()
    def predict(self, image, camera, hints=NO_HINTS):
        planes = image.permute(2, 0, 1)[None].float() / 255
        depth, features = self.{attribute}(planes)
        return CoarsePrediction(depth[0], features[0])

MODEL = entry("theirs", loader="{module}:Model")
"""
HERE = Source("theirs", "0" * 64)


class Shifting:
    """``CoarseEngine`` whose answers can be told from the network's, within what the check allows: 1 % more everywhere."""

    name = "shifting"
    devices: tuple[str, ...] = ("cpu",)
    precisions: tuple[torch.dtype, ...] = (torch.float32,)

    def __init__(self) -> None:
        self.compiled = 0

    def compile(self, network: nn.Module, inputs: Tensors, precision: torch.dtype, source: Source) -> Network:
        self.compiled += 1

        def program(*given: torch.Tensor) -> Tensors:
            answer, *more = network(*given)
            return (answer + 0.01 * (answer.max() - answer.min()), *more)

        return program


def test_the_network_of_another_package_s_model_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SOURCE.format(attribute="network", module="with_network")
    use_plugins(monkeypatch, write_plugin(tmp_path, "with_network", source, "theirs = with_network:MODEL"))
    model = load_coarse("theirs", weights=None, device="cpu")
    assert isinstance(model, CompilableModel)
    frame = image(24, 32)
    eager = model.predict(frame, None).depth
    engine = Shifting()
    use_engine(model, engine, torch.float32, HERE)
    assert not isinstance(model.network, nn.Module)
    torch.testing.assert_close(model.predict(frame, None).depth, eager + 0.01 * (eager.max() - eager.min()))
    assert engine.compiled == 1, "to be checked on pictures, the model is not asked for its program again"


def test_a_model_without_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SOURCE.format(attribute="_net", module="without_network")
    use_plugins(monkeypatch, write_plugin(tmp_path, "without_network", source, "theirs = without_network:MODEL"))
    model = load_coarse("theirs", weights=None, device="cpu")
    assert not isinstance(model, CompilableModel)
    with pytest.raises(ModelError, match=r"^theirs has no network that coarse engine shifting could take: use eager$"):
        use_engine(model, Shifting(), torch.float32, HERE)


@pytest.mark.parametrize("model", [test_video_depth_anything.model(), VggtModel(Vggt(TINY), "vggt", CLAIM, CPU, SIZE)])
def test_models_with_a_memory_or_of_several_views_have_none(model: CoarseModel) -> None:
    """What goes into their networks grows from frame to frame, or with the number of views."""
    assert not hasattr(model, "network") and not isinstance(model, CompilableModel)
