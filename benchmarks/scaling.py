#!/usr/bin/env python3
"""Time and memory of the whole method against budget and resolution, up to 8K, and whether refinement is linear in its pixels.

    python benchmarks/scaling.py --json benchmarks/results/scaling.json --plot docs/images/scaling.png

Each case runs in a process of its own; the plot needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from depth_retrofit_ros.bench.document import description
from depth_retrofit_ros.bench.memory import peak_beside
from depth_retrofit_ros.bench.stages import measure_method, rendered_frame
from depth_retrofit_ros.device.memory import release_memory
from depth_retrofit_ros.retrofit import load

SIZE, BUDGET = (1440, 2560), 0.1
BUDGETS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
SIZES = ((720, 1280), (1080, 1920), (1440, 2560), (2160, 3840), (3240, 5760), (4320, 7680))
STAGES = ("coarse", "upsample", "select", "refine", "fuse")


def measure_case(height: int, width: int, budget: float, rounds: int) -> dict[str, Any]:
    """Stage times, and the most memory [MB] beyond what the process holds before its first frame of this size."""
    retrofit = load("compact", device="cpu")
    retrofit.warm_up(96, 160)
    frame = rendered_frame((height, width))
    release_memory()  # of rendering
    entry: dict[str, Any] = {}
    peak_mb = peak_beside(lambda: entry.update(measure_method(retrofit, frame, budget, rounds)))
    return {
        "size": [height, width],
        "budget": budget,
        "pixels": round(budget * height * width),
        "machine": description(retrofit),
        "total_ms": entry["total"]["ms_p50"],
        **{f"{stage}_ms": entry[stage]["ms_p50"] for stage in STAGES},
        "refine_ms_min": entry["refine"]["ms_min"],
        "peak_mb": peak_mb,
    }


def line_through(pixels: Sequence[float], times_ms: Sequence[float]) -> dict[str, float]:
    """The straight line with the least relative squares, and how far, relatively, it is from the time that it misses most."""
    x, y = np.asarray(pixels), np.asarray(times_ms)
    slope, offset = np.polyfit(x, y, 1, w=1 / y)
    return {
        "us_per_pixel": 1e3 * float(slope),
        "offset_ms": float(offset),
        "worst_deviation": float(np.abs((slope * x + offset) / y - 1).max()),
    }


def in_process(height: int, width: int, budget: float, rounds: int) -> dict[str, Any]:
    """``measure_case`` in a fresh process."""
    command = [sys.executable, "-W", "ignore", __file__, "--case", *map(str, (height, width, budget, rounds))]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def plot(document: dict[str, Any], path: Path) -> None:
    """Stages over budget, and over resolution; memory beside them."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    for axis, key, label in ((axes[0], "budgets", "refined pixels [k]"), (axes[1], "sizes", "image [megapixels]")):
        rows = document[key]
        x = [row["pixels"] / 1e3 if key == "budgets" else row["size"][0] * row["size"][1] / 1e6 for row in rows]
        base = np.zeros(len(rows))
        for stage in STAGES:
            times = np.array([row[f"{stage}_ms"] for row in rows])
            axis.fill_between(x, base, base + times, label=stage, alpha=0.8)
            base = base + times
        axis.set_xlabel(label)
        axis.set_ylabel("time per frame [ms]")
        axis.set_xlim(0)
        axis.set_ylim(0)
    axes[0].set_title("2560x1440, budget 2 to 30 %")
    axes[1].set_title("budget 10 %, 720p to 8K")
    axes[0].legend(loc="upper left")
    for key, label in (("budgets", "2560x1440, budget 2 to 30 %"), ("sizes", "budget 10 %, 720p to 8K")):
        rows = document[key]
        axes[2].plot([row["pixels"] / 1e3 for row in rows], [row["peak_mb"] for row in rows], "o-", label=label)
    axes[2].set_xlabel("refined pixels [k]")
    axes[2].set_ylabel("memory beside the model [MB]")
    axes[2].set_xlim(0)
    axes[2].set_ylim(0)
    axes[2].legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, store, plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/scaling.json"), metavar="OUT")
    parser.add_argument("--plot", type=Path, metavar="OUT")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--case", nargs=4, metavar=("H", "W", "BUDGET", "ROUNDS"), help="one case, as JSON on the output")
    args = parser.parse_args()
    if args.case:
        height, width, budget, rounds = args.case
        print(json.dumps(measure_case(int(height), int(width), float(budget), int(rounds))))
        return
    document: dict[str, Any] = {"budgets": [], "sizes": []}
    for budget in BUDGETS:
        document["budgets"].append(in_process(*SIZE, budget, args.rounds))
        show(document["budgets"][-1])
    for size in SIZES:
        document["sizes"].append(in_process(*size, BUDGET, max(3, args.rounds * SIZE[0] * SIZE[1] // (2 * size[0] * size[1]))))
        show(document["sizes"][-1])
    rows = document["budgets"]
    document["refine_over_pixels"] = line_through([row["pixels"] for row in rows], [row["refine_ms"] for row in rows])
    print(json.dumps(document["refine_over_pixels"]))
    args.json.write_text(json.dumps(document, indent=1) + "\n")
    if args.plot:
        plot(document, args.plot)


def show(row: dict[str, Any]) -> None:
    """A case as one line."""
    height, width = row["size"]
    print(f"{width}x{height}, {row['budget']:g}: {row['total_ms']:.0f} ms, refine {row['refine_ms']:.0f}, {row['peak_mb']:.0f} MB")


if __name__ == "__main__":
    main()
