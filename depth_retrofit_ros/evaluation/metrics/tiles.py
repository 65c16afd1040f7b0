"""Whether what a refiner says of a tile depends on what it should not: the order of the tiles, and which others it sees."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from depth_retrofit_ros.refinement.tiles.refiner import TileAnswer, TileNetwork, Tiles


@torch.inference_mode()
def change_by_order(network: TileNetwork, tiles: Tiles, generator: torch.Generator) -> float:
    """The largest difference, in ln depth and in the normals' components, when the tiles come in another, random order."""
    order = torch.randperm(len(tiles.origins), generator=generator).to(tiles.origins.device)
    plain, permuted = network(tiles), network(_some(tiles, order))
    return max(float((one[order] - other).abs().max()) for one, other in zip(_parts(plain), _parts(permuted), strict=True))


@torch.inference_mode()
def change_alone(network: TileNetwork, tiles: Tiles) -> float:
    """Mean ``|depth alone / depth together - 1|``: each tile seen by itself, and all at once."""
    together = network(tiles).change
    alone = torch.cat([network(_some(tiles, index)).change for index in torch.arange(len(together)).split(1)])
    return float(((alone - together).exp() - 1).abs().mean())


def _some(tiles: Tiles, index: Tensor) -> Tiles:
    return replace(tiles, colors=tiles.colors[index], level=tiles.level[index], origins=tiles.origins[index])


def _parts(answer: TileAnswer) -> list[Tensor]:
    return [answer.change] if answer.normals is None else [answer.change, answer.normals]
