"""Training of the coarse model ``compact`` on coarse views of scenes with exact depth, and on photographs with a teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from depth_retrofit_ros.coarse.compact_net import (
    CANONICAL_F_PX,
    SPAN,
    CompactNet,
    bin_centers,
    expected_log_depth,
)
from depth_retrofit_ros.training.backbone import load_backbone
from depth_retrofit_ros.training.loop import At, Loop, LoopSpec
from depth_retrofit_ros.training.losses import (
    Losses,
    Term,
    gradient_loss,
    local_window_loss,
    mean_of,
    ratio,
    silog_loss,
    two_hot_cross_entropy,
)
from depth_retrofit_ros.training.pseudo_labels import label_photos
from depth_retrofit_ros.training.views import Batch, CoarseViews, Drawn, View, read_sample, rendered_view, resized, view_shape

HALF_SIZE_UNTIL = 0.7  # share of the training that runs at half size, four times as fast
ENCODER_RATE = 0.1  # learning rate of the pretrained encoder, relative to the decoder's
FROZEN_STAGES = 2  # of the encoder, and its stem: colours and edges are ImageNet's, and their gradients the costliest
TAUGHT_SHARE = 0.125  # of each batch
WEIGHTS = {"ce": 1.0, "silog": 0.1, "gradient": 0.5, "windows": 1.0, "scale": 0.3}  # of the losses of views with exact depth
TAUGHT_CELL = 4  # pixels of the answer to one cell of the comparison with a teacher, whose edges are soft


@dataclass(frozen=True, slots=True)
class CompactStart:
    """What a training begins with. network: on its device; pretrained: whether its encoder is; taught: views with a teacher's
    depth."""

    network: CompactNet
    pretrained: bool
    taught: Sequence[View]


def compact_losses(
    network: CompactNet, batch: Batch, step: int, generators: Sequence[torch.Generator], teach: bool = False
) -> Losses:
    """Views with exact depth: cross entropy over the relative depth bins everywhere (the sky is the last bin); of the expectation,
    off the sky: SILog per image, gradients, and gradients within local windows after the best scale and shift of each (sharp detail
    at any depth); L1 of the log median. The output has half the input's size: ``step`` modulo 4 says which pixel of each 2×2 block
    is its truth, so that over the steps no corner is preferred; the windows are drawn by each view's generator.

    Views with a teacher's depth, of which a step has some if ``teach``: L1 of relative log depth over cells of ``TAUGHT_CELL``
    pixels. Its scale is not learnt: on rooms before other cameras the teacher's is off by half and more.
    """
    row, column = divmod(step % 4, 2)
    logits, log_median = network(batch.images)
    log_true = batch.log_depth[:, row::2, column::2]
    exact = ~batch.taught
    drawn_by = [generator for generator, known in zip(generators, exact.tolist(), strict=True) if known]
    terms = _exact_losses(logits[exact], log_median[exact], log_true[exact], drawn_by)
    if not teach:
        return Losses(terms, WEIGHTS)
    taught = _taught_loss(expected_log_depth(logits[batch.taught]), log_true[batch.taught])
    return Losses(terms | {"taught": taught}, WEIGHTS | {"taught": 1.0})


def _exact_losses(
    logits: torch.Tensor, log_median: torch.Tensor, log_true: torch.Tensor, generators: Sequence[torch.Generator]
) -> dict[str, Term]:
    known = torch.isfinite(log_true)
    true_median = _median(log_true, known)
    relative = torch.where(known, log_true - true_median[:, None, None], SPAN)
    predicted = expected_log_depth(logits)
    entropy = two_hot_cross_entropy(logits, relative, bin_centers(logits.device), torch.ones_like(known))
    per_image = [silog_loss(p, t, k).alone() for p, t, k in zip(predicted, relative, known, strict=True)]
    return {
        "ce": entropy,
        "silog": mean_of(torch.stack(per_image) if per_image else predicted.new_zeros(0)),
        "gradient": gradient_loss(predicted, relative, known),
        "windows": local_window_loss(predicted, relative, known, generators),
        # A view of nothing but sky has no median.
        "scale": mean_of(torch.where(true_median.isfinite(), log_median.float() - true_median, 0.0).abs()),
    }


def _taught_loss(predicted: torch.Tensor, log_taught: torch.Tensor) -> Term:
    known = torch.isfinite(log_taught)
    error = predicted - log_taught
    error = error - _median(error, known)[:, None, None]
    cells = F.avg_pool2d(torch.where(known, error, 0.0)[:, None], TAUGHT_CELL).abs()
    return ratio(cells, F.avg_pool2d(known[:, None].float(), TAUGHT_CELL))


def _median(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Of each image's known values; NaN where there are none."""
    return torch.where(known, values, torch.nan).flatten(1).nanmedian(1).values


