#!/usr/bin/env python3
"""The design questions of the refiner, answered by training each variant for the same short time on the same crops.

    python benchmarks/ablate_refiner.py --pool POOL --held-out-pool POOL2 --json benchmarks/results/ablate_refiner.json

Every variant differs from the shipped design in one thing. The figure is the share of the coarse map's error (L1 of ln depth, and
of its gradients, at the active pixels) that is left on held-out crops. Pools are made by ``depth-retrofit train``. ``--start``
trains on from a checkpoint, for the variants whose weights have its shapes; the control with another ``--seed`` (of weights and
crops) shows how large a difference has to be to mean something.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from depth_retrofit_ros.coarse.registry import load_coarse
from depth_retrofit_ros.refinement.fusion import GatedFusion
from depth_retrofit_ros.refinement.pixels.candidates import SURFACES
from depth_retrofit_ros.refinement.pixels.decision import Refinement
from depth_retrofit_ros.refinement.pixels.features import PixelFeatures
from depth_retrofit_ros.refinement.pixels.network import RefinerNet
from depth_retrofit_ros.refinement.pixels.refiner import load_sparse_refiner
from depth_retrofit_ros.sparse.pyramid import Level, Pyramid
from depth_retrofit_ros.training.crops import CropSample
from depth_retrofit_ros.training.loop import LoopSpec
from depth_retrofit_ros.training.losses import Losses
from depth_retrofit_ros.training.refiner import RefinerLosses, refiner_losses, train_refiner

BINS_PER_LN = 256  # of MoGe-3's third coordinate


class Without(RefinerNet):
    """Some of the inputs are zero."""

    def __init__(self, *absent: str) -> None:
        super().__init__()
        self.absent = absent

    def forward(self, features: PixelFeatures, pyramid: Pyramid) -> Refinement:
        seen = PixelFeatures(features.rows.clone())
        for name in self.absent:
            seen.part(name).zero_()
        return self.decide(self.unet(self.mix(seen.rows).relu(), pyramid).float(), features)


class NoFitness(RefinerNet):
    """The logits are the U-Net's outputs alone."""

    def decide(self, out: torch.Tensor, features: PixelFeatures) -> Refinement:
        return super().decide(torch.cat([out[:, :-4], torch.zeros_like(out[:, -4:-1]), out[:, -1:]], 1), features)


class Residual(RefinerNet):
    """ln depth moves by one number per pixel; there is nothing to choose from."""

    def decide(self, out: torch.Tensor, features: PixelFeatures) -> Refinement:
        return replace(super().decide(out, features), change=out[:, -1])


class Replacement(RefinerNet):
    """ln depth about the frame's median is predicted anew."""

    def decide(self, out: torch.Tensor, features: PixelFeatures) -> Refinement:
        return replace(super().decide(out, features), change=out[:, -1] - features.level)


class ChoiceOnly(RefinerNet):
    """No residual beside the choice."""

    def decide(self, out: torch.Tensor, features: PixelFeatures) -> Refinement:
        return super().decide(torch.cat([out[:, :-1], torch.zeros_like(out[:, -1:])], 1), features)


class NoGate(RefinerNet):
    """The refined value replaces the coarse one."""

    def __init__(self) -> None:
        super().__init__()
        self.fusion = _Open()


