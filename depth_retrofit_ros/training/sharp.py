"""Training of SharpDepth's small network (arXiv 2411.18229, section 3): a teacher on true depth, then a student.

The teacher gives sharp depth from noise and the surfaces nearby. The student begins as the teacher, and learns what to
do where a coarse depth is given besides: to be as sharp as the frozen teacher would have its answers (score distillation in x₀
form), and no farther from the coarse depth than that asks for. Its losses see no truth. Its coarse maps are those of the other
trainings: 70 % of them are simulated, that is, made of the true depth of rendered scenes, which reaches it in no other way.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.refinement.sharp.network import SharpDepth, noise_at, normalised, shown
from depth_retrofit_ros.refinement.tiles.refiner import Tiles
from depth_retrofit_ros.refinement.tiles.surfaces import Choice, Nearby
from depth_retrofit_ros.scale.affine import reanchored
from depth_retrofit_ros.training.draws import remembered
from depth_retrofit_ros.training.loop import At, Loop, LoopSpec
from depth_retrofit_ros.training.losses import Losses, Term, mean_of
from depth_retrofit_ros.training.tile_batch import (
    DEPTH_WEIGHTS,
    TileTargets,
    before_and_after,
    depth_losses,
    targets,
    to_network,
)
from depth_retrofit_ros.training.validation import VALIDATION_SEED
from depth_retrofit_ros.training.windows import Window, Windows

TEACHING = 0.5  # share of the steps
STUDENT_RATE = 0.3  # of the teacher's
PURE = 0.2  # share of the student's samples that are noise alone, as its first pass sees
RECONSTRUCTION = 0.3  # weight of the anchor beside distillation
AVERAGE, AVERAGE_EVERY = 0.999, 5  # slowest decay of the weights by which the disagreement is found, and steps between its updates
FOLLOWS = 0.1  # share of the run within which they follow, where that is faster: a short run is to leave nothing of the teacher
UNIT = 0.2  # difference of normalised depth that counts as one where it is squared, as latents do whose variance is about one
KEPT = 0.0683  # of a clean answer in the last step of the diffusion that the paper's networks come from
VALIDATION_BATCHES, VALIDATION_BATCH = 24, 4


@dataclass(frozen=True, slots=True)
class Ablation:
    """Which part is left out. anchor: the reconstruction of the coarse depth; distillation: of the teacher."""

    anchor: bool = True
    distillation: bool = True


class Seen(NamedTuple):
    """What a network sees of B windows: colors ``[B, 3, S, S]``, coarse ``[B, S, S]`` normalised, near: see ``Nearby``, normalised
    too; half ``[B, 1, 1]``: ln depth of 1."""

    colors: Tensor
    coarse: Tensor
    near: Nearby
    half: Tensor


def seen_of(network: SharpDepth, windows: Sequence[Window]) -> Seen:
    """Of windows as large as a tile."""
    tiles = [_tile(network, window) for window in windows]
    coarse, half = zip(*(normalised(of) for of in tiles), strict=True)
    near = Nearby(*map(torch.cat, zip(*(shown(of, one) for of, one in zip(tiles, half, strict=True)), strict=True)))
    return Seen(torch.cat([of.colors for of in tiles]), torch.cat(coarse), near, torch.stack(half).view(-1, 1, 1))


def targets_of(network: SharpDepth, windows: Sequence[Window]) -> TileTargets:
    """Of windows as large as a tile."""
    return targets(windows, [torch.zeros(1, 2, dtype=torch.int64)] * len(windows), network.side)


def teacher_losses(network: SharpDepth, seen: Seen, target: TileTargets, generators: Sequence[torch.Generator]) -> Losses:
    """Of what noise and the surfaces give: see ``depth_losses``."""
    told = network.first(seen.colors, _noise(seen.coarse, generators), seen.coarse, seen.near)
    chosen = Choice(told.candidates * seen.half[:, None], told.log_probability)
    change = chosen.mean()
    losses = depth_losses(chosen, change, seen.coarse * seen.half, target)
    return Losses(losses | before_and_after(change, target), DEPTH_WEIGHTS)


class Distillation(nn.Module):
    """The student beside the frozen teacher and the average of its own weights, so that a checkpoint holds all three."""

    def __init__(self, teacher: SharpDepth) -> None:
        super().__init__()
        self.student = copy.deepcopy(teacher).requires_grad_(True)
        self.teacher = copy.deepcopy(teacher).requires_grad_(False)
        self.average = copy.deepcopy(teacher).requires_grad_(False)

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Move the average towards the student, keeping ``decay`` of it."""
        for slow, fast in zip(self.average.parameters(), self.student.parameters(), strict=True):
            slow.lerp_(fast, 1 - decay)


