"""The loop that every training shares: schedule, running average of the weights, log, checkpoints that resume."""

from __future__ import annotations

import copy
import csv
import io
import math
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import nn

from depth_retrofit_ros.errors import ModelError, OutputError, WeightsError
from depth_retrofit_ros.io.checkpoints import first_line
from depth_retrofit_ros.training.group import ALONE, Group, normalises_by_batch
from depth_retrofit_ros.training.losses import Losses
from depth_retrofit_ros.training.muon import Muon

LOG_EVERY = 50  # steps
Sample = TypeVar("Sample")


class At(NamedTuple):
    """Where a training is. step: how many there were before; progress: 0…1 of the schedule; places: in the step's batch, of the
    samples that are learnt from at once."""

    step: int
    progress: float
    places: Sequence[int]

    def generators(self, seed: int) -> list[torch.Generator]:
        """Of what is drawn for each of these samples beside itself, whatever others it is learnt from with."""
        words = [np.random.SeedSequence((seed, self.step, place)).generate_state(1, np.uint64) for place in self.places]
        return [torch.Generator().manual_seed(int(word[0])) for word in words]


@dataclass(frozen=True, slots=True)
class LoopSpec:
    """How long and how fast.

    steps: total; batch: samples per step; rate: peak learning rate (cosine to zero after a warm-up of 2 %); out: folder for
    log.csv and state.pt; minutes: stop early after this wall time, 0 = no limit; the schedule then ends with the time; resume: go
    on from state.pt if there is one, from where its schedule was: minutes are then those of what is left of it. With other steps it
    is another schedule, of which ``done / steps`` are over. precision: of the products (weights and their updates stay float32);
    workers: processes that make samples ahead of their use, or 1; group: the processes that train together, among which ``batch``
    is divided; accumulate: parts that a process learns from its share in, one after the other, in less memory, each seen twice.
    """

    steps: int
    batch: int
    rate: float
    seed: int
    out: Path
    device: torch.device
    minutes: float = 0.0
    resume: bool = False
    precision: torch.dtype = torch.float32
    workers: int = 1
    group: Group = ALONE
    accumulate: int = 1

    def make_out(self) -> None:
        """Make the folder of the results. Raises OutputError."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the folder {self.out} ({error.strerror}): choose a writable place") from None

    def check(self, network: nn.Module) -> None:
        """Raises ModelError where ``network`` cannot be trained in parts."""
        if self.accumulate > 1 and normalises_by_batch(network):
            raise ModelError("its batch normalisation is of all samples at once: leave out --accumulate, or start more processes")

    def autocast(self) -> torch.autocast:
        """To be entered around the network and its losses, not around the making of data."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)


