"""Training of PatchRefiner V2's small network (arXiv 2501.01121, section 3): noisy pre-training, then end to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.refinement.pixels.features import normalized
from depth_retrofit_ros.refinement.prv2.network import PatchRefinerV2
from depth_retrofit_ros.refinement.tiles.surfaces import COUNT, Nearby
from depth_retrofit_ros.training.ahead import Ahead
from depth_retrofit_ros.training.coarse_views import FAR_FACTOR, finite_truth
from depth_retrofit_ros.training.draws import remembered
from depth_retrofit_ros.training.loop import At, Loop, LoopSpec
from depth_retrofit_ros.training.losses import Losses, local_window_loss, mean_of, silog_loss
from depth_retrofit_ros.training.tile_batch import before_and_after, choice_losses, disagreement, grid, robust, targets, to_network
from depth_retrofit_ros.training.validation import VALIDATION_SEED, validated
from depth_retrofit_ros.training.views import resized
from depth_retrofit_ros.training.windows import Window, Windows

PRETRAINING = 0.2  # share of the steps
ENCODER = 0.3  # of the learning rate, for the encoder
WINDOWS, WINDOW_SIDE = 50, 15  # of the loss on local detail, of a tile
# Weights beside SILog; the last of what the tile's own features give.
SELECTED, CHOICE, DETAIL, CONSISTENCY, OWN = 10.0, 1.0, 5.0, 1.0, 0.2
WEIGHTS = {"silog": 1.0, "selected": SELECTED, "choice": CHOICE, "detail": DETAIL, "overlap": CONSISTENCY, "own": OWN}
VALIDATION_BATCHES, VALIDATION_BATCH = 24, 2


def pairs_of(batch: int) -> int:
    """How many windows of two tiles make a step of so many views."""
    return max(1, batch // 2)


def shapes(network: PatchRefinerV2) -> list[tuple[int, int]]:
    """Of windows that are two tiles that overlap, side by side or one above the other."""
    long = 2 * network.side - network.overlap
    return [(network.side, long), (long, network.side)]


def prv2_losses(network: PatchRefinerV2, windows: Sequence[Window], generators: Sequence[torch.Generator]) -> Losses:
    """SILog of the refined depth over all pixels, L1 of ln depth over the selected ones, expected of the choice between surfaces
    where there is one, that choice itself, L1 of the gradients in local windows up to scale and shift (SSIGM, section 3.3; here
    against the truth, not a teacher), how far two tiles disagree where they overlap (as PRO, arXiv 2503.22351, has it), and SILog
    of the tile's own depth; the paper has SILog alone where depth is exact. ``error`` and ``coarse``, for comparison: L1 of ln
    depth at the selected pixels, after and before."""
    places = [grid(window, network.side, network.overlap) for window in windows]
    tiles = [window.tiles(network, place) for window, place in zip(windows, places, strict=True)]
    level = torch.cat([of.level for of in tiles])
    pyramids, shown = zip(*(network.seen(of) for of in tiles), strict=True)
    coarse = [torch.cat(parts) for parts in zip(*pyramids, strict=True)]
    near = [of for of in shown if of is not None]
    together = Nearby(*(torch.cat(parts) for parts in zip(*near, strict=True))) if near else None
    answer, own = network.answer(torch.cat([of.colors for of in tiles]), level, coarse, together)
    change = answer.change
    target = targets(windows, places, network.side)
    refined, true = level[:, 0] + change, level[:, 0] + target.wanted
    of_windows = change.split([len(place) for place in places])
    overlaps = [disagreement(part, place) for part, place in zip(of_windows, places, strict=True)]
    if answer.choice is None:
        expected, entropy = mean_of(robust(change, target.wanted)[target.selected]), mean_of(change[:0])
    else:
        expected, entropy = choice_losses(answer.choice, target.wanted, target.selected)
    terms = {
        "silog": silog_loss(refined, true, target.valid),
        "selected": expected,
        "choice": entropy,
        "detail": local_window_loss(refined, true, target.valid, generators, WINDOWS, WINDOW_SIDE),
        "overlap": mean_of(torch.stack(overlaps)),
        "own": silog_loss(own, true, target.valid),
    }
    return Losses(terms | before_and_after(change, target), WEIGHTS)


def pretraining_losses(network: PatchRefinerV2, images: Tensor, log_depth: Tensor, generators: Sequence[torch.Generator]) -> Losses:
    """SILog of the depth of whole views that the fine features alone give, as the coarse maps are noise (section 3.4).

    images ``uint8 [B, S, S, 3]``; log_depth ``[B, S, S]``.
    """
    colors, side = normalized(images).permute(0, 3, 1, 2), network.side
    shapes_of = [(width, side >> i, side >> i) for i, width in enumerate(network.fusion.widths.coarse)]
    of_each = [[torch.randn(shape, generator=generator) for shape in shapes_of] for generator in generators]
    noise = [torch.stack(level).to(images.device) for level in zip(*of_each, strict=True)]
    level = torch.zeros_like(log_depth)[:, None]
    near = Nearby(*(level.expand(-1, count, -1, -1) for count in (COUNT, 1 + COUNT))) if network.chooses else None
    answer, own = network.answer(colors, level, noise, near)
    true = log_depth - log_depth.mean((1, 2), keepdim=True)
    valid = torch.ones_like(true, dtype=torch.bool)
    terms = {"pretraining": silog_loss(answer.change, true, valid), "pretraining_own": silog_loss(own, true, valid)}
    return Losses(terms, {"pretraining": 1.0, "pretraining_own": OWN})


class WholeView(NamedTuple):
    """A scene squeezed to a square: image ``uint8 [side, side, 3]``; log_depth ``[side, side]``."""

    image: Tensor
    log_depth: Tensor


def whole_views(files: Sequence[Path], side: int, places: Sequence[int], seed: int, step: int) -> list[WholeView]:
    """Random scenes, one for each of the places in the step's batch."""
    return [_whole_view(files, side, np.random.default_rng((seed, step, place, 2))) for place in places]


