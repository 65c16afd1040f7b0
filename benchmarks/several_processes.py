#!/usr/bin/env python3
"""``depth-retrofit train refiner`` in one process, and in two that torchrun starts, then in one, then in two again.

    python benchmarks/several_processes.py --json benchmarks/results/several_processes.json

Each has a pool of its own, rendered by one process and by two, which must be the same. The training whose number of processes
changes is killed (SIGKILL, all of its processes at once) whenever its state has been stored, and goes on with ``--resume`` in the
next number of them. It is compared with the one that is never stopped, losses as ``log.csv`` has them: means over 50 steps.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from depth_retrofit_ros.evaluation.report.summary import machine

STORED_EVERY = 250  # steps, by ``train_refiner``
NUMBERS = (2, 1, 2)  # of processes, each until the next state is stored
STEPS, SCENES, HELD_OUT, BATCH, WIDTHS = len(NUMBERS) * STORED_EVERY, 6, 2, 2, ("4", "8")
PATIENCE_S = 3000.0


def command(processes: int, pool: Path, out: Path, *more: str) -> list[str]:
    """A training by so many processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", str(processes)]
    words = ["train", "refiner", "--device", "cpu", "--workers", "1", "--coarse", "compact", "--widths", *WIDTHS]
    words += ["--scenes", str(SCENES), "--held-out", str(HELD_OUT), "--batch", str(BATCH), "--pool", str(pool), "--out", str(out)]
    return [sys.executable, *(launcher if processes > 1 else []), "-m", "depth_retrofit_ros", *words, *more]


def start(words: list[str]) -> subprocess.Popen[str]:
    """In a session of its own, so that all of its processes can be ended; each computes with one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def run(words: list[str]) -> None:
    """To its end. Exits with what it has said where it fails."""
    process = start(words)
    _, said = process.communicate(timeout=PATIENCE_S)
    if process.returncode:
        sys.exit(f"{' '.join(words)} has failed:\n{said}")


def run_until_stored(words: list[str], out: Path, steps: int) -> None:
    """Until the state after so many steps is stored; then all of it is killed."""
    process, state, deadline_s = start(words), out / "state.pt", time.monotonic() + PATIENCE_S
    while not (state.exists() and torch.load(state, map_location="cpu", weights_only=True)["done"] >= steps):
        if process.poll() is not None or time.monotonic() > deadline_s:
            sys.exit(f"{' '.join(words)} has not come to step {steps}:\n{process.communicate()[1]}")
        time.sleep(1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def losses(out: Path) -> dict[str, dict[int, float]]:
    """Of each name, by step; what was repeated after a kill counts as it was the last time."""
    found: dict[str, dict[int, float]] = {}
    with (out / "log.csv").open(newline="") as file:
        for step, _, name, value in csv.reader(file):
            found.setdefault(name, {})[int(step)] = float(value)
    return found


def differences(one: dict[str, dict[int, float]], other: dict[str, dict[int, float]]) -> dict[int, float]:
    """Of the totals by step, relative. Exits where the two have not the same lines."""
    if {name: list(values) for name, values in one.items()} != {name: sorted(values) for name, values in other.items()}:
        sys.exit("the two logs have other lines")
    return {step: abs(other["total"][step] - value) / value for step, value in one["total"].items()}


def digest(pool: Path) -> str:
    """Of all arrays of all scenes, by their names."""
    whole = hashlib.sha256()
    for path in sorted(pool.glob("*.npz")):
        with np.load(path) as file:
            for name in sorted(file.files):
                whole.update(f"{path.name} {name} {file[name].dtype} {file[name].shape}".encode() + file[name].tobytes())
    return whole.hexdigest()


def measure(folder: Path) -> dict[str, Any]:
    """Both trainings."""
    pools = [folder / f"pool_{processes}" for processes in (1, 2)]
    alone, changing = folder / "alone", folder / "changing"
    run(command(1, pools[0], alone, "--steps", str(STEPS)))
    for part, processes in enumerate(NUMBERS, start=1):
        words = command(processes, pools[1], changing, "--steps", str(STEPS), "--resume")
        if part < len(NUMBERS):
            run_until_stored(words, changing, part * STORED_EVERY)
        else:
            run(words)
    digests = [digest(pool) for pool in pools]
    if digests[0] != digests[1]:
        sys.exit("two processes have rendered another pool than one")
    one, other = losses(alone), losses(changing)
    return {
        "machine": machine(),
        "torch": torch.__version__,
        "steps": STEPS,
        "batch": BATCH,
        "scenes": SCENES,
        "pool_sha256": digests[0],
        "processes": NUMBERS,
        "steps_each": STORED_EVERY,
        "one process": one,
        "changing": other,
        "relative_difference_of_total": {step: float(f"{value:.2g}") for step, value in differences(one, other).items()},
    }


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder))
    args.json.write_text(json.dumps(figures, indent=1) + "\n")
    print({step: value for step, value in figures["relative_difference_of_total"].items()})


if __name__ == "__main__":
    main()
