"""Trainings, one after the other, of processes that torchrun starts, on the samples in a folder.

    torchrun --standalone --nproc-per-node 2 -m test.training.together POOL KIND,OUT,STEPS,BATCH[,OPTION …] …

resume: see ``LoopSpec``, as for accumulate=N; apart: each process has a folder of its own; alone: the first process trains as one
that is in no group, while the others wait; stop=N: interrupted before step N; fail=N: the second process fails there, while the
first waits; kill=N: the second is killed there.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from depth_retrofit_ros.cli.interruption import Interrupted, interruptible
from depth_retrofit_ros.errors import DepthRetrofitError, ModelError
from depth_retrofit_ros.training.group import ALONE, Group, joined
from depth_retrofit_ros.training.loop import At, Loop, LoopSpec
from depth_retrofit_ros.training.losses import Losses, mean_of

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


class Stop(Exception):
    """Of a training that is interrupted."""


def plain(spec: LoopSpec, given: dict[str, int]) -> None:
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
    if kind == "plain":
        plain(spec, given)
    else:
        from test.training.networks_together import NETWORKS  # which take longer to import than to train

        NETWORKS[kind](spec, sorted(pool.glob("*.npz")))
    torch.save({"losses": losses, "gradients": gradients}, Path(out) / f"{group.rank}.pt")


def main(pool: str, *trainings: str) -> None:
    """All of them in one group."""
    torch.set_num_threads(1)
    with joined("cpu") as (group, device):
        for words in trainings:
            alone = "alone" in words.split(",")
            if not alone or group.leads:
                train(Path(pool), ALONE if alone else group, device, *words.split(","))
            if alone:
                group.wait()


if __name__ == "__main__":
    with interruptible() as interruption:
        try:
            interruption.arm()
            main(*sys.argv[1:])
        except DepthRetrofitError as error:
            sys.exit(str(error))
        except Interrupted:
            sys.exit(interruption.exit_code)
