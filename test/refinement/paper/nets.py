"""An untrained refiner of the paper that does something everywhere, and a checkpoint of it."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from depth_retrofit_ros.io.checkpoints import save_tensors
from depth_retrofit_ros.refinement.kinds import KIND
from depth_retrofit_ros.refinement.paper.network import PaperNet
from depth_retrofit_ros.refinement.paper.refiner import PaperRefiner
from depth_retrofit_ros.selection.threshold import SHARES
from depth_retrofit_ros.sparse.backends.registry import load_backend


def random_paper_network(seed: int = 0, widths: tuple[int, ...] = (8, 12, 16)) -> PaperNet:
    """All weights random."""
    network = PaperNet(widths)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.8 / max(1, parameter[0].numel()) ** 0.5, generator=generator)
    return network


def random_paper_refiner(seed: int = 0) -> PaperRefiner:
    """On the reference backend."""
    return PaperRefiner(random_paper_network(seed), load_backend("torch"))


def alphas(at_tenth: float) -> list[float]:
    """Thresholds of which the one at 10 % is this."""
    return [at_tenth + 0.1 * (0.1 - share) for share in SHARES]


def paper_checkpoint(path: Path, **at_tenth: float) -> Path:
    """A file; at_tenth: the threshold at 10 % of each coarse model."""
    network = random_paper_network()
    shape = {"widths": network.widths, "blocks": network.blocks, "thresholds": {name: alphas(a) for name, a in at_tenth.items()}}
    save_tensors(path, network.state_dict(), {"network": json.dumps(shape), KIND: "paper"})
    return path
