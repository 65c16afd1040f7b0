"""ZoeDepth: its router, its range and its margin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from depth_retrofit_ros.coarse import zoe_depth
from depth_retrofit_ros.coarse.input_size import long_side
from depth_retrofit_ros.coarse.registry import MODELS
from test.coarse import tiny_networks as tiny
from test.coarse.families import CPU, FAMILIES, image, library_answer, model_of, saved

pytest.importorskip("transformers")


@pytest.mark.parametrize("scene", [0, 1])
def test_the_router_takes_one_of_two_heads(scene: int) -> None:
    model = model_of(FAMILIES["zoe nyu-kitti"])
    net: Any = model.network.net
    with torch.no_grad():
        net.metric_head.mlp_classifier.linear2.weight.zero_()
        net.metric_head.mlp_classifier.linear2.bias.copy_(torch.tensor([1.0 - scene, float(scene)]))
    planes = model.planes(image(90, 120))
    answer, features = model.network(planes)
    torch.testing.assert_close(answer[0], library_answer(net, planes), rtol=1e-5, atol=1e-5)
    other = ("kitti", "nyu")[scene]
    with torch.no_grad():
        for part in (net.metric_head.attractors[other], net.metric_head.conditional_log_binomial[other]):
            for parameter in part.parameters():
                parameter.mul_(1.5)
    torch.testing.assert_close(model.network(planes)[1], features, rtol=0, atol=0)


def test_zoe_of_streets_reaches_80_m_whatever_its_configuration_says(tmp_path: Path) -> None:
    """The published one has the range of NYU."""
    weights = saved(tiny.zoe_depth(bin_centers_type="normed"), tmp_path)
    claim, size = MODELS["zoedepth-kitti"].claim, long_side(128, 32)
    far = zoe_depth.load(weights, CPU, claim, size, "kitti", (80.0,)).predict(image(90, 120), None).depth
    near = zoe_depth.load(weights, CPU, claim, size, "kitti", (10.0,)).predict(image(90, 120), None).depth
    torch.testing.assert_close((far - 1e-3) / (near - 1e-3), torch.full_like(far, (80 - 1e-3) / (10 - 1e-3)), rtol=0.02, atol=0)


def test_a_mirrored_margin_changes_nothing_of_the_size() -> None:
    for height, width in ((32, 32), (32, 128), (64, 96)):
        network = zoe_depth.ZoeDepthNetwork(tiny.zoe_depth())
        with torch.no_grad():
            answer, features = network(torch.randn(1, 3, height, width))
        assert answer.shape == (1, height, width) and features.shape == (1, 64, height, width)
