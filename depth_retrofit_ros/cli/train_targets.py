"""What ``depth-retrofit train`` can train: for each target, what is told before anything is rendered, and the training itself."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from depth_retrofit_ros.errors import ModelError, UsageError

if TYPE_CHECKING:
    from torch import nn

    from depth_retrofit_ros.coarse.base import CoarseModel
    from depth_retrofit_ros.sparse.backends.registry import SparseBackend
    from depth_retrofit_ros.training.loop import LoopSpec

Fit: TypeAlias = "Callable[[list[Path], list[Path]], tuple[nn.Module, dict[str, float], int, object]]"
"""Of training and validation scenes: the network, its figures, how many steps it took, and the shape to build it by."""


def _compact(args: argparse.Namespace, spec: LoopSpec) -> Fit:
    """All that can be told without scenes is told here; what is returned trains on them."""
    from depth_retrofit_ros.training.compact import prepare_compact, train_compact

    start = prepare_compact(spec, args.backbone, args.teach, args.weights)

    def fit(train: list[Path], held_out: list[Path]) -> tuple[nn.Module, dict[str, float], int, object]:
        loop, figures = train_compact(start, train, held_out, spec)
        return loop.average, figures, loop.done, "compact"

    return fit


def _refiner(args: argparse.Namespace, spec: LoopSpec) -> Fit:
    """See ``_compact``."""
    from functools import partial

    import torch

    from depth_retrofit_ros.refinement.pixels.network import RefinerNet
    from depth_retrofit_ros.refinement.pixels.refiner import load_sparse_refiner
    from depth_retrofit_ros.training.refiner import refiner_losses, train_refiner

    backend = _backend(args, spec)
    models = _frozen(args, spec)
    torch.manual_seed(spec.seed)
    network = (
        RefinerNet(args.widths, args.blocks)
        if args.start is None
        else load_sparse_refiner(args.start, spec.device, precision="float32").network
    )

    def fit(train: list[Path], held_out: list[Path]) -> tuple[nn.Module, dict[str, float], int, object]:
        loop, figures = train_refiner(train, held_out, models, spec, network, partial(refiner_losses, backend=backend))
        return loop.average, figures, loop.done, {"widths": list(network.widths), "blocks": network.blocks}

    return fit


def _paper(args: argparse.Namespace, spec: LoopSpec) -> Fit:
    """See ``_compact``."""
    import torch

    from depth_retrofit_ros.refinement.paper.network import PaperNet
    from depth_retrofit_ros.refinement.paper.refiner import load
    from depth_retrofit_ros.training.paper import shared_thresholds, train_paper

    backend = _backend(args, spec)
    models, more = _frozen(args, spec), _frozen(args, spec, [name for name in args.calibrate if name not in args.coarse])
    torch.manual_seed(spec.seed)
    if args.start is None:
        network = PaperNet(args.widths, args.blocks)
    else:
        network = load(args.start, spec.device, "auto", "float32").network

    def fit(train: list[Path], held_out: list[Path]) -> tuple[nn.Module, dict[str, float], int, object]:
        thresholds = shared_thresholds([*models, *more], held_out, spec)
        loop, figures = train_paper(train, held_out, models, spec, network, thresholds, backend)
        told = {name: list(t.alphas) for name, t in thresholds.items()}
        return loop.average, figures, loop.done, {"widths": network.widths, "blocks": network.blocks, "thresholds": told}

    return fit


def _backend(args: argparse.Namespace, spec: LoopSpec) -> SparseBackend:
    """Of the sparse convolutions. Raises ModelError."""
    import torch

    from depth_retrofit_ros.sparse.backends.registry import load_backend

    backend = load_backend(args.engine, spec.device, gradients=True)
    if spec.precision != torch.float32 and backend.name != "torch":
        raise ModelError(f"--precision {args.precision} needs --engine torch: {backend.name} computes in float32")
    return backend


def _prv2(args: argparse.Namespace, spec: LoopSpec) -> Fit:
    """See ``_compact``."""
    import torch

    from depth_retrofit_ros.refinement.prv2.network import PatchRefinerV2
    from depth_retrofit_ros.training.prv2 import PRETRAINING, pairs_of, train_prv2
    from depth_retrofit_ros.training.windows import feature_channels

    spec.group.places(pairs_of(spec.batch))
    models = _frozen(args, spec)
    torch.manual_seed(spec.seed)
    channels, guided = feature_channels(models), not args.unguided
    network = PatchRefinerV2(channels, guided)
    spec.check(network)

    def fit(train: list[Path], held_out: list[Path]) -> tuple[nn.Module, dict[str, float], int, object]:
        pretraining = 0.0 if args.no_pretraining else PRETRAINING
        loop, figures = train_prv2(train, held_out, models, spec, network, pretraining)
        return loop.average, figures, loop.done, {"channels": channels, "guided": guided}

    return fit


def _urgt(args: argparse.Namespace, spec: LoopSpec) -> Fit:
    """See ``_compact``."""
    import torch

    from depth_retrofit_ros.refinement.urgt.network import Urgt
    from depth_retrofit_ros.training.urgt import train_urgt

    models = _frozen(args, spec)
    torch.manual_seed(spec.seed)
    network = Urgt(not args.apart, args.local_positions)

    def fit(train: list[Path], held_out: list[Path]) -> tuple[nn.Module, dict[str, float], int, object]:
        loop, figures = train_urgt(train, held_out, models, spec, network)
        return loop.average, figures, loop.done, {"across": network.across, "local": network.local}

    return fit


def _sharp(args: argparse.Namespace, spec: LoopSpec) -> Fit:
    """See ``_compact``."""
    import torch

    from depth_retrofit_ros.refinement.sharp.network import SharpDepth
    from depth_retrofit_ros.training.sharp import Ablation, train_sharp

    if args.no_anchor and args.no_distillation:
        raise UsageError("--no-anchor and --no-distillation leave the student nothing to learn from: give one of them")
    if spec.steps < 2:
        raise UsageError("--steps 1 is too few for a teacher and a student: give 2 or more")
    models = _frozen(args, spec)
    torch.manual_seed(spec.seed)
    network = SharpDepth(args.uniform_noise).to(spec.device)

    def fit(train: list[Path], held_out: list[Path]) -> tuple[nn.Module, dict[str, float], int, object]:
        ablation = Ablation(not args.no_anchor, not args.no_distillation)
        student, figures, steps = train_sharp(train, held_out, models, spec, network, ablation)
        return student, figures, steps, {"uniform": network.uniform}

    return fit


def _frozen(args: argparse.Namespace, spec: LoopSpec, names: Sequence[str] | None = None) -> list[CoarseModel]:
    """The models whose answers are refined; names: other ones."""
    from depth_retrofit_ros.training.frozen import FrozenModels

    return FrozenModels(args.coarse if names is None else names, args.weights, str(spec.device))


@dataclass(frozen=True, slots=True)
class Target:
    """What can be trained. prepare: see ``_compact``; batch, rate: the defaults; refiner: of ``refinement.registry.REFINERS``."""

    prepare: Callable[[argparse.Namespace, LoopSpec], Fit]
    batch: int
    rate: float
    refiner: str | None = None


TARGETS = {
    "compact": Target(_compact, 16, 2e-3),
    "refiner": Target(_refiner, 4, 1.5e-3, "sparse"),
    "prv2": Target(_prv2, 4, 1e-3, "prv2"),
    "urgt": Target(_urgt, 2, 2e-3, "urgt"),
    "sharp": Target(_sharp, 4, 1e-3, "sharp"),
    "paper": Target(_paper, 4, 1.5e-3, "paper"),
}
