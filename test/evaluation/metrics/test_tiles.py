"""Whether tiles depend on their order and their company, of networks of which it is known."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.evaluation.metrics.tiles import Look, change_by_order, each_alone
from depth_retrofit_ros.refinement.prv2.network import PatchRefinerV2
from depth_retrofit_ros.refinement.tiles.refiner import TileAnswer, TileNetwork, Tiles
from depth_retrofit_ros.refinement.tiles.surfaces import SHOWN
from depth_retrofit_ros.refinement.urgt.network import Urgt


class Numbered:
    """Answers 0.01 times a tile's number among those that it sees (by_order), or times how many it sees."""

    name, side, overlap, together, context = "numbered", 8, 0, 32, 0

    def __init__(self, by_order: bool) -> None:
        self.by_order = by_order

    def project(
        self, coarse: CoarsePrediction, small: torch.Tensor, score: torch.Tensor, model: str, camera: Camera | None
    ) -> torch.Tensor:
        return coarse.depth[None]

    def __call__(self, tiles: Tiles) -> TileAnswer:
        count = len(tiles.origins)
        value = torch.arange(count) if self.by_order else torch.full((count,), count)
        return TileAnswer(0.01 * value.float()[:, None, None].expand(-1, 8, 8))


def tiles_of(network: TileNetwork, count: int, maps: int) -> Tiles:
    generator = torch.Generator().manual_seed(1)
    side, size = network.side, (600, 800)
    colors = torch.randn(count, 3, side, side, generator=generator)
    level = 0.3 * torch.randn(count, 1, side, side, generator=generator)
    origins = torch.stack([torch.randint(0, high - side, (count,), generator=generator) for high in size], 1)
    return Tiles(colors, level, torch.randn(maps, 30, 40, generator=generator), origins, size)


Network = TypeVar("Network", Urgt, PatchRefinerV2)


def randomized(network: Network) -> Network:
    """With a last layer that does something."""
    generator = torch.Generator().manual_seed(2)
    last = network.head.last if isinstance(network, Urgt) else network.fusion.f2c.offset
    with torch.no_grad():
        last.weight.copy_(0.1 * torch.randn(last.weight.shape, generator=generator))
        for name, parameter in network.named_parameters():
            if name.endswith("gamma"):  # so that attention counts
                parameter.fill_(1.0)
    return network.eval()


def look_of(network: TileNetwork, tiles: Tiles) -> Look:
    """All that the network says: ln change, and normals if it has any."""

    def look(index: torch.Tensor) -> torch.Tensor:
        answer = network(replace(tiles, colors=tiles.colors[index], level=tiles.level[index], origins=tiles.origins[index]))
        change = answer.change[:, None]
        return change if answer.normals is None else torch.cat([change, answer.normals], 1)

    return look


def by_order(network: TileNetwork, tiles: Tiles) -> float:
    look, index = look_of(network, tiles), torch.arange(len(tiles.origins))
    with torch.inference_mode():
        return change_by_order(look, index, look(index), torch.Generator().manual_seed(0))


def by_company(network: TileNetwork, tiles: Tiles) -> float:
    look, index = look_of(network, tiles), torch.arange(len(tiles.origins))
    with torch.inference_mode():
        return float((each_alone(look, index) - look(index)).abs().mean())


def test_what_depends_on_the_order_is_found() -> None:
    assert by_order(Numbered(by_order=True), tiles_of(Numbered(True), 5, 1)) >= 0.01
    assert by_order(Numbered(by_order=False), tiles_of(Numbered(False), 5, 1)) == 0.0


def test_what_depends_on_the_company_is_measured() -> None:
    network = Numbered(by_order=False)
    assert by_company(network, tiles_of(network, 5, 1)) == pytest.approx(0.05 - 0.01, rel=1e-4)
    assert by_company(network, tiles_of(network, 1, 1)) == 0.0


@pytest.mark.parametrize("across", [True, False])
def test_urgt_s_tiles_come_in_any_order_and_see_one_another_if_they_may(across: bool) -> None:
    torch.manual_seed(0)
    network = randomized(Urgt(across))
    tiles = tiles_of(network, 5, 3 + SHOWN)
    assert by_order(network, tiles) < 1e-5
    alone = by_company(network, tiles)
    assert alone > 1e-5 if across else alone < 1e-6


def test_prv2_s_tiles_are_looked_at_one_by_one() -> None:
    torch.manual_seed(0)
    network = randomized(PatchRefinerV2({}))
    tiles = tiles_of(network, 3, 24 + SHOWN)
    assert by_order(network, tiles) < 1e-5
    assert by_company(network, tiles) < 1e-5
