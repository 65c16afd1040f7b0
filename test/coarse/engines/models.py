"""Every kind of coarse model whose network an engine can take: a small random network of the true classes, and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarseModel, Hints
from depth_retrofit_ros.coarse.compact import Compact
from depth_retrofit_ros.coarse.compact_net import CompactNet
from depth_retrofit_ros.coarse.depth_anything3 import PUBLISHED
from depth_retrofit_ros.coarse.engines.base import Network, Tensors
from depth_retrofit_ros.coarse.input_size import InputSize, long_side
from depth_retrofit_ros.coarse.meter import Meter
from depth_retrofit_ros.coarse.meter_net import MeterXXS
from depth_retrofit_ros.coarse.metric3d import Metric3DV2
from depth_retrofit_ros.coarse.moge import MoGe2
from depth_retrofit_ros.coarse.networks import moge
from depth_retrofit_ros.coarse.networks.moge import MoGe, config_of
from depth_retrofit_ros.coarse.registry import MODELS
from depth_retrofit_ros.frame import SparseDepth
from test.coarse import families, test_depth_anything3
from test.coarse.families import CPU, FAMILIES, image
from test.coarse.networks import test_metric3d, test_moge
from test.coarse.networks.parity import read_fixture

HEIGHT, WIDTH = 90, 120
CAMERA = Camera.from_hfov(WIDTH, HEIGHT, 70.0)


class Case(NamedTuple):
    """make: a model; camera, hints: what it is given with the frame."""

    make: Callable[[], Any]
    camera: Camera | None = CAMERA
    hints: Hints = NO_HINTS


def compact() -> Compact:
    torch.manual_seed(0)
    net = CompactNet()
    with torch.no_grad():
        net.logits.weight.mul_(5)
    return Compact(net, CPU, MODELS["compact"].claim, long_side(96, 16))


def _meter(variant: str) -> Meter:
    torch.manual_seed(0)
    net = MeterXXS()
    with torch.no_grad():
        net.decoder.conv2d_out.weight.abs_()  # after a ReLU: no depth is clamped
    return Meter(net, variant, CPU, MODELS[f"meter-{variant}"].claim, MODELS[f"meter-{variant}"].input)


def _moge() -> MoGe2:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moge, "ENCODERS", {**moge.ENCODERS, "tiny": test_moge.TINY})
        net = test_moge.filled(MoGe(config_of(test_moge.tiny_config())), read_fixture("moge")["projection"])
    return MoGe2(net, "tiny", MODELS["moge-2-small"].claim, CPU, long_side(112, 14))


def _metric3d() -> Metric3DV2:
    return Metric3DV2(test_metric3d.tiny_network(), "tiny", MODELS["metric3d-v2-small"].claim, CPU, InputSize("exact", (84, 140)))


def _sparse() -> SparseDepth:
    pixels = np.arange(0, HEIGHT * WIDTH, 97)
    return SparseDepth(pixels, 1.0 + 3.0 * (pixels % WIDTH) / WIDTH)


def _family(name: str) -> Callable[[], Any]:
    def make() -> Any:
        pytest.importorskip("transformers")
        return families.model_of(FAMILIES[name])

    return make


CASES = {
    "compact": Case(compact),
    "meter nyu": Case(partial(_meter, "nyu")),
    "meter kitti": Case(partial(_meter, "kitti")),
    **{name: Case(partial(test_depth_anything3.model_of, name)) for name in list(PUBLISHED)[::2]},
    "moge": Case(_moge),
    "metric3d": Case(_metric3d),
    **{name: Case(_family(name)) for name in FAMILIES},
    "prompt, with a prompt": Case(_family("prompt"), hints=Hints(sparse=_sparse())),
    "depth pro, without a camera": Case(_family("depth pro"), camera=None),
}


class Recorder:
    """``Network``: another one, whose inputs and answer are kept."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.inputs: Tensors = ()
        self.answer: Tensors = ()

    def __call__(self, *inputs: Tensor) -> Tensors:
        """See ``Network``."""
        self.inputs, self.answer = inputs, self.network(*inputs)
        return self.answer


def recorded(case: Case) -> tuple[CoarseModel, nn.Module, Recorder]:
    """A model that has seen a frame, its network, and what went through that."""
    model = case.make()
    network: nn.Module = model.network
    recorder = model.network = Recorder(network)
    model.predict(image(HEIGHT, WIDTH), case.camera, case.hints)
    return model, network, recorder
