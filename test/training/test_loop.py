"""Training goes on after a break as if there had been none, and its bookkeeping adds up."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from depth_retrofit_ros.errors import OutputError, WeightsError
from depth_retrofit_ros.training.loop import LOG_EVERY, At, Loop, LoopSpec
from depth_retrofit_ros.training.losses import Losses, mean_of

Step = Callable[[nn.Module, int, float], Losses]


def make_network(seed: int = 0) -> nn.Module:
    """With batch statistics, whose running averages and integer counter must survive too."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))


def step(network: nn.Module, index: int, progress: float) -> Losses:
    """Regression of a fixed function; the data depend on the step alone."""
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(index))
    error = (network(x)[:, 0] - x.sum(1)).square()
    return Losses({"error": mean_of(error), "double": mean_of(2 * error.detach())}, {"error": 1.0})


def run(loop: Loop, step: Step, validate: Callable[[nn.Module], dict[str, float]], every: int) -> dict[str, float]:
    """A training whose steps make their data themselves."""
    return loop.run(
        lambda index, progress: [index], lambda network, samples, at: step(network, at.step, at.progress), validate, every
    )


def validate(network: nn.Module) -> dict[str, float]:
    """On data of its own."""
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(10_000))
    with torch.no_grad():
        return {"val": float((network(x)[:, 0] - x.sum(1)).square().mean())}


def spec(out: Path, steps: int = 40, resume: bool = False, minutes: float = 0.0) -> LoopSpec:
    """A short training on the CPU."""
    return LoopSpec(steps, 16, 1e-2, 0, out, torch.device("cpu"), minutes, resume)


def stop_at(limit: int) -> Step:
    """``step``, interrupted by the user before step ``limit``."""

    def limited(network: nn.Module, index: int, progress: float) -> Losses:
        if index == limit:
            raise KeyboardInterrupt
        return step(network, index, progress)

    return limited


def log_rows(out: Path) -> list[tuple[int, str, float]]:
    """Step, name and value of every line of the log."""
    with (out / "log.csv").open(newline="") as file:
        return [(int(row[0]), row[2], float(row[3])) for row in csv.reader(file)]


def assert_same(a: nn.Module, b: nn.Module) -> None:
    """Bit for bit."""
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


def test_resuming_is_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole = Loop(make_network(), spec(tmp_path / "whole"))
    figures = run(whole, step, validate, every=10)
    broken = Loop(make_network(), spec(tmp_path / "broken"))
    with pytest.raises(KeyboardInterrupt):
        run(broken, stop_at(25), validate, every=10)
    resumed = Loop(make_network(seed=99), spec(tmp_path / "broken", resume=True))
    assert resumed.done == 20
    assert run(resumed, step, validate, every=10) == figures
    assert_same(resumed.network, whole.network)
    assert_same(resumed.average, whole.average)


def test_without_resume_it_starts_afresh(tmp_path: Path) -> None:
    run(Loop(make_network(), spec(tmp_path)), step, validate, every=10)
    assert Loop(make_network(), spec(tmp_path)).done == 0
    assert Loop(make_network(), spec(tmp_path / "nothing there", resume=True)).done == 0


def test_it_learns_and_the_average_is_what_is_validated(tmp_path: Path) -> None:
    loop = Loop(make_network(), spec(tmp_path, steps=300))
    before = validate(loop.average.eval())["val"]
    figures = run(loop, step, validate, every=100)
    assert figures == validate(loop.average.eval())
    assert figures["val"] < 0.3 * before
    assert not any(p.requires_grad for p in loop.average.parameters())


def test_average_is_exponential_with_a_quick_start(tmp_path: Path) -> None:
    """a ← d·a + (1 − d)·w with d = n / (n + 10) up to 0.998, of the weights and of the batch statistics."""
    history: list[list[torch.Tensor]] = []

    def recording(network: nn.Module, index: int, progress: float) -> Losses:
        history.append([v.clone() for v in network.state_dict().values()])
        return step(network, index, progress)

    loop = Loop(make_network(), spec(tmp_path, steps=12))
    expected = [v.double() for v in loop.average.state_dict().values()]
    run(loop, recording, validate, every=100)
    history.append([v.clone() for v in loop.network.state_dict().values()])
    for n, values in enumerate(history[1:], start=1):
        decay = n / (n + 10)
        expected = [decay * e + (1 - decay) * v.double() for e, v in zip(expected, values, strict=True)]
    for got, wanted, last in zip(loop.average.state_dict().values(), expected, history[-1], strict=True):
        torch.testing.assert_close(got.double(), wanted if got.is_floating_point() else last.double(), rtol=1e-5, atol=1e-6)


