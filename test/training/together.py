"""Trainings, one after the other, that torchrun starts in several processes, or that run alone, on the samples in a folder.

    torchrun --standalone --nproc-per-node 2 -m test.training.together POOL KIND,OUT,STEPS,BATCH[,resume][,apart][,NAME=N …] …

apart: each process has a folder of its own; stop=N: interrupted before step N; fail=N: the second process fails there, while the
first waits; kill=N: the second is killed there; accumulate=N: see ``LoopSpec``.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from depth_retrofit_ros.cli.interruption import Interrupted, interruptible
from depth_retrofit_ros.coarse.compact_net import CompactNet
from depth_retrofit_ros.errors import DepthRetrofitError, ModelError
from depth_retrofit_ros.refinement.paper.network import PaperNet
from depth_retrofit_ros.refinement.pixels.network import RefinerNet
from depth_retrofit_ros.refinement.prv2.network import PatchRefinerV2
from depth_retrofit_ros.refinement.sharp.network import SharpDepth
from depth_retrofit_ros.refinement.urgt.network import Urgt
from depth_retrofit_ros.sparse.backends.registry import load_backend
from depth_retrofit_ros.training import compact, paper, prv2, refiner, sharp, urgt
from depth_retrofit_ros.training.group import Group, joined
from depth_retrofit_ros.training.loop import At, Loop, LoopSpec
from depth_retrofit_ros.training.losses import Losses, mean_of
from depth_retrofit_ros.training.views import View

PATCH = pytest.MonkeyPatch()  # never undone: of this process
LEARN = Loop._learn


class Place(NamedTuple):
    """A sample of the small network's: x ``[3]``, of which the first ``known`` count; odd: whether its place in the batch is."""

    x: Tensor
    known: int
    odd: bool


class Small(nn.Module):
    """One part learns of the samples at odd places alone, one of none."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3))
        self.odd, self.never = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, samples: Sequence[Place]) -> Tensor:
        answers = [self.layers(of.x) + (self.odd(of.x) if of.odd else 0.0) for of in samples]
        return torch.stack(answers)


class Exact(CompactNet):
    """In ``float64``: of a network that knows nothing yet windows are nearly flat, and their gradients double each rounding."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits, log_median = super().forward(image.double())
        return logits, log_median


class Stop(Exception):
    """Of a training that is interrupted."""


def plain(spec: LoopSpec, files: list[Path], given: dict[str, int]) -> None:
    """A small network, whose loss is a mean over what is known of all samples."""
    torch.manual_seed(7 + spec.group.rank)  # the process that leads decides

    def draw(step: int, progress: float) -> list[Place]:
        if step == given.get("stop"):
            raise Stop
        if step == given.get("fail") and spec.group.rank == 1:
            raise ModelError("the second process cannot go on: see to it")
        if step == given.get("kill") and spec.group.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == given.get("fail"):
            threading.Event().wait()  # as one does that waits for a GPU
        of = [(place, torch.Generator().manual_seed(100 * step + place)) for place in spec.group.places(spec.batch)]
        return [Place(torch.randn(3, generator=generator), 1 + place % 3, place % 2 == 1) for place, generator in of]

    def learn(net: nn.Module, samples: Sequence[Place], at: At) -> Losses:
        error = (net(samples) - torch.stack([of.x.flip(0) for of in samples])).square()
        known = torch.arange(3) < torch.tensor([of.known for of in samples])[:, None]
        return Losses({"error": mean_of(error, known)}, {"error": 1.0})

    loop = Loop(Small(), spec)
    try:
        loop.run(draw, learn, lambda net: {"val": float(next(net.parameters()).detach().sum())}, every=4)
    except Stop:
        return


def of_refiner(spec: LoopSpec, files: list[Path], given: dict[str, int]) -> None:
    refiner.train_refiner(files, files[:1], [], spec, RefinerNet((4, 8)))


