"""Training of ``compact``: losses by definition, that hold with nothing but sky, honest validation, a run from files to figures."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from depth_retrofit_ros.coarse.compact_net import CANONICAL_F_PX, SPAN, CompactNet, bin_centers, expected_log_depth
from depth_retrofit_ros.training.compact import (
    ENCODER_RATE,
    compact_losses,
    parameter_groups,
    prepare_compact,
    train_compact,
    validate_compact,
)
from depth_retrofit_ros.training.loop import LoopSpec
from depth_retrofit_ros.training.losses import gradient_loss, local_window_loss, silog_loss, two_hot_cross_entropy
from depth_retrofit_ros.training.views import Batch
from test.training.written_views import F_LOW, step_depth, write_view

CPU = torch.device("cpu")


def exact_batch(sky_only: bool = False) -> Batch:
    """Two images and their exact log depth, with some sky; sky_only: the second is nothing else."""
    log_true = torch.randn(2, 32, 48).cumsum(2) / 10 + 1
    log_true[:, :5] = math.inf
    if sky_only:
        log_true[1] = math.inf
    return Batch(torch.rand(2, 3, 32, 48), log_true, torch.zeros(2, dtype=torch.bool))


def windows(count: int) -> list[torch.Generator]:
    """That draw those of each image."""
    return [torch.Generator().manual_seed(image) for image in range(count)]


@pytest.mark.parametrize("phase", range(4))
def test_loss_by_definition(phase: int) -> None:
    network = CompactNet().eval()
    batch = exact_batch()
    with torch.no_grad():
        losses = compact_losses(network, batch, phase, windows(2))
        logits, log_median = network(batch.images)
    truth = batch.log_depth[:, phase // 2 :: 2, phase % 2 :: 2]
    known = torch.isfinite(truth)
    median = torch.stack([t[k].median() for t, k in zip(truth, known, strict=True)])
    relative = torch.where(known, truth - median[:, None, None], SPAN)
    predicted = expected_log_depth(logits)
    expected = {
        "ce": two_hot_cross_entropy(logits, relative, bin_centers(), torch.ones_like(known)).alone().float(),
        "silog": torch.stack([silog_loss(p, t, k).alone() for p, t, k in zip(predicted, relative, known, strict=True)])
        .mean()
        .float(),
        "gradient": gradient_loss(predicted, relative, known).alone().float(),
        "windows": local_window_loss(predicted, relative, known, windows(2)).alone().float(),
        "scale": (log_median - median).abs().mean(),
    }
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
    total = expected["ce"] + 0.1 * expected["silog"] + 0.5 * expected["gradient"] + expected["windows"] + 0.3 * expected["scale"]
    torch.testing.assert_close(losses["total"], total)


def test_a_view_of_nothing_but_sky_has_a_loss_without_a_scale() -> None:
    network = CompactNet()
    batch = exact_batch(sky_only=True)
    losses = compact_losses(network, batch, 0, windows(2))
    losses["total"].backward()
    assert all(math.isfinite(float(value.detach())) for value in losses.values())
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in network.parameters())
    only_sky = batch._replace(log_depth=torch.full_like(batch.log_depth, math.inf))
    assert float(compact_losses(network, only_sky, 0, windows(2))["scale"].detach()) == 0


def taught_batch(log_taught: torch.Tensor) -> Batch:
    """A view with exact depth, and one with a teacher's [h, w]."""
    exact = exact_batch()
    return Batch(exact.images, torch.stack([exact.log_depth[0], log_taught]), torch.tensor([False, True]))


def taught_batch_of(batch: Batch, log_taught: torch.Tensor) -> Batch:
    """The same images with another lesson."""
    return batch._replace(log_depth=torch.stack([batch.log_depth[0], log_taught]))


def test_a_teacher_is_believed_up_to_a_factor() -> None:
    """Its depth times anything is the same lesson, and the exact view's losses do not know of it."""
    network = CompactNet().eval()
    log_taught = torch.randn(32, 48).cumsum(1) / 10
    batch = taught_batch(log_taught)
    with torch.no_grad():
        near = compact_losses(network, batch, 0, windows(2), True)
        far = compact_losses(network, taught_batch_of(batch, log_taught + 1.7), 0, windows(2), True)
        alone = compact_losses(network, Batch(*(value[:1] for value in batch)), 0, windows(1))
    assert float(near["taught"]) > 0.01
    for name in near:
        torch.testing.assert_close(near[name], far[name])
    for name in ("ce", "silog", "gradient", "windows", "scale"):
        torch.testing.assert_close(near[name], alone[name])
    total = near["ce"] + 0.1 * near["silog"] + 0.5 * near["gradient"] + near["windows"] + 0.3 * near["scale"] + near["taught"]
    torch.testing.assert_close(near["total"], total)