def decay_at(step: int, progress: float) -> float:
    """Of the average at a step above 0, as ``progress`` of the run (0…1) is over, by steps or by time: what it held ``FOLLOWS`` of
    the run ago counts 1/e at most."""
    share = AVERAGE_EVERY * progress / step  # of the run, between two updates
    return min(AVERAGE, math.exp(-share / FOLLOWS))


def student_losses(
    nets: Distillation, seen: Seen, generators: Sequence[torch.Generator], ablation: Ablation = Ablation()
) -> Losses:
    """Score distillation in x₀ form, and reconstruction of the coarse depth, weighted by how far it and a sharp answer disagree.
    Nothing of the truth is asked for."""
    colors, coarse, near, _ = seen
    apart, gate = gates(nets, seen, generators)
    pure = torch.stack([torch.rand(1, 1, generator=generator) for generator in generators]).to(coarse.device) < PURE
    answer = coarse + nets.student.denoised(colors, _noise(coarse, generators), coarse, torch.where(pure, 1.0, gate), near).mean()
    with torch.no_grad():
        noised = KEPT * answer + (1 - KEPT**2) ** 0.5 * _noise(coarse, generators)
        target = coarse + nets.teacher.first(colors, noised, coarse, near).mean()
    terms = {"distillation": distillation_loss(answer, target), "reconstruction": reconstruction_loss(answer, coarse, apart)}
    weights = {"distillation": float(ablation.distillation), "reconstruction": ablation.anchor * RECONSTRUCTION}
    return Losses(terms | {"apart": mean_of(apart)}, weights)


