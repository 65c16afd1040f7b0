"""Training of SharpDepth: its losses on cases made by hand, and a student that asks nothing of the truth."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from depth_retrofit_ros.refinement.sharp.network import SharpDepth
from depth_retrofit_ros.refinement.tiles.surfaces import COUNT, Choice, Nearby, nearby
from depth_retrofit_ros.training.loop import Loop, LoopSpec
from depth_retrofit_ros.training.sharp import (
    AVERAGE,
    AVERAGE_EVERY,
    KEPT,
    UNIT,
    Ablation,
    Distillation,
    decay_at,
    distillation_loss,
    reconstruction_loss,
    seen_of,
    student_losses,
    targets_of,
    teacher_losses,
    train_sharp,
)
from depth_retrofit_ros.training.windows import Window, cut_window
from test.training.samples import sample, view_of, write_samples

CPU = torch.device("cpu")


class Small(SharpDepth):
    """Of tiles that the written samples hold."""

    side = 64


def windows() -> list[Window]:
    data = sample()
    view = view_of(data, factor=1.7)
    selected = torch.zeros(96, 96, dtype=torch.bool)
    selected[20:60] = True
    places = ((0, 11, 64, 64), (16, 30, 64, 64))
    return [cut_window(data, index, view, view.doubt, selected, place) for index, place in enumerate(places)]


def network() -> Small:
    torch.manual_seed(0)
    made = Small()
    torch.nn.init.normal_(made.unet.last.weight, std=0.05)
    return made


def generators(count: int = 2) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(5 + index) for index in range(count)]


def test_distillation_pulls_by_the_difference() -> None:
    answer = torch.tensor([[[0.0, UNIT]]], requires_grad=True)
    loss = distillation_loss(answer, torch.tensor([[[0.0, 0.0]]])).alone()
    assert loss.item() == pytest.approx(0.25 * (1 - KEPT**2))
    loss.backward()
    assert answer.grad is not None and answer.grad.flatten().tolist() == pytest.approx([0.0, 0.5 * (1 - KEPT**2) / UNIT])


def test_reconstruction_counts_where_the_two_disagree() -> None:
    answer, coarse = torch.tensor([[[1.0, 3.0, 9.0]]]), torch.zeros(1, 1, 3)
    assert float(reconstruction_loss(answer, coarse, torch.tensor([[[1.0, 0.5, 0.0]]])).alone()) == pytest.approx((1 + 1.5) / 1.5)
    assert float(reconstruction_loss(answer, coarse, torch.zeros(1, 1, 3)).alone()) == 0


def test_the_teacher_is_told_what_is_wanted() -> None:
    """In ln depth, though it answers in normalised depth."""

    class Told(Small):
        share = 1.0

        def first(self, colors: torch.Tensor, noise: torch.Tensor, coarse: torch.Tensor, near: Nearby) -> Choice:
            told = (self.share * target.wanted / seen.half)[:, None].expand(-1, 1 + COUNT, -1, -1)
            return Choice(told, torch.zeros_like(told) - math.log(1 + COUNT))

    seen, target = seen_of(network(), windows()), targets_of(network(), windows())
    told = Told()
    right = teacher_losses(told, seen, target, generators())
    assert all(float(right[name]) < 1e-4 for name in ("robust", "selected", "gradient", "error"))
    told.share = 0.0
    nothing = teacher_losses(told, seen, target, generators())
    assert float(nothing["error"]) == pytest.approx(float(nothing["coarse"])) and float(nothing["coarse"]) > 0.04


def test_a_teacher_learns_the_choice() -> None:
    """All weights of the last layer are told by a loss on the choice."""
    net = network()
    teacher_losses(net, seen_of(net, windows()), targets_of(net, windows()), generators())["total"].backward()
    gradient = net.unet.last.weight.grad
    assert gradient is not None and bool(gradient.flatten(1).any(1).all())


def test_surfaces_are_in_the_scale_of_the_coarse_depth() -> None:
    (first, _), net = windows(), network()
    seen = seen_of(net, [first])
    tile = first.tiles(net, torch.zeros(1, 2, dtype=torch.int64))
    plain = nearby(tile.under(net.side)[:, 1:], tile.level, tile.colors)
    torch.testing.assert_close(seen.near.offsets * seen.half[:, None], plain.offsets, rtol=1e-4, atol=1e-5)
    assert torch.equal(seen.near.unlike, plain.unlike)


def test_the_student_asks_nothing_of_the_truth() -> None:
    nets, known = Distillation(network()), windows()
    nan = torch.full_like(known[0].target, torch.nan)
    poisoned = [
        replace(window, target=nan, truth=nan, view=replace(window.view, truth=window.view.truth * torch.nan)) for window in known
    ]
    losses = [student_losses(nets, seen_of(nets.student, drawn), generators()) for drawn in (known, poisoned)]
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])
    assert losses[0]["total"].item() > 0


def test_the_teacher_and_the_average_stay_as_they_are() -> None:
    nets = Distillation(network())
    student_losses(nets, seen_of(nets.student, windows()), generators())["total"].backward()
    assert all(parameter.grad is None for net in (nets.teacher, nets.average) for parameter in net.parameters())
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in nets.student.parameters())


def test_the_average_follows_the_student() -> None:
    nets = Distillation(network())
    with torch.no_grad():
        nets.student.unet.first.weight += 1
    before = nets.average.unet.first.weight.clone()
    nets.follow(0.9)
    torch.testing.assert_close(nets.average.unet.first.weight, before + 0.1, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [500, 3_000, 100_000])
def test_the_average_leaves_the_teacher_behind_however_short_the_run(steps: int) -> None:
    """A tenth of the run later at most 1/e of what was is left in it, at the end hardly anything; but for the paper's decay, which
    is the slowest."""
    left, at = 1.0, []
    for index in range(AVERAGE_EVERY, steps, AVERAGE_EVERY):
        decay = decay_at(index, index / steps)
        assert decay <= AVERAGE
        left *= decay
        at.append(left)
    assert at[len(at) // 10] < 0.38 and left < 1e-4
    assert decay_at(40, 0.2) < decay_at(40, 0.1), "by time the same number of steps may be more of the run"


@pytest.mark.parametrize(
    ("ablation", "left"), [(Ablation(anchor=False), "distillation"), (Ablation(distillation=False), "reconstruction")]
)
def test_an_ablation_leaves_one_part_out(ablation: Ablation, left: str) -> None:
    nets = Distillation(network())
    seen = seen_of(nets.student, windows())
    all_of, part = student_losses(nets, seen, generators()), student_losses(nets, seen, generators(), ablation)
    assert torch.equal(all_of[left], part[left])
    assert float(part["total"]) == pytest.approx(float(part[left]) * (1.0 if left == "distillation" else 0.3))


def test_only_the_gate_decides_what_the_student_sees() -> None:
    """Where the averaged student agrees with the coarse depth everywhere, gated samples are the coarse depth itself."""

    class Agrees(Small):
        def apart(self, colors: torch.Tensor, noise: torch.Tensor, coarse: torch.Tensor, near: Nearby) -> torch.Tensor:
            return torch.zeros_like(coarse)

    given = list[torch.Tensor]()

    class Noted(Agrees):
        def denoised(
            self, colors: torch.Tensor, noise: torch.Tensor, coarse: torch.Tensor, gate: torch.Tensor, near: Nearby
        ) -> Choice:
            given.append(gate)
            return super().denoised(colors, noise, coarse, gate, near)

    nets = Distillation(Noted())
    seen = seen_of(nets.student, windows()[:1])
    losses = [student_losses(nets, seen, [torch.Generator().manual_seed(seed)]) for seed in range(8)]
    assert all(float(loss["reconstruction"]) == 0 for loss in losses)
    gates = given[::2]  # those between are of the teacher, which has noise alone
    assert {float(gate.unique()) for gate in gates} == {0.0, 1.0} and all(bool((gate == 1).all()) for gate in given[1::2])


def test_both_stages_and_resuming_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depth_retrofit_ros.training.sharp.VALIDATION_BATCHES", 1)
    files = write_samples(tmp_path, 2)
    spec = LoopSpec(2, 1, 1e-3, 3, tmp_path / "out", CPU)
    student, figures, steps = train_sharp(files, files, [], spec, Small())
    assert steps == 2 and {"val_left", "val_first_left"} <= figures.keys()
    assert (tmp_path / "out" / "teacher" / "state.pt").exists() and (tmp_path / "out" / "state.pt").exists()
    resumed, _, more = train_sharp(files, files, [], replace(spec, steps=4, resume=True), Small())
    assert more == 3  # the teacher stays what the student was begun as
    assert any(not torch.equal(a, b) for a, b in zip(student.parameters(), resumed.parameters(), strict=True))


@pytest.mark.parametrize("lost", [False, True])
def test_a_student_stopped_before_it_is_stored_keeps_its_teacher(
    lost: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And has all the minutes; lost: its state too, so that the teacher alone tells that it is finished."""
    monkeypatch.setattr("depth_retrofit_ros.training.sharp.VALIDATION_BATCHES", 1)
    files = write_samples(tmp_path, 2)
    spec = LoopSpec(2_000, 1, 1e-3, 3, tmp_path / "out", CPU, minutes=0.02)
    minutes, run = [], Loop.run

    def stopped(loop: Loop, *arguments: Any, **named: Any) -> dict[str, float]:
        minutes.append(loop.spec.minutes)
        if isinstance(loop.network, Distillation):
            raise KeyboardInterrupt
        return run(loop, *arguments, **named)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Loop, "run", stopped)
        train_sharp(files, files, [], spec, Small())
    assert minutes == [0.01, 0.01]
    teacher, student = tmp_path / "out" / "teacher" / "state.pt", tmp_path / "out" / "state.pt"
    written = teacher.stat().st_mtime_ns
    if lost:
        student.unlink()
    minutes.clear()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Loop, "run", stopped)
        train_sharp(files, files, [], replace(spec, resume=True), Small())
    assert minutes == [0.02] and teacher.stat().st_mtime_ns == written
    stored, taught = (torch.load(path, weights_only=True) for path in (student, teacher))
    assert all(torch.equal(stored["network"][f"teacher.{name}"], value) for name, value in taught["average"].items())
