"""What refiners of tiles are to answer in a training window, and how far tiles that overlap disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_retrofit_ros.refinement.base import LARGEST_CHANGE
from depth_retrofit_ros.refinement.tiles.layout import cut
from depth_retrofit_ros.refinement.tiles.surfaces import Choice
from depth_retrofit_ros.training.losses import Term, choice_cross_entropy, gradient_loss, mean_of
from depth_retrofit_ros.training.windows import Window

ROUNDED = 0.05  # of ln depth, up to which ``robust`` counts an error by its square
CHOICE, GRADIENT = 0.1, 0.5  # weights beside the errors of depth in ``depth_losses``
DEPTH_WEIGHTS = {"robust": 1.0, "selected": 1.0, "choice": CHOICE, "gradient": GRADIENT}
MATTERS = 0.2  # in ln depth: the spread of the candidates from which on the choice counts in full


@dataclass(frozen=True, slots=True)
class TileTargets:
    """Of T tiles: wanted ``[T, S, S]``, what is to be added to ln coarse depth; valid ``bool``, where that is known; selected
    ``bool``, where pixels are selected besides."""

    wanted: Tensor
    valid: Tensor
    selected: Tensor


def to_network(network: nn.Module, windows: Sequence[Window]) -> list[Window]:
    """Where its weights are."""
    device = next(network.parameters()).device
    return [window.to(device) for window in windows]


def grid(window: Window, side: int, overlap: int) -> Tensor:
    """Where the tiles begin that cover a window with this overlap, ``int64 [T, 2]`` in the memory of the host, row by row."""
    rows, columns = (torch.arange(0, n - side + 1, side - overlap) for n in window.depth.shape)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), 2).view(-1, 2)


def targets(windows: Sequence[Window], places: Sequence[Tensor], side: int) -> TileTargets:
    """Of all tiles of the windows, one window after the other."""
    pairs = [(window, place.to(window.image.device)) for window, place in zip(windows, places, strict=True)]
    wanted = torch.cat([cut(window.change(), place, side) for window, place in pairs]).clamp(-LARGEST_CHANGE, LARGEST_CHANGE)
    valid = wanted.isfinite()
    selected = torch.cat([cut(window.selected, place, side) for window, place in pairs])
    return TileTargets(torch.where(valid, wanted, 0.0), valid, selected & valid)


def disagreement(change: Tensor, places: Tensor) -> Tensor:
    """L1 between what tiles ``[T, S, S]`` of one window say of the same pixels, over all pairs that overlap; 0 where none do."""
    side, found = change.shape[1], []
    for first in range(len(places)):
        for second in range(first + 1, len(places)):
            dy, dx = (int(v) for v in places[second] - places[first])
            if abs(dy) < side and abs(dx) < side:
                found.append((_common(change[first], dy, dx) - _common(change[second], -dy, -dx)).abs().mean())
    return torch.stack(found).mean() if found else change.sum() * 0


def _common(tile: Tensor, dy: int, dx: int) -> Tensor:
    """The part of a tile that another one covers too, which begins ``dy`` px below it and ``dx`` px to its right."""
    side = len(tile)
    return tile[max(dy, 0) : side + min(dy, 0), max(dx, 0) : side + min(dx, 0)]


def robust(change: Tensor, wanted: Tensor) -> Tensor:
    """L1 of what is added to ln depth, at each pixel; smooth about 0."""
    return F.smooth_l1_loss(change.float(), wanted, reduction="none", beta=ROUNDED)


def choice_losses(choice: Choice, wanted: Tensor, selected: Tensor) -> tuple[Term, Term]:
    """At selected pixels: L1 of ln depth that is expected of the choice, and cross entropy against the candidates nearest to what
    is wanted, which counts where they differ. ``training.refiner.refiner_losses`` has both too; without the second a choice begins
    to form only after thousands of steps."""
    candidates, log_p = (values.movedim(1, -1)[selected].float() for values in choice)
    apart = (candidates - wanted[selected][:, None]).abs()
    expected = mean_of((log_p.exp() * apart).sum(1))
    spread = candidates.detach().amax(1) - candidates.detach().amin(1)
    return expected, choice_cross_entropy(log_p, apart.detach(), (spread / MATTERS).clamp_max(1))


def depth_losses(choice: Choice, change: Tensor, level: Tensor, target: TileTargets) -> dict[str, Term]:
    """Those of ``DEPTH_WEIGHTS``: L1 of ln depth over all pixels and, expected of the choice, over the selected ones, that
    choice itself, and L1 of the gradients. change: what is answered ``[T, S, S]``; level: ln of the coarse depth there."""
    expected, entropy = choice_losses(choice, target.wanted, target.selected)
    return {
        "robust": mean_of(robust(change, target.wanted)[target.valid]),
        "selected": expected,
        "choice": entropy,
        "gradient": gradient_loss(level + change, level + target.wanted, target.valid),
    }


@torch.no_grad()
def before_and_after(change: Tensor, target: TileTargets) -> dict[str, Term]:
    """``error`` and ``coarse``, for comparison: L1 of ln depth at the selected pixels, after and before."""
    wanted = target.wanted[target.selected]
    return {"error": mean_of((change[target.selected] - wanted).abs()), "coarse": mean_of(wanted.abs())}


def joined(choices: Sequence[Choice]) -> Choice:
    """Of the tiles of several windows, one after the other."""
    return Choice(*(torch.cat(parts) for parts in zip(*choices, strict=True)))
