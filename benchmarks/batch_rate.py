#!/usr/bin/env python3
"""What a worker of ``depth-retrofit batch`` takes for a frame beside ``replay --every-frame``, its memory over a long bag, and what
reading and storing cost, of which docs/scale.md is made.

    python benchmarks/batch_rate.py --work out/rate --json benchmarks/results/batch_rate.json

The bag lasts ten minutes: 1920x1080, JPEG, an image every ten seconds. Both are given one thread. Times of ``replay`` are from its
first image to its last answer; those of ``batch`` are what its worker tells of each part: reading, answering, writing, checksums.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import batch_inputs
import cv2

from depth_retrofit_ros.evaluation.report.summary import machine
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.io.depth_files import write_depth_npz, write_depth_png
from depth_retrofit_ros.io.jpeg import decode_jpeg
from depth_retrofit_ros.loading import load

SIZE_2K = (1440, 2560)
HEIGHT, WIDTH, PERIOD_NS = 1080, 1920, 10_000_000_000
SETTINGS = ("--model", "compact", "--device", "cpu", "--coarse-engine", "eager")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


def replayed(bag: Path, work: Path, frames: int) -> dict[str, Any]:
    """Bare ``replay --every-frame`` of the first images."""
    out = work / "replay"
    shutil.rmtree(out, ignore_errors=True)
    arguments = [sys.executable, "-m", "depth_retrofit_ros", "replay", str(bag), "--every-frame", "--out", str(out), *SETTINGS]
    run = subprocess.run(
        [*arguments, "--frames", str(frames)], env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=True
    )
    rows = (out / "frames.csv").read_text().splitlines()[1:]
    played_s = [float(row.split(",")[1]) for row in rows]
    last_s = 1e-3 * float(rows[-1].split(",")[2])
    assert f"answered {frames}" in run.stdout
    return {"frames": frames, "seconds": round(played_s[-1] + last_s, 2)}


def batched(bag: Path, work: Path, name: str, *options: str) -> dict[str, Any]:
    """``batch`` of the bag by one worker, and the resident memory of its worker once a second [MB]."""
    out = work / name
    shutil.rmtree(out, ignore_errors=True)
    arguments = [sys.executable, "-m", "depth_retrofit_ros", "batch", str(bag), "--out", str(out), *SETTINGS, *options]
    run = subprocess.Popen([*arguments, "--workers", "1", "--threads", "1"], stdout=subprocess.PIPE, text=True)
    memory: list[float] = []
    while run.poll() is None:
        memory.append(max((resident_mb(pid) for pid in children(run.pid)), default=0.0))
        time.sleep(1.0)
    assert run.returncode == 0, run.stdout and run.stdout.read()
    seals = [json.loads(path.read_text()) for path in sorted((out / "items").glob("*.0*.json"))]
    files = [size for seal in seals for _, size, _ in seal["files"]]
    frames = sum(len(seal["rows"]) for seal in seals)
    divided = json.loads(next((out / "items").glob("*.parts.json")).read_text())
    working = memory[len(memory) // 5 :]  # from there on models and buffers are there
    third = len(working) // 3
    return {
        "frames": frames,
        "seconds": round(sum(seal["seconds"] for seal in seals), 2),
        "parts": len(seals),
        "dividing_seconds": divided["seconds"],
        "stored_bytes_a_frame": round(sum(files) / frames),
        "memory_mb": {
            "first_third": round(max(working[:third])),
            "last_third": round(max(working[-third:])),
            "most": round(max(memory)),
        },
    }


def children(pid: int) -> list[int]:
    """Processes that this one has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


def resident_mb(pid: int) -> float:
    """0 of one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)


def around_a_frame(work: Path) -> dict[str, Any]:
    """What one core takes for all but the method, of an image of 2560x1440: median times [ms], and bytes."""
    _, encoded = cv2.imencode(".jpg", batch_inputs.view(0, *SIZE_2K)[..., ::-1])
    jpeg = encoded.tobytes()
    image = decode_jpeg(jpeg, lambda height, width: None)
    depth = load("compact", device="cpu", coarse_engine="eager")(Frame(image)).depth.numpy()
    png, npz = work / "depth.png", work / "depth.npz"
    steps: dict[str, Callable[[], object]] = {
        "decode": lambda: decode_jpeg(jpeg, lambda height, width: None),
        "png": lambda: write_depth_png(png, depth, metric=False),
        "npz": lambda: write_depth_npz(npz, depth, 0, False, None),
        "sha256_of_npz": lambda: hashlib.sha256(npz.read_bytes()).hexdigest(),
    }
    times = {f"{name}_ms": round(median_ms(step), 2) for name, step in steps.items()}
    return {**times, "jpeg_bytes": len(jpeg), "png_bytes": png.stat().st_size, "npz_bytes": npz.stat().st_size}


def median_ms(step: Callable[[], object], count: int = 15) -> float:
    """Of a few times."""
    took = []
    for _ in range(count):
        begun_s = time.perf_counter()
        step()
        took.append(1e3 * (time.perf_counter() - begun_s))
    return statistics.median(took)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--compared", type=int, default=8, help="frames of the comparison with replay")
    args = parser.parse_args()
    work = args.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    batch_inputs.PERIOD_NS = PERIOD_NS
    for name, frames in (("long", args.frames), ("short", args.compared)):
        if not (work / name).exists():
            batch_inputs.write_bag(work / name, 0, frames, HEIGHT, WIDTH, compressed=True)
    told: dict[str, Any] = {
        "machine": f"{machine()}, 1 thread each",
        "size": [HEIGHT, WIDTH],
        "around_a_frame_of_2k": around_a_frame(work),
    }
    told["replay"] = [replayed(work / "short", work, args.compared)]
    told["batch_png"] = [batched(work / "short", work, "png", "--part", "1000")]
    told["batch_npz"] = [batched(work / "short", work, "npz", "--part", "1000", "--depth", "npz")]
    told["replay"].append(replayed(work / "short", work, args.compared))  # the machine may have become slower meanwhile
    told["batch_png"].append(batched(work / "short", work, "png", "--part", "1000"))
    rates = {name: max(run["frames"] / run["seconds"] for run in told[name]) for name in ("replay", "batch_png", "batch_npz")}
    told["frames_per_second"] = {name: round(rate, 3) for name, rate in rates.items()}
    told["share_of_replay"] = {name: round(rates[name] / rates["replay"], 3) for name in ("batch_png", "batch_npz")}
    told["long_bag"] = batched(work / "long", work, "long_out", "--part", "60")
    args.json.write_text(json.dumps(told, indent=2) + "\n")
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
