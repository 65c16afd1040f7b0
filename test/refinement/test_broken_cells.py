"""A coarse cell that is broken stays where it is, whichever refiner looks at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.refinement.base import Refiner
from depth_retrofit_ros.refinement.nothing import NoRefiner
from depth_retrofit_ros.refinement.prv2.network import PatchRefinerV2
from depth_retrofit_ros.refinement.registry import REFINERS
from depth_retrofit_ros.refinement.sharp.network import SharpDepth
from depth_retrofit_ros.refinement.tiles.refiner import TileRefiner
from depth_retrofit_ros.refinement.urgt.network import Urgt
from depth_retrofit_ros.refinement.urgt.published_net import PublishedUrgt
from depth_retrofit_ros.retrofit import Retrofit
from test.coarse.networks.parity import fill
from test.refinement.nets import random_refiner, two_planes
from test.refinement.paper.nets import random_paper_refiner
from test.refinement.urgt.test_published_net import TINY
from test.test_retrofit import ToldCoarse

CPU, SIZE = torch.device("cpu"), (256, 384)


def tiled(make: Callable[[], Any]) -> TileRefiner:
    torch.manual_seed(0)
    network = make()
    for name, parameter in network.named_parameters():
        if not parameter.any():  # what begins at zero would hide what is before it
            torch.nn.init.normal_(parameter, std=0.05 if name.endswith("weight") else 0.0)
    return TileRefiner(network.eval().requires_grad_(False), CPU)


def published() -> TileRefiner:
    network = PublishedUrgt(TINY).eval()
    fill(network)
    return TileRefiner(network.requires_grad_(False), CPU)


MADE: dict[str, Callable[[], Refiner[Any]]] = {
    "sparse": random_refiner,
    "prv2": lambda: tiled(lambda: PatchRefinerV2({"told": 16})),
    "urgt": lambda: tiled(Urgt),
    "urgt as published": published,
    "sharp": lambda: tiled(SharpDepth),
    "paper": random_paper_refiner,
    "none": NoRefiner,
}
REACH = {"sparse": 80}  # px from the frame's corner, of cell (5, 5): what a U-Net on selected pixels reaches; of others two cells


def test_each_refiner_is_tried() -> None:
    assert set(REFINERS) <= set(MADE)


@pytest.mark.parametrize("name", MADE)
def test_a_broken_coarse_cell_stays_where_it_is(name: str) -> None:
    """All pixels are refined, so that nothing escapes for not having been looked at."""
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    frame = Frame(image, camera=Camera.from_hfov(SIZE[1], SIZE[0], 70.0))
    refiner, planes = MADE[name](), two_planes(64, 96)
    whole = Retrofit(ToldCoarse(planes), refiner, 1.0)(frame)
    if name != "none":
        assert float((whole.depth / whole.base).log().abs().mean()) > 1e-3  # it does something
    broken = replace(planes, depth=planes.depth.clone(), features=planes.features.clone())
    broken.depth[5, 5] = torch.nan
    broken.features[:, 5, 5] = torch.nan
    result = Retrofit(ToldCoarse(broken), refiner, 1.0)(frame)
    assert not bool(result.depth[20:24, 20:24].isfinite().any())
    elsewhere = torch.ones(SIZE, dtype=torch.bool)
    elsewhere[: REACH.get(name, 32), : REACH.get(name, 32)] = False
    assert bool(result.depth[elsewhere].isfinite().all()) and float(result.depth[elsewhere].min()) > 0
    moved = (result.depth / whole.depth).log().abs()[elsewhere]
    assert float(moved.mean()) < 2e-3
