"""The surfaces that the coarse map shows around each of its cells, among which the head of a small network chooses.

To move an edge is to give a pixel the depth of the other side. A network that has to say that depth in numbers learns it from many
times as many images as one that has to say which side; the papers' networks, which say numbers, are trained for days. Which side a
pixel is of shows in its color, which is therefore compared with that of either side here, as the sparse refiner's features do.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from depth_retrofit_ros.refinement.pixels.features import normalized
from depth_retrofit_ros.refinement.tiles.projection import finite

REACHES = (1, 2)  # cells
COUNT = 2 * len(REACHES)
SHOWN = COUNT + 3 * (1 + COUNT)  # channels of ``surfaces``
STAY = 3.0  # logit of the coarse depth itself; those of the surfaces begin at 0
FARTHEST = 3.0  # of ln(surface / coarse depth) that is told apart


class Nearby(NamedTuple):
    """What T tiles are shown of the surfaces. offsets: ``[T, COUNT, S, S]``, ln(surface / coarse depth); unlike: ``[T, 1 + COUNT,
    S, S]``, how far the pixel's color is from that of its own cell, and of the cells where the surfaces are seen."""

    offsets: Tensor
    unlike: Tensor


def surfaces(depth: Tensor, small: Tensor) -> Tensor:
    """ln depth about the frame's median of the nearest and of the farthest cell within each of ``REACHES``, of coarse depth ``[h,
    w]``, then the color of each cell and of those, normalized: ``[SHOWN, h, w]``. Cells that are not finite are passed over; the
    cell itself, at level 0, stands in where there is nothing else. small: ``float32 [h, w, 3]`` 0…1, see ``RefinerInput``."""
    level = depth.log()
    level = level - level.nanmedian()
    known, colors = level.isfinite(), normalized(small * 255).permute(2, 0, 1)
    found, seen = list[Tensor](), [colors]
    for sign in (-1, 1):
        values = torch.where(known, sign * level, -torch.inf)[None, None]
        for reach in REACHES:
            most, place = F.max_pool2d(values, 2 * reach + 1, 1, reach, return_indices=True)
            found.append(sign * most[0, 0])
            seen.append(colors.flatten(1)[:, place.flatten().clamp_min(0)].view_as(colors))
    return torch.cat((finite(torch.stack(found)), *seen))


def nearby(shown: Tensor, level: Tensor, colors: Tensor) -> Nearby:
    """Within a tile. shown: ``surfaces`` there ``[T, SHOWN, S, S]``; level: ln coarse depth about the frame's median, ``[T, 1, S,
    S]``; colors: ``[T, 3, S, S]``, of ``Tiles``."""
    levels, seen = shown[:, :COUNT], shown[:, COUNT:].unflatten(1, (1 + COUNT, 3))
    return Nearby((levels - level).clamp(-FARTHEST, FARTHEST), (seen - colors[:, None]).abs().mean(2))


class Choice(NamedTuple):
    """Of each pixel of T tiles: candidates ``[T, 1 + COUNT, S, S]``, ln(candidate / coarse depth) of the coarse depth itself and
    of the surfaces, and ln of the probabilities that a network gives them, of the same shape."""

    candidates: Tensor
    log_probability: Tensor

    def mean(self) -> Tensor:
        """ln(refined / coarse), ``[T, S, S]``."""
        return (self.log_probability.exp() * self.candidates).sum(1)


def choice(said: Tensor, offsets: Tensor) -> Choice:
    """Between the coarse depth and the surfaces, all of them moved by the network's own offset. said: ``[T, 1 + COUNT, S, S]``,
    that offset and the logits of the surfaces; offsets: of ``Nearby``."""
    logits = torch.cat((torch.full_like(said[:, :1], STAY), said[:, 1:]), 1)
    candidates = F.pad(offsets, (0, 0, 0, 0, 1, 0)) + said[:, :1]
    return Choice(candidates, logits.float().log_softmax(1))
