"""The loop that every training shares: schedule, running average of the weights, log, checkpoints that resume."""

from __future__ import annotations

import copy
import csv
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from depth_retrofit_ros.errors import OutputError, WeightsError
from depth_retrofit_ros.io.checkpoints import first_line

LOG_EVERY = 50  # steps
Losses = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class LoopSpec:
    """How long and how fast.

    steps: total; batch: samples per step; rate: peak learning rate (AdamW, cosine to zero after a warm-up of 2 %); out: folder for
    log.csv and state.pt; minutes: stop early after this wall time, 0 = no limit; the schedule then ends with the time; resume: go
    on from state.pt if there is one, from where its schedule was: minutes are then those of what is left of it. With other steps it
    is another schedule, of which ``done / steps`` are over. precision: of the products (weights and their updates stay float32);
    workers: processes that make samples ahead of their use, or 1.
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

    def make_out(self) -> None:
        """Make the folder of the results. Raises OutputError."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the folder {self.out} ({error.strerror}): choose a writable place") from None

    def autocast(self) -> torch.autocast:
        """To be entered around the network and its losses, not around the making of data."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)


class Loop:
    """Runs ``step(network, index, progress 0…1) → losses`` (``total`` is minimised) and averages the weights exponentially.

    groups: of parameters, as the optimiser takes them, whose ``share`` of the learning rate is 1 unless given; None trains all.
    """

    def __init__(self, network: nn.Module, spec: LoopSpec, groups: list[dict[str, Any]] | None = None) -> None:
        self.network, self.spec = network, spec
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(groups or network.parameters(), lr=spec.rate, weight_decay=1e-4, betas=(0.9, 0.98))
        self.done, self.progress = 0, 0.0  # steps, and share of the schedule that is over
        spec.make_out()
        if spec.resume:
            self._load()

    def run(
        self, step: Callable[[nn.Module, int, float], Losses], validate: Callable[[nn.Module], dict[str, float]], every: int
    ) -> dict[str, float]:
        """Train to the end; validate the averaged weights every ``every`` steps; returns the last validation."""
        start, first, share = time.monotonic(), self.done, self.progress
        sums, summed = dict[str, float](), 0
        while True:
            progress = self.progress = self._progress(first, share, time.monotonic() - start)
            if self.finished:
                break
            for group in self.optimizer.param_groups:
                rate = self.spec.rate * group.get("share", 1.0)
                group["lr"] = rate * min(1, progress / 0.02 + 1e-3) * 0.5 * (1 + math.cos(math.pi * progress))
            self.network.train()
            losses = step(self.network, self.done, progress)
            self.optimizer.zero_grad(set_to_none=True)
            losses["total"].backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0, error_if_nonfinite=True)
            self.optimizer.step()
            self.done += 1
            self._update_average()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
            summed += 1
            if self.done % LOG_EVERY == 0:
                self._log({k: v / summed for k, v in sums.items()}, progress, time.monotonic() - start)
                sums, summed = {}, 0
            if self.done % every == 0:
                figures = validate(self.average.eval())
                self._log(figures, progress, time.monotonic() - start)
                self.progress = self._progress(first, share, time.monotonic() - start)
                self.save()
        figures = validate(self.average.eval())
        self._log(figures, 1.0, time.monotonic() - start)
        self.save()
        return figures

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
        text = "  ".join(f"{k} {v:.4f}" for k, v in values.items())
        print(f"step {self.done:6d}  {100 * progress:5.1f} %  {elapsed_s:6.0f} s  {text}", flush=True)
        with (self.spec.out / "log.csv").open("a", newline="") as file:
            writer = csv.writer(file)
            for name, value in values.items():
                writer.writerow([self.done, f"{elapsed_s:.1f}", name, f"{value:.6f}"])

    def save(self) -> None:
        """Write state.pt, whole or not at all. Raises OutputError."""
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
        path = self.spec.out / "state.pt"
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location=self.spec.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.done = int(state["done"])
            same = state.get("steps") == self.spec.steps
            self.progress = float(state["progress"]) if same else self.done / self.spec.steps
        except (pickle.UnpicklingError, EOFError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            why = f"{path} is damaged or of another network ({first_line(error)})"
            raise WeightsError(f"cannot resume, {why}: remove it or choose another folder") from None
