"""Depth Anything 3's networks against samples of what the published code answers with the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.engines.precision import in_precision
from depth_retrofit_ros.coarse.networks.depth_anything3 import (
    BASE,
    LEFT_OUT,
    MONOCULAR_LARGE,
    SMALL,
    AnyViewDepth,
    Architecture,
    MonocularDepth,
    build,
    depth_weights,
)
from depth_retrofit_ros.coarse.networks.dinov2 import VitSize
from test.coarse.networks.parity import fill, mismatches, random_input, read_fixture, signature

TINY = {
    "any_view": Architecture(VitSize(32, 8, 2), (2, 5, 6, 7), (16, 24, 32, 40), 32, any_view=4),
    "monocular": Architecture(VitSize(32, 5, 2), (0, 1, 3, 4), (16, 24, 32, 40), 32, any_view=None),
}
FIXTURE = read_fixture("depth_anything3")
BESIDE = {"any_view": "confidence", "monocular": "sky"}


def tiny(kind: str) -> AnyViewDepth | MonocularDepth:
    net = build(TINY[kind]).eval()
    fill(net)
    return net


def planes(kind: str, height: int, width: int, batch: int = 1) -> Tensor:
    """As a normalised image: values in ±2."""
    return random_input(f"{kind} {height} {width}", (batch, 3, height, width)) * 4 - 2


@pytest.mark.parametrize("run", FIXTURE["runs"], ids=lambda run: f"{run['kind']}-{run['size'][0]}x{run['size'][1]}")
def test_answers_as_the_published_code(run: dict[str, Any]) -> None:
    kind, (height, width) = run["kind"], run["size"]
    with torch.no_grad():
        depth, features, beside = tiny(kind)(planes(kind, height, width))
    assert mismatches({"depth": depth, "features": features, BESIDE[kind]: beside}, run["outputs"]) == []


@pytest.mark.parametrize(("name", "architecture"), [("small", SMALL), ("base", BASE), ("large", MONOCULAR_LARGE)])
def test_names_and_shapes_are_those_of_the_published_network(name: str, architecture: Architecture) -> None:
    """Of everything in the published checkpoint but ``LEFT_OUT``."""
    with torch.device("meta"):
        net = build(architecture)
    assert signature(net) == FIXTURE["full"][name]["used"]
    assert FIXTURE["full"][name]["left_out"] == (sorted(LEFT_OUT) if architecture.any_view is not None else [])


@pytest.mark.parametrize(("name", "size"), [("small", 137_248_940), ("base", 541_518_028), ("large", 1_336_734_448)])
def test_published_files_have_room_for_these_parameters_and_a_header(name: str, size: int) -> None:
    """``model.safetensors`` of DA3-SMALL, DA3-BASE and DA3METRIC-LARGE, in float32."""
    assert 0 < size - 4 * FIXTURE["full"][name]["parameters"] < 60_000


def test_of_a_published_checkpoint_only_what_depth_does_not_need_is_left_out() -> None:
    net = tiny("any_view")
    weights = net.state_dict()
    published = {f"model.{name}": value for name, value in weights.items()}
    others = {f"model.{prefix}weight": torch.zeros(1) for prefix in LEFT_OUT}
    assert depth_weights({**published, **others}).keys() == weights.keys()
    assert "head.other.weight" in depth_weights({**published, "model.head.other.weight": torch.zeros(1)})


@pytest.mark.parametrize("kind", TINY)
def test_images_of_a_batch_do_not_see_each_other(kind: str) -> None:
    net, images = tiny(kind), planes(kind, 42, 70, batch=2)
    with torch.no_grad():
        together = net(images)
        apart = [net(image[None]) for image in images]
    for index, output in enumerate(together):
        torch.testing.assert_close(output, torch.cat([answer[index] for answer in apart]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", TINY)
def test_exported_it_answers_the_same(kind: str) -> None:
    """One graph at a fixed size, which returns the features, too."""
    net, image = tiny(kind), planes(kind, 42, 56)
    program = torch.export.export(net, (image,)).module()
    other = planes(kind, 42, 56).flip(3)
    with torch.no_grad():
        for exported, eager in zip(program(other), net(other), strict=True):
            torch.testing.assert_close(exported, eager, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("kind", TINY)
def test_half_precision_ends_before_the_last_projections(kind: str, dtype: torch.dtype) -> None:
    image = planes(kind, 42, 56)
    with torch.no_grad():
        exact = tiny(kind)(image)
        net = in_precision(tiny(kind), dtype)
        depth, features, beside = net(image.to(dtype))
    assert (depth.dtype, features.dtype, beside.dtype) == (torch.float32, dtype, torch.float32)
    assert float((depth / exact[0]).log().abs().median()) < 0.05
    whole = {name for name, weight in net.named_parameters() if weight.dtype == torch.float32}
    heads = ["output_conv2"] + ["sky_output_conv2"] * (kind == "monocular")
    assert whole == {f"head.scratch.{head}.2.{part}" for head in heads for part in ("weight", "bias")}


@pytest.mark.parametrize(("kind", "network"), [("any_view", MonocularDepth), ("monocular", AnyViewDepth)])
def test_an_architecture_makes_one_kind_of_network(kind: str, network: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="architecture makes a"):
        network(TINY[kind])