def test_learning_rate_warms_up_and_falls_to_zero(tmp_path: Path) -> None:
    rates = []
    loop = Loop(make_network(), spec(tmp_path, steps=200))

    def recording(network: nn.Module, index: int, progress: float) -> Losses:
        rates.append(loop.optimizer.param_groups[0]["lr"])
        assert progress == index / 200
        return step(network, index, progress)

    run(loop, recording, validate, every=1000)
    expected = [1e-2 * min(1, i / 4 + 1e-3) * 0.5 * (1 + math.cos(math.pi * i / 200)) for i in range(200)]
    assert rates == pytest.approx(expected)
    assert max(rates) > 0.99e-2 and rates[-1] < 1e-5


def test_log_has_means_since_the_last_line_even_after_a_break(tmp_path: Path) -> None:
    seen: list[float] = []

    def recording(network: nn.Module, index: int, progress: float) -> Losses:
        losses = step(network, index, progress)
        seen.append(float(losses["total"].detach()))
        return losses

    run(Loop(make_network(), spec(tmp_path, steps=30)), recording, validate, every=30)
    run(Loop(make_network(), spec(tmp_path, steps=LOG_EVERY + 5, resume=True)), recording, validate, every=1000)
    rows = {(n, name): value for n, name, value in log_rows(tmp_path)}
    mean = sum(seen[30:LOG_EVERY]) / (LOG_EVERY - 30)
    assert rows[LOG_EVERY, "total"] == pytest.approx(mean, abs=2e-6)
    assert rows[LOG_EVERY, "double"] == pytest.approx(2 * mean, abs=2e-6)
    assert {(30, "val"), (LOG_EVERY + 5, "val")} <= set(rows)


def test_time_limit_ends_the_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock takes a second: the schedule of 0.5 minutes is over long before the steps are."""
    clock = iter(range(10_000))
    monkeypatch.setattr("depth_retrofit_ros.training.loop.time.monotonic", lambda: float(next(clock)))
    progress_seen: list[float] = []

    def recording(network: nn.Module, index: int, progress: float) -> Losses:
        progress_seen.append(progress)
        return step(network, index, progress)

    loop = Loop(make_network(), spec(tmp_path, steps=100_000, minutes=0.5))
    run(loop, recording, validate, every=1000)
    assert 10 < loop.done < 40
    assert progress_seen == sorted(progress_seen) and progress_seen[-1] > 0.9


def test_a_schedule_by_time_goes_on_from_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped at about two thirds of its minute, the rest takes what it is given, and no learning rate comes twice."""
    clock = iter(range(100_000))
    monkeypatch.setattr("depth_retrofit_ros.training.loop.time.monotonic", lambda: float(next(clock)))
    progress_seen: list[float] = []

    def recording(stop: int) -> Step:
        def recorded(network: nn.Module, index: int, progress: float) -> Losses:
            progress_seen.append(progress)
            return stop_at(stop)(network, index, progress)

        return recorded

    first = Loop(make_network(), spec(tmp_path, steps=100_000, minutes=1))
    with pytest.raises(KeyboardInterrupt):
        run(first, recording(35), validate, every=30)
    assert 0.4 < progress_seen[-1] < 0.9
    again = Loop(make_network(), spec(tmp_path, steps=100_000, minutes=1, resume=True))
    assert again.done == 30 and 0.4 < again.progress <= progress_seen[-1]
    del progress_seen[30:]
    run(again, recording(-1), validate, every=1000)
    assert progress_seen == sorted(progress_seen) and progress_seen[-1] > 0.9 and again.finished
    over = Loop(make_network(), spec(tmp_path, steps=100_000, minutes=1, resume=True))
    run(over, recording(over.done), validate, every=1000)
    assert over.done == again.done, "a schedule that time has ended is over"
    without = Loop(make_network(), spec(tmp_path, steps=again.done + 10, resume=True))
    assert without.progress == again.done / (again.done + 10), "other steps are another schedule"


def test_steps_alone_end_what_time_began(tmp_path: Path) -> None:
    """Half of the schedule was over by time after 10 of 40 steps: the 30 left take it from half to the end."""
    loop = Loop(make_network(), spec(tmp_path))
    loop.done, loop.progress = 10, 0.5
    loop.save()
    progress_seen: list[float] = []

    def recording(network: nn.Module, index: int, progress: float) -> Losses:
        progress_seen.append(progress)
        return step(network, index, progress)

    run(Loop(make_network(), spec(tmp_path, resume=True)), recording, validate, every=100)
    assert progress_seen == pytest.approx([0.5 + i / 60 for i in range(30)])