@torch.no_grad()
def validate_compact(network: nn.Module, files: Sequence[Path], device: torch.device) -> dict[str, float]:
    """Mean per-image AbsRel, δ₁ and AbsRel after median scaling over whole coarse views (no augmentation), sky left out."""
    rel, aligned, delta = [], [], []
    for path in files:
        view, depth, f_view = read_sample(path)
        h, w = view_shape(*view.shape[:2])
        image = torch.from_numpy(resized(view, (h, w))).permute(2, 0, 1)[None].float() / 255
        true = torch.from_numpy(cv2.resize(depth, (w // 2, h // 2), interpolation=cv2.INTER_NEAREST_EXACT)).to(device)
        logits, log_median = network(image.to(device))
        pred = (expected_log_depth(logits) + log_median)[0].exp() * (f_view * w / view.shape[1] / CANONICAL_F_PX)
        valid = torch.isfinite(true)
        p, t = pred[valid], true[valid]
        rel.append(float(((p - t).abs() / t).mean()))
        delta.append(float((torch.maximum(p / t, t / p) < 1.25).float().mean()))
        p = p * (t / p).median()
        aligned.append(float(((p - t).abs() / t).mean()))
    return {"abs_rel": float(np.mean(rel)), "abs_rel_median": float(np.mean(aligned)), "delta1": float(np.mean(delta))}


def prepare_compact(spec: LoopSpec, backbone: Path | None, photos: Path | None, teachers: Path | None) -> CompactStart:
    """backbone: pretrained checkpoint that the encoder starts from, or None for random weights; photos: folder of photographs for a
    teacher, or None; teachers: folder of the teachers' checkpoints. Raises WeightsError, ImageError, ModelError."""
    torch.manual_seed(spec.seed)
    network = CompactNet()
    if backbone is not None:
        load_backbone(network.encoder, backbone)
    network = network.to(spec.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    taught = [] if photos is None else label_photos(photos, teachers, spec.device)
    return CompactStart(network, backbone is not None, taught)


def train_compact(
    start: CompactStart, train: Sequence[Path], held_out: Sequence[Path], spec: LoopSpec
) -> tuple[Loop, dict[str, float]]:
    """train, held_out: files of pools. The finished loop (its ``average`` is the network to keep) and the validation figures."""
    network = start.network
    rendered = [rendered_view(path, phase) for phase, path in enumerate(train)]
    batches = CoarseViews(rendered, start.taught, TAUGHT_SHARE, spec.batch, spec.seed, spec.device, spec.group.places(spec.batch))

    def draw(step: int, progress: float) -> Sequence[Drawn]:
        return batches.draw(step, shrink=2 if progress < HALF_SIZE_UNTIL else 1)

    def learn(net: nn.Module, samples: Sequence[Drawn], at: At) -> Losses:
        assert isinstance(net, CompactNet)
        batch = batches.collated(samples)
        with spec.autocast():
            images = batch.images.contiguous(memory_format=torch.channels_last)
            seen = batch._replace(images=images)
            return compact_losses(net, seen, at.step, at.generators(spec.seed), batches.taught_count > 0)

    loop = Loop(network, spec, parameter_groups(network) if start.pretrained else None)
    figures = loop.run(draw, learn, lambda net: validate_compact(net, held_out, spec.device), every=500)
    return loop, figures


def parameter_groups(network: CompactNet) -> list[dict[str, Any]]:
    """For the optimiser: the encoder's later stages at a lower rate, its first ones not at all."""
    encoder = network.encoder
    for part in (encoder.stem, *encoder.stages[:FROZEN_STAGES]):
        part.requires_grad_(False)
    pretrained = {id(p) for p in encoder.parameters()}
    return [
        {"params": [p for p in network.parameters() if id(p) not in pretrained]},
        {"params": [p for p in encoder.parameters() if p.requires_grad], "share": ENCODER_RATE},
    ]