def of_paper(spec: LoopSpec, files: list[Path], given: dict[str, int]) -> None:
    PATCH.setattr(paper, "FEWEST_ACTIVE", 10)
    paper.train_paper(files, files[:1], [], spec, PaperNet((4, 8)), {}, load_backend("torch"))


def of_prv2(spec: LoopSpec, files: list[Path], given: dict[str, int]) -> None:
    network = PatchRefinerV2({})
    network.side, network.overlap = 64, 40  # the samples' crops are small
    prv2.train_prv2(files, files[:1], [], spec, network, 0.5)


def of_urgt(spec: LoopSpec, files: list[Path], given: dict[str, int]) -> None:
    PATCH.setattr(urgt, "GRIDMIX", (1, 2))
    network = Urgt()
    network.side, network.overlap = 64, 48
    urgt.train_urgt(files, files[:1], [], spec, network)


def of_sharp(spec: LoopSpec, files: list[Path], given: dict[str, int]) -> None:
    network = SharpDepth()
    network.side = 64
    sharp.train_sharp(files, files[:1], [], spec, network)


def of_compact(spec: LoopSpec, files: list[Path], given: dict[str, int]) -> None:
    """Half of each batch is a teacher's, so that a process or a part may have nothing else."""
    PATCH.setattr(compact, "TAUGHT_SHARE", 0.5)
    rng = np.random.default_rng(3)
    photo = rng.integers(0, 255, (96, 128, 3), dtype=np.uint8)
    taught = View(photo, rng.normal(1, 0.2, (96, 128)).cumsum(1).astype(np.float16) / 10, 100.0, taught=True)
    network = Exact().double().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    compact.train_compact(compact.CompactStart(network, False, [taught]), files, files[:1], spec)


TRAININGS: dict[str, Callable[[LoopSpec, list[Path], dict[str, int]], None]] = {
    "plain": plain,
    "refiner": of_refiner,
    "paper": of_paper,
    "prv2": of_prv2,
    "urgt": of_urgt,
    "sharp": of_sharp,
    "compact": of_compact,
}


def note(steps: list[dict[str, float]], gradients: list[dict[str, Tensor | None]]) -> None:
    """From here on each step of a training leaves its losses, and the first of each network its gradients."""

    def learn_and_note(loop: Loop, *arguments: Any) -> dict[str, float]:
        values = LEARN(loop, *arguments)
        steps.append(values)
        if loop.done == 0:
            named = loop.network.named_parameters()
            gradients.append({name: None if p.grad is None else p.grad.clone() for name, p in named})
        return values

    PATCH.setattr(Loop, "_learn", learn_and_note)


def train(pool: Path, group: Group, device: torch.device, kind: str, out: str, steps: str, batch: str, *more: str) -> None:
    """Train, and write what each process came to, ``RANK.pt``."""
    given = {name: int(value) for name, equals, value in (word.partition("=") for word in more) if equals}
    losses: list[dict[str, float]] = []
    gradients: list[dict[str, Tensor | None]] = []
    note(losses, gradients)
    folder = Path(out) / str(group.rank) if "apart" in more else Path(out)
    accumulate = given.get("accumulate", 1)
    spec = LoopSpec(int(steps), int(batch), 1e-2, 3, folder, device, resume="resume" in more, group=group, accumulate=accumulate)
    torch.manual_seed(7)
    TRAININGS[kind](spec, sorted(pool.glob("*.npz")), given)
    torch.save({"losses": losses, "gradients": gradients}, Path(out) / f"{group.rank}.pt")


def main(pool: str, *trainings: str) -> None:
    """All of them in one group."""
    torch.set_num_threads(1)
    for training in (refiner, prv2, urgt, sharp, paper):
        PATCH.setattr(training, "VALIDATION_BATCHES", 1)
    with joined("cpu") as (group, device):
        for words in trainings:
            train(Path(pool), group, device, *words.split(","))


if __name__ == "__main__":
    with interruptible() as interruption:
        try:
            interruption.arm()
            main(*sys.argv[1:])
        except DepthRetrofitError as error:
            sys.exit(str(error))
        except Interrupted:
            sys.exit(interruption.exit_code)
