"""Training of the refiner on the crops of ``crops``: its losses, its validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.refinement.pixels.candidates import COUNT
from depth_retrofit_ros.refinement.pixels.features import PixelFeatures
from depth_retrofit_ros.refinement.pixels.network import RefinerNet
from depth_retrofit_ros.sparse.backends.registry import SparseBackend, load_backend
from depth_retrofit_ros.sparse.layers import UpConv2d
from depth_retrofit_ros.sparse.pixel_batch import stack_masks
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.training.crops import Crops, CropSample
from depth_retrofit_ros.training.draws import remembered
from depth_retrofit_ros.training.loop import At, Loop, LoopSpec
from depth_retrofit_ros.training.losses import Losses, choice_cross_entropy, mean_of, sum_of
from depth_retrofit_ros.training.validation import VALIDATION_SEED, validated

WEIGHTS = {"expected": 1.0, "relative": 1.0, "gradient": 1.0, "choice": 0.1}  # of the losses in what is minimised
ORTHOGONAL = 1.5  # rate of the layers that move by orthogonalised momentum, as a multiple of that of the others
STEEPEST = 1.0  # ln ratio up to which the relative error counts in full
VALIDATION_BATCHES, VALIDATION_BATCH = 12, 4

RefinerLosses = Callable[[RefinerNet, Sequence[CropSample]], Losses]
"""As ``refiner_losses``; ablations minimise others."""


def refiner_losses(network: RefinerNet, samples: Sequence[CropSample], backend: SparseBackend | None = None) -> Losses:
    """Relative error that is expected of the choice and that of the fused value (equal weights, as SparseRefine has them), L1 of
    the gradients of ln depth between neighbouring active pixels, and cross entropy of the choice against the candidates nearest to
    the truth. Relative errors keep a doubtful pixel on the near side: too far weighs more than too near. That the error is expected
    of the choice, not of its mean, keeps edges sharp: a mean of two surfaces is neither. That of the mean, ``refined``, and L1 of
    ln depth of the fused value, ``fused``, are told for comparison.

    backend: of the network's convolutions, one with gradients; None: ``torch``."""
    device = network.unet.head.weight.device
    batch = stack_masks(torch.stack([s.mask for s in samples]).to(device), network.levels)
    pyramid = (backend or load_backend("torch")).build_pyramid(batch.pixels, network.levels)
    f = PixelFeatures(torch.cat([s.features.rows for s in samples]).to(device))
    target = torch.cat([s.target for s in samples]).to(device).clamp(-2, 2)
    refined = network(f, pyramid)
    _, fused = network.fusion(f.level, refined.change, f.entropy, refined.entropy)
    assert refined.log_choice is not None  # training is not inference
    choice = refined.log_choice.exp()
    residual = refined.change - (choice * f.candidates).sum(1)
    log_fused, log_target = f.level + fused, f.level + target
    steps = [
        ((log_fused[here] - log_fused[there]) - (log_target[here] - log_target[there])).abs()
        for here, there in neighboring_rows(batch.pixels)
    ]
    matters = (_spread(f.candidates) / 0.1).clamp_max(1)
    terms = {
        "expected": mean_of((choice * relative_error(f.candidates + (residual - target)[:, None])).sum(1)),
        "refined": mean_of(relative_error(refined.change - target)),
        "fused": mean_of((fused - target).abs()),
        "relative": mean_of(relative_error(fused - target)),
        "gradient": sum_of([mean_of(step) for step in steps]),
        "choice": choice_cross_entropy(refined.log_choice, (f.candidates - target[:, None]).abs(), matters),
        "coarse": mean_of(target.abs()),
    }
    return Losses(terms, WEIGHTS)


def neighboring_rows(pixels: PixelSet) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
    """Rows, ``int64``, of all pairs of active pixels side by side (left, right) and one above the other (upper, lower)."""
    image = pixels.index_image
    pairs = []
    for first, second in ((image[:, :-1], image[:, 1:]), (image[:-1], image[1:])):
        both = ((first >= 0) & (second >= 0)).flatten().nonzero().squeeze(1)
        pairs.append((first.flatten()[both].long(), second.flatten()[both].long()))
    return tuple(pairs)


@torch.no_grad()
def _spread(candidates: torch.Tensor) -> torch.Tensor:
    """Standard deviation of each row of ``[K, COUNT]``. By its moments, which lose nothing where the first value is 0: ``std`` is
    several times as slow on rows this short, and a matrix product would be rounded as ``LoopSpec.precision`` says."""
    mean, square = candidates.mean(1), (candidates * candidates).mean(1)
    return ((square - mean * mean).clamp_min(0) * (COUNT / (COUNT - 1))).sqrt()


def relative_error(log_error: torch.Tensor) -> torch.Tensor:
    """|d − t| / t of ln d − ln t, going on as a straight line beyond ``STEEPEST``."""
    bounded = log_error.clamp_max(STEEPEST)
    return (bounded.exp() * (1 + log_error - bounded) - 1).abs()


def validate_refiner(
    network: nn.Module, crops: Callable[[int], Sequence[CropSample]], batches: int, losses: RefinerLosses = refiner_losses
) -> dict[str, float]:
    """Mean losses over a fixed set of held-out crops, and the share of the coarse error that is left."""
    assert isinstance(network, RefinerNet)
    return validated(lambda index: losses(network, crops(index)), batches, "fused")


def parameter_groups(network: RefinerNet) -> list[dict[str, Any]]:
    """All of its parameters as ``Muon`` takes them: matrices and convolutions by orthogonalised momentum, all but those of the last
    layer and of the gate."""
    ends = {id(p) for module in (network.unet.head, network.fusion) for p in module.parameters()}
    upwards = {id(module.weight) for module in network.modules() if isinstance(module, UpConv2d)}
    matrices, transposed, others = list[nn.Parameter](), list[nn.Parameter](), list[nn.Parameter]()
    for parameter in network.parameters():
        if parameter.dim() < 2 or id(parameter) in ends:
            others.append(parameter)
        else:
            (transposed if id(parameter) in upwards else matrices).append(parameter)
    orthogonal = {"orthogonal": True, "share": ORTHOGONAL}
    return [
        {"params": matrices, **orthogonal},
        {"params": transposed, "transposed": True, **orthogonal},
        {"params": others},
    ]


def train_refiner(
    train: Sequence[Path],
    held_out: Sequence[Path],
    models: Sequence[CoarseModel],
    spec: LoopSpec,
    network: RefinerNet,
    losses: RefinerLosses = refiner_losses,
) -> tuple[Loop, dict[str, float]]:
    """The finished loop (its ``average`` is the network to keep) and the validation figures, of crops that depend on no seed."""
    network = network.to(spec.device)
    crops = Crops(train, models, spec.batch, spec.seed, echoed=True, workers=spec.workers, places=spec.group.places(spec.batch))
    held = Crops(held_out, models, VALIDATION_BATCH, VALIDATION_SEED, simulated=0.5, workers=spec.workers)
    fixed = remembered(held, VALIDATION_BATCHES)

    def learn(net: nn.Module, samples: Sequence[CropSample], at: At) -> Losses:
        assert isinstance(net, RefinerNet)
        with spec.autocast():
            return losses(net, samples)

    loop = Loop(network, spec, parameter_groups(network))
    check = partial(validate_refiner, crops=fixed, batches=VALIDATION_BATCHES, losses=losses)
    figures = loop.run(lambda step, progress: crops(step), learn, check, every=250)
    return loop, figures
