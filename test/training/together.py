"""A training that torchrun starts in several processes, or that runs alone: a small network, or the sparse refiner on samples that
lie in a folder.

    torchrun --standalone --nproc-per-node 2 -m test.training.together plain OUT STEPS BATCH [resume] [stop=N]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from depth_retrofit_ros.errors import DepthRetrofitError
from depth_retrofit_ros.refinement.pixels.network import RefinerNet
from depth_retrofit_ros.training import refiner
from depth_retrofit_ros.training.group import Group, joined
from depth_retrofit_ros.training.loop import At, Loop, LoopSpec, Losses

CPU = torch.device("cpu")


def plain(spec: LoopSpec, stop: int) -> Loop:
    """Losses that are means over samples. stop: the step before which it is interrupted, or 0."""
    torch.manual_seed(7 + spec.group.rank)  # the process that leads decides
    network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))

    def draw(step: int, progress: float) -> list[torch.Tensor]:
        if step == stop:
            spec.group.wait()
            sys.exit(0)
        return [torch.randn(3, generator=torch.Generator().manual_seed(100 * step + k)) for k in spec.group.places(spec.batch)]

    def learn(net: nn.Module, samples: Sequence[torch.Tensor], at: At) -> Losses:
        x = torch.stack(list(samples))
        loss = (net(x)[:, 0] - x.sum(1)).square().mean()
        return {"total": loss, "half": loss / 2, f"of_rank_{spec.group.rank}": loss.detach()}

    loop, stop = Loop(network, spec), stop or -1
    loop.run(draw, learn, lambda net: {"val": float(next(net.parameters()).detach().sum())}, every=4)
    return loop


def sparse_refiner(spec: LoopSpec) -> Loop:
    """The samples of folder ``pool`` beside ``spec.out``."""
    refiner.VALIDATION_BATCHES = 1
    torch.manual_seed(7)
    files = sorted((spec.out.parent / "pool").glob("*.npz"))
    return refiner.train_refiner(files, files[:1], [], spec, RefinerNet((4, 8)))[0]


def main(kind: str, out: str, steps: str, batch: str, *more: str) -> int:
    """Train, and write the averaged weights of each process."""
    given = {name: int(value) for name, equals, value in (word.partition("=") for word in more) if equals}

    def spec(group: Group) -> LoopSpec:
        folder = Path(out) / str(group.rank) if "apart" in more else Path(out)
        return LoopSpec(
            int(steps),
            int(batch),
            1e-2,
            3,
            folder,
            CPU,
            resume="resume" in more,
            group=group,
            accumulate=given.get("accumulate", 1),
        )

    torch.set_num_threads(1)
    with joined(CPU) as group:
        loop = plain(spec(group), given.get("stop", 0)) if kind == "plain" else sparse_refiner(spec(group))
        torch.save(loop.average.state_dict(), Path(out) / f"average_{group.rank}.pt")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except DepthRetrofitError as error:
        sys.exit(str(error))
