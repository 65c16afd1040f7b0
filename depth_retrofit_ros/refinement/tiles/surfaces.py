"""The surfaces that the coarse map shows around each of its cells, among which the head of a small network chooses.

To move an edge is to give a pixel the depth of the other side. A network that has to say that depth in numbers learns it from many
times as many images as one that has to say which side; the papers' networks, which say numbers, are trained for days.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from depth_retrofit_ros.refinement.tiles.projection import finite

REACHES = (1, 2)  # cells
COUNT = 2 * len(REACHES)
STAY = 3.0  # logit of the coarse depth itself; those of the surfaces begin at 0
FARTHEST = 3.0  # of ln(surface / coarse depth) that is told apart


def surfaces(depth: Tensor) -> Tensor:
    """ln depth about the frame's median of the nearest and of the farthest cell within each of ``REACHES``, ``[COUNT, h, w]``, of
    coarse depth ``[h, w]``; cells that are not finite are passed over, and are 0 where nothing else is near."""
    level = depth.log()
    level = level - level.nanmedian()
    known = level.isfinite()
    found = []
    for sign in (-1, 1):
        values = torch.where(known, sign * level, -torch.inf)[None, None]
        found += [sign * F.max_pool2d(values, 2 * reach + 1, 1, reach)[0, 0] for reach in REACHES]
    return finite(torch.stack(found))


def offsets_to(shown: Tensor, level: Tensor) -> Tensor:
    """ln(surface / coarse depth) within a tile; shown: ``surfaces`` there ``[T, COUNT, S, S]``; level: ln coarse depth about the
    frame's median, ``[T, 1, S, S]``."""
    return (shown - level).clamp(-FARTHEST, FARTHEST)


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
    that offset and the logits of the surfaces; offsets: ``offsets_to``."""
    logits = torch.cat((torch.full_like(said[:, :1], STAY), said[:, 1:]), 1)
    candidates = F.pad(offsets, (0, 0, 0, 0, 1, 0)) + said[:, :1]
    return Choice(candidates, logits.float().log_softmax(1))