def test_a_perfect_pupil_has_nothing_to_learn_from_its_teacher() -> None:
    network = CompactNet().eval()
    batch = taught_batch(torch.zeros(32, 48))
    with torch.no_grad():
        logits, _ = network(batch.images)
        answer = expected_log_depth(logits)[1].repeat_interleave(2, 0).repeat_interleave(2, 1)
        assert float(compact_losses(network, taught_batch_of(batch, answer + 0.3), 0, windows(2), True)["taught"]) < 1e-6
        halves = answer.clone()
        halves[:, :24] += 0.2
        halves[:, 24:] -= 0.2
        assert float(compact_losses(network, taught_batch_of(batch, halves), 0, windows(2), True)["taught"]) == pytest.approx(
            0.2, rel=0.05
        )


def test_a_teacher_who_knows_nothing_teaches_nothing() -> None:
    network = CompactNet()
    losses = compact_losses(network, taught_batch(torch.full((32, 48), math.nan)), 0, windows(2), True)
    assert float(losses["taught"].detach()) == 0
    losses["total"].backward()
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in network.parameters())


def test_of_two_parts_one_may_have_lessons_of_a_teacher_alone() -> None:
    """And their gradients are those of the whole."""
    network = CompactNet().eval()
    batch = taught_batch(torch.randn(32, 48).cumsum(1) / 10)

    def gradients() -> list[torch.Tensor]:
        found = [parameter.grad for parameter in network.parameters()]
        network.zero_grad()
        return [gradient for gradient in found if gradient is not None]

    whole = compact_losses(network, batch, 0, windows(2), True)
    whole["total"].backward()
    wanted = gradients()
    parts = [Batch(*(value[i : i + 1] for value in batch)) for i in range(2)]
    losses = [compact_losses(network, part, 0, windows(2)[i : i + 1], True) for i, part in enumerate(parts)]
    sums = losses[0].sums + losses[1].sums
    for part in losses:
        values = part.among(sums)
        for name, value in values.items():
            torch.testing.assert_close(value, whole[name], rtol=1e-4, atol=1e-6)
        values["total"].backward()
    for got, gradient in zip(gradients(), wanted, strict=True):
        assert float((got - gradient).norm()) <= 1e-3 * float(gradient.norm()) + 1e-6


def test_the_encoder_learns_slowly_and_its_first_stages_not_at_all() -> None:
    network = CompactNet()
    ours, pretrained = parameter_groups(network)
    assert pretrained["share"] == ENCODER_RATE
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen and all(name.startswith(("encoder.stem.", "encoder.stages.0.", "encoder.stages.1.")) for name in frozen)
    listed = [id(p) for p in (*ours["params"], *pretrained["params"])]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(p) for p in network.parameters() if p.requires_grad}
    assert {id(p) for p in pretrained["params"]} <= {id(p) for p in network.encoder.parameters()}


class Oracle(nn.Module):
    """Answers with logits whose expectation is a given log depth map (about its median), times a factor."""

    def __init__(self, log_canonical: torch.Tensor, factor: float) -> None:
        super().__init__()
        self.log_canonical, self.factor = log_canonical, factor

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As CompactNet."""
        assert image.shape[2:] == (2 * self.log_canonical.shape[0], 2 * self.log_canonical.shape[1])
        centers = bin_centers()
        median = self.log_canonical.median()
        position = (self.log_canonical - median + SPAN) / (centers[1] - centers[0])
        low = position.floor().long().clamp(0, len(centers) - 2)
        share = position - low
        p = torch.full((len(centers), *low.shape), 1e-12)
        p.scatter_(0, low[None], (1 - share)[None]).scatter_(0, low[None] + 1, share[None])
        return p.clamp_min(1e-12).log()[None], (median + math.log(self.factor))[None]


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_validation_of_an_oracle(tmp_path: Path, factor: float) -> None:
    """Exact up to a factor: that factor is the error, and median scaling removes it."""
    depth = np.repeat(np.linspace(3, 6, 256)[None], 144, 0)
    depth[:20] = np.inf
    file = write_view(tmp_path / "a.npz", depth)
    half = cv2.resize(depth.astype(np.float32), (128, 72), interpolation=cv2.INTER_NEAREST_EXACT)
    known = torch.from_numpy(np.where(np.isfinite(half), half, 6.0))
    canonical = (known / (F_LOW / CANONICAL_F_PX)).log().float()
    figures = validate_compact(Oracle(canonical, factor), [file, file], CPU)
    assert figures["abs_rel"] == pytest.approx(factor - 1, abs=1e-4)
    assert figures["abs_rel_median"] == pytest.approx(0.0, abs=1e-4)
    assert figures["delta1"] == (1.0 if factor < 1.25 else 0.0)


def test_training_runs_from_files_to_figures(tmp_path: Path) -> None:
    files = [write_view(tmp_path / f"{i}.npz", step_depth(40 + 60 * i)) for i in range(3)]
    spec = LoopSpec(4, 2, 1e-3, 0, tmp_path / "out", CPU)
    loop, figures = train_compact(prepare_compact(spec, None, None, None), files, files[:1], spec)
    assert isinstance(loop.average, CompactNet) and loop.done == 4
    assert set(figures) == {"abs_rel", "abs_rel_median", "delta1"} and all(math.isfinite(v) for v in figures.values())
    assert (tmp_path / "out" / "state.pt").is_file() and (tmp_path / "out" / "log.csv").is_file()