@torch.no_grad()
def gates(nets: Distillation, seen: Seen, generators: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
    """The disagreement that the averaged student finds, and the gate that comes of it."""
    apart = nets.average.apart(seen.colors, _noise(seen.coarse, generators), seen.coarse, seen.near)
    return apart, nets.student.gate(apart)


def distillation_loss(answer: Tensor, target: Tensor) -> Term:
    """Half the mean squared difference, in ``UNIT``: its gradient is that of score distillation with an x₀ target."""
    return mean_of(0.5 * (1 - KEPT**2) * ((answer - target) / UNIT).square())


def reconstruction_loss(answer: Tensor, coarse: Tensor, apart: Tensor) -> Term:
    """L1 to the coarse depth, as the mean weighted by the disagreement ``apart``."""
    return mean_of((answer - coarse).abs(), apart, least=1e-6)


@torch.no_grad()
def validate(network: SharpDepth, windows: Callable[[int], Sequence[Window]], device: torch.device) -> dict[str, float]:
    """L1 of ln depth at selected pixels of held-out windows, as the refiner answers there, each anchored by itself, and of its
    first pass; of the coarse depth, and which share of that is left. The same each time."""
    error = first = before = 0.0
    for index in range(VALIDATION_BATCHES):
        for window in windows(index):
            tile = _tile(network, window.to(device))
            answer = network(tile)
            assert answer.trusted is not None
            change = reanchored(tile.level[:, 0], answer.change, answer.trusted)[0].cpu()
            coarse, half = normalised(tile)
            noise = noise_at(tile.origins, network.side, 0)
            sharp = network.first(tile.colors, noise, coarse, shown(tile, half)).mean() * half
            wanted = window.change()
            chosen = window.selected & wanted.isfinite()
            error += float((change - wanted)[chosen].abs().mean())
            before += float(wanted[chosen].abs().mean())
            first += float((sharp[0].cpu() - wanted)[chosen].abs().mean())
    count = VALIDATION_BATCHES * VALIDATION_BATCH
    figures = {"val_error": error / count, "val_first": first / count, "val_coarse": before / count}
    return figures | {"val_first_left": first / before, "val_left": error / before}


def train_sharp(
    train: Sequence[Path],
    held_out: Sequence[Path],
    models: Sequence[CoarseModel],
    spec: LoopSpec,
    network: SharpDepth,
    ablation: Ablation = Ablation(),
) -> tuple[SharpDepth, dict[str, float], int]:
    """The finished student, its validation figures, and the steps of both stages. The teacher's state is in its own folder.

    Minutes are divided between the stages that there are to run: of a training that is resumed after the teacher was finished they
    are all the student's, who keeps that teacher.
    """
    shapes = [(network.side, network.side)]
    drawn = partial(Windows, shapes, workers=spec.workers)
    windows = drawn(train, models, spec.batch, spec.seed, echoed=True, places=spec.group.places(spec.batch))
    held = drawn(held_out, models, VALIDATION_BATCH, VALIDATION_SEED, simulated=0.5)
    fixed = remembered(held, VALIDATION_BATCHES)
    first = round(TEACHING * spec.steps)

    def teach(net: nn.Module, samples: Sequence[Window], at: At) -> Losses:
        assert isinstance(net, SharpDepth)
        there = to_network(net, samples)
        seen, target = seen_of(net, there), targets_of(net, there)
        with spec.autocast():
            return teacher_losses(net, seen, target, at.generators(spec.seed))

    def follow(net: nn.Module, step: int, progress: float) -> None:
        assert isinstance(net, Distillation)
        if step and step % AVERAGE_EVERY == 0:
            net.follow(decay_at(step, progress))

    def study(net: nn.Module, samples: Sequence[Window], at: At) -> Losses:
        assert isinstance(net, Distillation)
        seen = seen_of(net.student, to_network(net, samples))
        with spec.autocast():
            return student_losses(net, seen, at._replace(step=first + at.step).generators(spec.seed), ablation)

    def check(net: nn.Module) -> dict[str, float]:
        student = net.student if isinstance(net, Distillation) else net
        assert isinstance(student, SharpDepth)
        return validate(student, fixed, spec.device)

    teaching = Loop(network, replace(spec, steps=first, out=spec.out / "teacher", minutes=spec.minutes / 2))
    begun = spec.resume and (spec.out / "state.pt").exists()  # the student: the teacher stays what it is
    begun = bool(spec.group.of_leader(begun, spec.device))
    taught = begun or teaching.finished
    if not taught:
        teaching.run(lambda step, progress: windows(step), teach, check, every=250)
    assert isinstance(teaching.average, SharpDepth)
    nets = Distillation(teaching.average)
    minutes = spec.minutes if taught else spec.minutes / 2
    studying = replace(spec, steps=spec.steps - first, rate=STUDENT_RATE * spec.rate, minutes=minutes)
    loop = Loop(nets, studying, [{"params": list(nets.student.parameters())}])
    if not begun:
        loop.save()  # the teacher is what it is from here on
    figures = loop.run(lambda step, progress: windows(first + step), study, check, every=250, before=follow)
    student = loop.average.student
    assert isinstance(student, SharpDepth)
    return student, figures, teaching.done + loop.done


def _tile(network: SharpDepth, window: Window) -> Tiles:
    return window.tiles(network, torch.zeros(1, 2, dtype=torch.int64))


def _noise(like: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Of as many samples as there are generators."""
    return torch.stack([torch.randn(like.shape[1:], generator=generator) for generator in generators]).to(like)
