"""Training of URGT's small network (arXiv 2603.03026, section 3): GridMix, depth and normals together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.refinement.tiles.layout import cut
from depth_retrofit_ros.refinement.urgt.network import Urgt
from depth_retrofit_ros.training.draws import remembered
from depth_retrofit_ros.training.loop import At, Loop, LoopSpec
from depth_retrofit_ros.training.losses import Losses, mean_of
from depth_retrofit_ros.training.tile_batch import (
    DEPTH_WEIGHTS,
    before_and_after,
    depth_losses,
    disagreement,
    grid,
    joined,
    targets,
    to_network,
)
from depth_retrofit_ros.training.validation import VALIDATION_SEED, validated
from depth_retrofit_ros.training.windows import Window, Windows

GRIDMIX = (1,) * 2 + (2,) * 3 + (3,) * 5  # tiles along a side of a window, each entry as likely (section 3.3; 4 is left out)
CONSISTENCY, NORMALS = 0.5, 0.1  # weights beside the errors of depth
VALIDATION_BATCHES, VALIDATION_BATCH = 24, 2


def shapes(network: Urgt) -> list[tuple[int, int]]:
    """Of windows that hold the tiles of ``GRIDMIX``."""
    sides = [count * (network.side - network.overlap) + network.overlap for count in GRIDMIX]
    return [(side, side) for side in sides]


def urgt_losses(network: Urgt, windows: Sequence[Window]) -> Losses:
    """L1 of ln depth over all pixels and, expected of the choice between surfaces, over the selected ones, that choice itself, L1
    of the gradients, how far tiles disagree where they overlap (as PRO, arXiv 2503.22351, has it), and the angle between normals.
    The paper's squared error is led by the few pixels that no refiner can mend. ``error`` and ``coarse``, for comparison: L1 of ln
    depth at the selected pixels, after and before; ``normal_deg`` and ``coarse_deg``: of the normals at all pixels, likewise."""
    places = [grid(window, network.side, network.overlap) for window in windows]
    seen = [window.tiles(network, place) for window, place in zip(windows, places, strict=True)]
    answers = [network(tiles) for tiles in seen]
    change, level = torch.cat([a.change for a in answers]), torch.cat([tiles.level[:, 0] for tiles in seen])
    target = targets(windows, places, network.side)
    losses = depth_losses(joined([a.choice for a in answers if a.choice is not None]), change, level, target)
    true_normals = torch.cat([true_of(window, place, network.side) for window, place in zip(windows, places, strict=True)])
    normals = torch.cat([a.normals for a in answers if a.normals is not None])
    known = true_normals.isfinite().all(1)
    angle = angles(normals, torch.nan_to_num(true_normals))[known]
    prior = torch.cat([tiles.under(network.side)[:, :3] for tiles in seen])
    overlaps = [disagreement(answer.change, place) for answer, place in zip(answers, places, strict=True)]
    losses |= {"overlap": mean_of(torch.stack(overlaps)), "normals": mean_of(angle)}
    with torch.no_grad():
        before = angles(F.normalize(prior, dim=1), torch.nan_to_num(true_normals))[known]
        told = {"normal_deg": mean_of(angle.rad2deg()), "coarse_deg": mean_of(before.rad2deg())}
    weights = DEPTH_WEIGHTS | {"overlap": CONSISTENCY, "normals": NORMALS}
    return Losses(losses | before_and_after(change, target) | told, weights)


def true_of(window: Window, places: Tensor, side: int) -> Tensor:
    """The true normals of a window's tiles, ``[T, 3, side, side]``; NaN where they are not known."""
    assert window.normals is not None
    return cut(window.normals.permute(1, 2, 0), places.to(window.image.device), side).permute(0, 3, 1, 2)


def angles(normals: Tensor, reference: Tensor) -> Tensor:
    """Between unit vectors ``[T, 3, H, W]``, ``[T, H, W]`` [rad]; its slope is finite where they agree, and of no unit vector 90
    degrees."""
    across = torch.linalg.cross(normals, reference, dim=1).square().sum(1)
    return torch.atan2((across + 1e-8).sqrt(), (normals * reference).sum(1))


def validate(network: nn.Module, windows: Callable[[int], Sequence[Window]]) -> dict[str, float]:
    """Mean losses over held-out windows, the same each time, and the share of the coarse error that is left at selected pixels."""
    assert isinstance(network, Urgt)
    return validated(lambda index: urgt_losses(network, to_network(network, windows(index))), VALIDATION_BATCHES)


def train_urgt(
    train: Sequence[Path], held_out: Sequence[Path], models: Sequence[CoarseModel], spec: LoopSpec, network: Urgt
) -> tuple[Loop, dict[str, float]]:
    """The finished loop and its validation figures."""
    network, sizes = network.to(spec.device), shapes(network)
    drawn = partial(Windows, sizes, workers=spec.workers, normals=True)
    windows = drawn(train, models, spec.batch, spec.seed, echoed=True, places=spec.group.places(spec.batch))
    held = drawn(held_out, models, VALIDATION_BATCH, VALIDATION_SEED, simulated=0.5)
    fixed = remembered(held, VALIDATION_BATCHES)

    def learn(net: nn.Module, samples: Sequence[Window], at: At) -> Losses:
        assert isinstance(net, Urgt)
        seen = to_network(net, samples)
        with spec.autocast():
            return urgt_losses(net, seen)

    loop = Loop(network, spec)
    return loop, loop.run(lambda step, progress: windows(step), learn, lambda net: validate(net, fixed), every=250)