def _whole_view(files: Sequence[Path], side: int, rng: np.random.Generator) -> WholeView:
    with np.load(files[int(rng.integers(len(files)))]) as file:
        view, depth = file["view"], finite_truth({"view_depth": file["view_depth"]}, FAR_FACTOR)[0]
    if rng.random() < 0.5:
        view, depth = view[:, ::-1], depth[:, ::-1]
    rows, columns = (np.linspace(0, n - 1, side).round().astype(int) for n in depth.shape)
    image = torch.from_numpy(resized(np.ascontiguousarray(view), (side, side)).copy())
    return WholeView(image, torch.from_numpy(np.log(depth[rows[:, None], columns])))


def validate(network: nn.Module, windows: Callable[[int], Sequence[Window]]) -> dict[str, float]:
    """Mean losses over held-out windows, the same each time, and the share of the coarse error that is left at selected pixels."""
    assert isinstance(network, PatchRefinerV2)

    def losses(index: int) -> Losses:
        there = to_network(network, windows(index))
        return prv2_losses(network, there, At(index, 1.0, range(len(there))).generators(VALIDATION_SEED))

    return validated(losses, VALIDATION_BATCHES)


def train_prv2(
    train: Sequence[Path],
    held_out: Sequence[Path],
    models: Sequence[CoarseModel],
    spec: LoopSpec,
    network: PatchRefinerV2,
    pretraining: float = PRETRAINING,
) -> tuple[Loop, dict[str, float]]:
    """The finished loop and its validation figures. pretraining: share of the steps that it takes; 0 for the ablation."""
    network = network.to(spec.device)
    pairs = pairs_of(spec.batch)
    drawn = partial(Windows, shapes(network), workers=spec.workers)
    windows = drawn(train, models, pairs, spec.seed, echoed=True, places=spec.group.places(pairs))
    held = drawn(held_out, models, VALIDATION_BATCH, VALIDATION_SEED, simulated=0.5)
    fixed = remembered(held, VALIDATION_BATCHES)
    views = Ahead(partial(whole_views, train, network.side, spec.group.places(spec.batch), spec.seed), spec.workers)

    def draw(step: int, progress: float) -> Sequence[Window | WholeView]:
        if progress < pretraining:
            return views(step)
        views.close()
        return windows(step)

    def learn(net: nn.Module, samples: Sequence[Window | WholeView], at: At) -> Losses:
        assert isinstance(net, PatchRefinerV2)
        generators = at.generators(spec.seed)
        whole = [sample for sample in samples if isinstance(sample, WholeView)]
        if whole:
            images, log_depth = (torch.stack(parts).to(spec.device) for parts in zip(*whole, strict=True))
            with spec.autocast():
                return pretraining_losses(net, images, log_depth, generators)
        seen = to_network(net, [sample for sample in samples if isinstance(sample, Window)])
        with spec.autocast():
            return prv2_losses(net, seen, generators)

    encoder = [parameter for name, parameter in network.named_parameters() if name.startswith("encoder.")]
    others = [parameter for name, parameter in network.named_parameters() if not name.startswith("encoder.")]
    loop = Loop(network, spec, [{"params": encoder, "share": ENCODER}, {"params": others}])
    return loop, loop.run(draw, learn, lambda net: validate(net, fixed), every=250)
