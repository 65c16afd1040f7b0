"""Metric3D v2's network against the published one, by fixtures."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from depth_retrofit_ros.coarse.networks.dinov2 import VitSize
from depth_retrofit_ros.coarse.networks.metric3d import LARGE, SMALL, Metric3D, Metric3DConfig, published_name
from test.coarse.networks.parity import fill, mismatches, random_input, read_fixture, signature

TINY = Metric3DConfig(VitSize(48, 4, 2), (16, 24, 48, 48), (16, 24, 48, 48), 16, 3)
CASES = {"wide": (84, 140), "tall": (140, 56), "square": (112, 112)}


def tiny_network() -> Metric3D:
    """With its weights by name."""
    network = Metric3D(TINY)
    fill(network, name_of=published_name)
    return network.eval()


def answers(network: Metric3D, case: str) -> dict[str, Tensor]:
    """Of a case, in the shapes and by the names of its fixture."""
    with torch.no_grad():
        depth, bins, normals = network((random_input(case, (1, 3, *CASES[case])) - 0.5) * 4)
    return {"depth": depth[0], "normals": normals[0], "bins": bins[0]}


@pytest.mark.parametrize("case", CASES)
def test_answers_are_those_of_the_published_code(case: str) -> None:
    assert not mismatches(answers(tiny_network(), case), read_fixture("metric3d")["answers"][case])


@pytest.mark.parametrize(("size", "config"), [("s", SMALL), ("l", LARGE)])
def test_names_and_shapes_are_those_of_the_published_code(size: str, config: Metric3DConfig) -> None:
    with torch.device("meta"):
        network = Metric3D(config)
    assert signature(network, name_of=published_name) == read_fixture("metric3d")["signatures"][size]


def test_it_can_be_exported_at_a_fixed_size() -> None:
    network, image = tiny_network(), random_input("exported", (1, 3, 56, 84))
    exported = torch.export.export(network, (image,)).module()
    with torch.no_grad():
        for ours, theirs in zip(network(image), exported(image), strict=True):
            torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)