def test_a_state_that_tells_no_progress_is_as_far_as_its_steps(tmp_path: Path) -> None:
    run(Loop(make_network(), spec(tmp_path, steps=10)), step, validate, every=10)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    del state["progress"], state["steps"]
    torch.save(state, tmp_path / "state.pt")
    loop = Loop(make_network(), spec(tmp_path, steps=40, resume=True))
    assert (loop.done, loop.progress) == (10, 0.25)
    run(loop, step, validate, every=10)
    assert loop.done == 40


def test_a_loss_that_is_not_finite_stops_before_the_weights_are_spoilt(tmp_path: Path) -> None:
    def poisoned(network: nn.Module, index: int, progress: float) -> Losses:
        losses = step(network, index, progress)
        return Losses(losses.terms, {"error": math.nan}) if index == 5 else losses

    loop = Loop(make_network(), spec(tmp_path))
    with pytest.raises(RuntimeError, match="non-finite"):
        run(loop, poisoned, validate, every=10)
    assert all(bool(torch.isfinite(p).all()) for p in loop.network.parameters())


def test_a_state_of_another_network_or_a_damaged_one_is_one_line(tmp_path: Path) -> None:
    run(Loop(make_network(), spec(tmp_path, steps=5)), step, validate, every=10)
    again = spec(tmp_path, resume=True)
    with pytest.raises(WeightsError, match="cannot resume") as caught:
        Loop(nn.Linear(2, 2), again)
    assert "\n" not in str(caught.value)
    state = tmp_path / "state.pt"
    whole = state.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not a checkpoint"):
        state.write_bytes(damaged)
        with pytest.raises(WeightsError, match="cannot resume") as caught:
            Loop(make_network(), again)
        assert "\n" not in str(caught.value)
    torch.save({"done": 3}, state)
    with pytest.raises(WeightsError, match="cannot resume"):
        Loop(make_network(), again)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OutputError, match="cannot make the folder"):
        Loop(make_network(), replace(spec(tmp_path), out=blocked / "out"))


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of before stays readable."""
    run(Loop(make_network(), spec(tmp_path, steps=5)), step, validate, every=10)

    def full(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data/3")

    loop = Loop(make_network(), spec(tmp_path, steps=8, resume=True))
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match=r"cannot write .*state\.pt") as caught:
        run(loop, step, validate, every=10)
    assert "\n" not in str(caught.value)
    assert Loop(make_network(), spec(tmp_path, resume=True)).done == 5


def test_groups_learn_at_their_share_of_the_rate(tmp_path: Path) -> None:
    """One step of Adam moves every weight by its rate; what is in no group stays."""
    network = nn.ModuleDict({name: nn.Linear(3, 1, bias=False) for name in ("full", "tenth", "frozen")})
    network["frozen"].requires_grad_(False)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    groups: list[dict[str, Any]] = [
        {"params": network["full"].parameters()},
        {"params": network["tenth"].parameters(), "share": 0.1},
    ]

    def pull(net: nn.Module, index: int, progress: float) -> Losses:
        return Losses({"sum": mean_of(torch.stack([parameter.sum() for parameter in net.parameters()]))}, {"sum": 3.0})

    run(Loop(network, spec(tmp_path, steps=1), groups), pull, lambda net: {}, every=10)
    moved = {name: (parameter.detach() - before[name]).abs().mean() for name, parameter in network.named_parameters()}
    assert float(moved["frozen.weight"]) == 0 and float(moved["full.weight"]) > 0
    assert float(moved["tenth.weight"]) == pytest.approx(0.1 * float(moved["full.weight"]), rel=1e-2)


def test_what_is_drawn_beside_samples_differs_for_every_place_and_step() -> None:
    """At whatever seed, and also of large batches."""
    for seed in (0, 2**40, 2**63):
        drawn = [generator.initial_seed() for step in range(3) for generator in At(step, 0.0, range(1200)).generators(seed)]
        assert len(set(drawn)) == 3600
    alone, beside = At(5, 0.0, [7]).generators(1), At(5, 0.5, [6, 7]).generators(1)
    assert torch.equal(torch.rand(3, generator=alone[0]), torch.rand(3, generator=beside[1]))