class Loop:
    """Minimises ``total`` of the losses and averages the weights exponentially.

    In a group each process learns from its share of each step's samples. The losses are functions of sums over all samples, in
    whatever process or part they are, and gradients are of these: up to rounding one process learns the same from all at once.
    groups: of parameters, as ``Muon`` takes them, whose ``share`` of the learning rate is 1 unless given; None trains all by AdamW.
    Raises ModelError: see ``LoopSpec.check``.
    """

    def __init__(self, network: nn.Module, spec: LoopSpec, groups: list[dict[str, Any]] | None = None) -> None:
        self.network, self.spec = network, spec
        spec.check(network)
        spec.group.share_statistics(network)
        spec.group.same(network)
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.optimizer = Muon(groups or network.parameters(), lr=spec.rate, weight_decay=1e-4, betas=(0.9, 0.98))
        self.done, self.progress = 0, 0.0  # steps, and share of the schedule that is over
        spec.make_out()
        if spec.resume and spec.group.of_leader((spec.out / "state.pt").exists(), spec.device):
            self._load()

    def run(
        self,
        draw: Callable[[int, float], Sequence[Sample]],
        losses: Callable[[nn.Module, Sequence[Sample], At], Losses],
        validate: Callable[[nn.Module], dict[str, float]],
        every: int,
        before: Callable[[nn.Module, int, float], None] = lambda network, step, progress: None,
    ) -> dict[str, float]:
        """Train to the end; returns the last validation, of the process that leads: of others, nothing.

        draw: the samples of this process of a step, at least one, by its number and the progress 0…1; losses: of the samples given;
        validate: of the averaged weights, every ``every`` steps; before: is called once a step.
        """
        start, first, share = time.monotonic(), self.done, self.progress
        group, told = self.spec.group, dict[str, list[float]]()  # since the last line of the log
        while True:
            elapsed_s = time.monotonic() - start
            if self.spec.minutes:
                elapsed_s = group.of_leader(elapsed_s, self.spec.device)
            progress = self.progress = self._progress(first, share, elapsed_s)
            if self.finished:
                break
            for parameters in self.optimizer.param_groups:
                rate = self.spec.rate * parameters.get("share", 1.0)
                parameters["lr"] = rate * min(1, progress / 0.02 + 1e-3) * 0.5 * (1 + math.cos(math.pi * progress))
            self.network.train()
            before(self.network, self.done, progress)
            self.optimizer.zero_grad(set_to_none=True)
            for name, value in self._learn(draw(self.done, progress), losses).items():
                told.setdefault(name, []).append(value)
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0, error_if_nonfinite=True)
            self.optimizer.step()
            self.done += 1
            self._update_average()
            if self.done % LOG_EVERY == 0:
                self._log({name: fmean(values) for name, values in told.items()}, progress, time.monotonic() - start)
                told = {}
            if self.done % every == 0 and group.leads:
                self._log(validate(self.average.eval()), progress, time.monotonic() - start)
                self.progress = self._progress(first, share, time.monotonic() - start)
                self.save()
        if not group.leads:
            return {}
        figures = validate(self.average.eval())
        self._log(figures, 1.0, time.monotonic() - start)
        self.save()
        return figures

    def _learn(self, samples: Sequence[Sample], losses: Callable[[nn.Module, Sequence[Sample], At], Losses]) -> dict[str, float]:
        """Make the gradients of a step. Returns its losses. Both are of all its samples."""
        group, size = self.spec.group, math.ceil(len(samples) / self.spec.accumulate)
        places = [group.rank + k * group.size for k in range(len(samples))]
        starts = range(0, len(samples), size)
        parts = [(samples[i : i + size], At(self.done, self.progress, places[i : i + size])) for i in starts]
        whole: torch.Tensor | None = None
        if len(parts) > 1:
            with torch.no_grad():
                whole = group.sum(torch.stack([losses(self.network, some, at).sums for some, at in parts]).sum(0))
        for some, at in parts:
            found = losses(self.network, some, at)
            whole = group.sum(found.sums) if whole is None else whole
            values = found.among(whole)
            values["total"].backward()
        group.sum_gradients(self.network)
        return dict(zip(values, torch.stack([value.detach() for value in values.values()]).tolist(), strict=True))

    @property
    def finished(self) -> bool:
        """Whether the schedule is over, by steps or by time."""
        return self.progress >= 1

    def _progress(self, first: int, share: float, elapsed_s: float) -> float:
        """Of a run that began after ``first`` steps and ``share`` of the schedule."""
        steps = self.spec.steps
        by_steps = self.done / steps
        if share > first / steps and first < steps:  # time was ahead of the steps
            by_steps = share + (1 - share) * (self.done - first) / (steps - first)
        if not self.spec.minutes:
            return by_steps
        return max(by_steps, share + (1 - share) * elapsed_s / (60 * self.spec.minutes))

    def _update_average(self) -> None:
        decay = min(0.998, self.done / (self.done + 10))
        with torch.no_grad():
            for a, b in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
                if a.dtype.is_floating_point:
                    a.lerp_(b, 1 - decay)
                else:
                    a.copy_(b)

    def _log(self, values: dict[str, float], progress: float, elapsed_s: float) -> None:
        if not self.spec.group.leads:
            return
        text = "  ".join(f"{k} {v:.4f}" for k, v in values.items())
        print(f"step {self.done:6d}  {100 * progress:5.1f} %  {elapsed_s:6.0f} s  {text}", flush=True)
        with (self.spec.out / "log.csv").open("a", newline="") as file:
            writer = csv.writer(file)
            for name, value in values.items():
                writer.writerow([self.done, f"{elapsed_s:.1f}", name, f"{value:.6f}"])

    def save(self) -> None:
        """Write state.pt, whole or not at all, of the process that leads. Raises OutputError."""
        if not self.spec.group.leads:
            return
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "done": self.done,
            "progress": min(self.progress, 1.0),
            "steps": self.spec.steps,
        }
        temporary, path = self.spec.out / "state.tmp", self.spec.out / "state.pt"
        try:
            torch.save(state, temporary)
            temporary.rename(path)
        except (OSError, RuntimeError) as error:  # PyTorch's writer reports a full disk as RuntimeError
            raise OutputError(f"cannot write {path} ({first_line(error)}): make room, then go on with --resume") from None

    def _load(self) -> None:
        """The state of the process that leads, in all."""
        path, group = self.spec.out / "state.pt", self.spec.group
        try:
            content = group.content_of_leader(path.read_bytes() if group.leads else b"", self.spec.device)
            state = torch.load(io.BytesIO(content), map_location=self.spec.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.done = int(state["done"])
            same = state.get("steps") == self.spec.steps
            self.progress = float(state["progress"]) if same else self.done / self.spec.steps
        except (pickle.UnpicklingError, EOFError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            why = f"{path} is damaged or of another network ({first_line(error)})"
            raise WeightsError(f"cannot resume, {why}: remove it or choose another folder") from None
