"""The trainings of the package's networks as ``together`` runs them: small, or of small crops, and validated on one batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from depth_retrofit_ros.coarse.compact_net import CompactNet
from depth_retrofit_ros.refinement.paper.network import PaperNet
from depth_retrofit_ros.refinement.pixels.network import RefinerNet
from depth_retrofit_ros.refinement.prv2.network import PatchRefinerV2
from depth_retrofit_ros.refinement.sharp.network import SharpDepth
from depth_retrofit_ros.refinement.urgt.network import Urgt
from depth_retrofit_ros.sparse.backends.registry import load_backend
from depth_retrofit_ros.training import compact, paper, prv2, refiner, sharp, urgt
from depth_retrofit_ros.training.loop import LoopSpec
from depth_retrofit_ros.training.views import View

PATCH = pytest.MonkeyPatch()  # never undone: of this process
for training in (refiner, prv2, urgt, sharp, paper):
    PATCH.setattr(training, "VALIDATION_BATCHES", 1)


class Exact(CompactNet):
    """In ``float64``: of a network that knows nothing yet windows are nearly flat, and their gradients double each rounding."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits, log_median = super().forward(image.double())
        return logits, log_median


def of_refiner(spec: LoopSpec, files: list[Path]) -> None:
    refiner.train_refiner(files, files[:1], [], spec, RefinerNet((4, 8)))


def of_paper(spec: LoopSpec, files: list[Path]) -> None:
    PATCH.setattr(paper, "FEWEST_ACTIVE", 10)
    paper.train_paper(files, files[:1], [], spec, PaperNet((4, 8)), {}, load_backend("torch"))


def of_prv2(spec: LoopSpec, files: list[Path]) -> None:
    network = PatchRefinerV2({})
    network.side, network.overlap = 64, 40  # the samples' crops are small
    prv2.train_prv2(files, files[:1], [], spec, network, 0.5)


def of_urgt(spec: LoopSpec, files: list[Path]) -> None:
    PATCH.setattr(urgt, "GRIDMIX", (1, 2))
    network = Urgt()
    network.side, network.overlap = 64, 48
    urgt.train_urgt(files, files[:1], [], spec, network)


def of_sharp(spec: LoopSpec, files: list[Path]) -> None:
    network = SharpDepth()
    network.side = 64
    sharp.train_sharp(files, files[:1], [], spec, network)


def of_compact(spec: LoopSpec, files: list[Path]) -> None:
    """Half of each batch is a teacher's, so that a process or a part may have nothing else."""
    PATCH.setattr(compact, "TAUGHT_SHARE", 0.5)
    rng = np.random.default_rng(3)
    photo = rng.integers(0, 255, (96, 128, 3), dtype=np.uint8)
    taught = View(photo, rng.normal(1, 0.2, (96, 128)).cumsum(1).astype(np.float16) / 10, 100.0, taught=True)
    network = Exact().double().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    compact.train_compact(compact.CompactStart(network, False, [taught]), files, files[:1], spec)


NETWORKS: dict[str, Callable[[LoopSpec, list[Path]], None]] = {
    "refiner": of_refiner,
    "paper": of_paper,
    "prv2": of_prv2,
    "urgt": of_urgt,
    "sharp": of_sharp,
    "compact": of_compact,
}