class _Open(GatedFusion):
    def forward(
        self, level: torch.Tensor, change: torch.Tensor, coarse_entropy: torch.Tensor, refined_entropy: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros_like(change), change


class DepthBins(RefinerNet):
    """Pixels whose coarse ln depth is more than one of 256 bins apart are not neighbours (MoGe-3's third coordinate)."""

    def forward(self, features: PixelFeatures, pyramid: Pyramid) -> Refinement:
        return super().forward(features, Pyramid(tuple(separated(pyramid, features.level))))


def separated(pyramid: Pyramid, level: torch.Tensor) -> Sequence[Level]:
    """The pyramid without the neighbour relations across depth bins; a coarse pixel has the mean depth of its children."""
    levels = []
    for step in pyramid.levels:
        bins = (level * BINS_PER_LN).round()
        count = bins.numel()
        padded = torch.cat([bins, bins.new_full((1,), torch.inf)])
        apart = (padded[step.neighbors.long()] - bins[:, None]).abs() > 1
        levels.append(replace(step, neighbors=torch.where(apart, count, step.neighbors).to(step.neighbors.dtype)))
        if step.children is not None:
            sums = torch.cat([level, level.new_zeros(1)])[step.children.long()].sum(1)
            level = sums / (step.children < count).sum(1)
    return levels


def without_mixtures(network: RefinerNet, samples: Sequence[CropSample]) -> Losses:
    """The losses where the mixtures are the upsampled depth once more."""
    plain = [CropSample(s.mask, PixelFeatures(s.features.rows.clone()), s.target) for s in samples]
    for sample in plain:
        sample.features.candidates[:, SURFACES:] = sample.features.candidates[:, :1]
        sample.features.colors[:, SURFACES:] = sample.features.colors[:, :1]
    return refiner_losses(network, plain)


def of_the_mean_choice(network: RefinerNet, samples: Sequence[CropSample]) -> Losses:
    """The losses with the relative error of the mean of the choice in place of the one expected of it."""
    losses = refiner_losses(network, samples)
    return Losses(losses.terms, losses.weights | {"expected": 0.0, "refined": 1.0})


OBJECTIVES: dict[str, RefinerLosses] = {
    "without mixtures": without_mixtures,
    "error of the mean choice instead of the expected one": of_the_mean_choice,
}
"""Of the variants that are the shipped network with other losses."""

VARIANTS: dict[str, Callable[[], RefinerNet]] = {
    "shipped": RefinerNet,
    "without colour of the pixel": lambda: Without("rgb"),
    "without candidates as inputs (coarse gradients)": lambda: Without("candidates"),
    "without colour distances as inputs": lambda: Without("colors"),
    "without entropy": lambda: Without("entropy"),
    "without log coarse depth": lambda: Without("level"),
    "without position in the cell": lambda: Without("grid"),
    "RGB only (the paper)": lambda: Without("candidates", "colors", "entropy", "level", "grid"),
    **dict.fromkeys(OBJECTIVES, RefinerNet),
    "without fitness terms": NoFitness,
    "additive residual, no choice": Residual,
    "replacement, no choice": Replacement,
    "choice, no residual": ChoiceOnly,
    "no gate": NoGate,
    "log-depth bins as third coordinate": DepthBins,
    "half the widths": lambda: RefinerNet((8, 16, 24, 32, 32)),
    "twice the widths": lambda: RefinerNet((32, 64, 96, 128, 128)),
    "three levels": lambda: RefinerNet((16, 32, 48)),
    "two blocks per level": lambda: RefinerNet(blocks=2),
}


def start_from(network: RefinerNet, checkpoint: Path, name: str) -> None:
    """Give a variant the weights of a checkpoint; exits with one line where they do not fit."""
    trained = load_sparse_refiner(checkpoint, torch.device("cpu"), precision="float32").network
    if [p.shape for p in network.parameters()] != [p.shape for p in trained.parameters()]:
        raise SystemExit(f"{name!r} has other weights than {checkpoint}: train it without --start")
    network.load_state_dict(trained.state_dict())


def main() -> None:
    """Train each variant, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True, help="folder of training samples")
    parser.add_argument("--held-out-pool", type=Path, required=True, help="folder of samples to validate on")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), help="folder for the logs")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate (default: 2e-3, of new weights)")
    parser.add_argument("--start", type=Path, help="checkpoint to train on from (default: new weights)")
    parser.add_argument("--seed", type=int, default=0, help="another one is stored as a variant of its own")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    args = parser.parse_args()
    train, held_out = (sorted(folder.glob("*.npz")) for folder in (args.pool, args.held_out_pool))
    results = json.loads(args.json.read_text())["variants"] if args.json.exists() else {}
    for name in args.variants:
        torch.manual_seed(args.seed)
        network = VARIANTS[name]()
        if args.start is not None:
            start_from(network, args.start, name)
        title = f"{name}, seed {args.seed}" if args.seed else name
        spec = LoopSpec(
            steps=args.steps,
            batch=4,
            rate=args.rate,
            seed=args.seed,
            out=args.out / title.replace(" ", "-").replace("/", "-"),
            device=torch.device("cpu"),
            precision=getattr(torch, args.precision),
        )
        models = [load_coarse("compact", weights=None, device="cpu")]
        loop, figures = train_refiner(train, held_out, models, spec, network, OBJECTIVES.get(name, refiner_losses))
        parameters = sum(p.numel() for p in loop.average.parameters())
        results[title] = {"parameters": parameters, **{k: round(v, 4) for k, v in figures.items()}}
        args.json.write_text(json.dumps({"steps": args.steps, "scenes": len(train), "variants": results}, indent=1) + "\n")
        print(title, results[title], flush=True)


if __name__ == "__main__":
    main()
