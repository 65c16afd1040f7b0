#!/usr/bin/env python3
"""The sparse U-Net of the bundled refiner on each backend that is installed (`cpu` in each of its types), and dense and masked.

OMP_NUM_THREADS=1 python benchmarks/sparse_engines.py --json benchmarks/results/sparse_engines.json

Wall times suffer from whatever else runs, CPU times much less: compare these, on one thread, where the machine is not idle.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from depth_retrofit_ros.bench.sparse import DENSE, measure, ratios, runs
from depth_retrofit_ros.evaluation.report.summary import machine

SIZE, SHARE = (1440, 2560), 0.1
BUDGETS = (0.02, 0.05, 0.1, 0.2)
SIZES = ((720, 1280), (1080, 1920), (1440, 2560), (2160, 3840), (4320, 7680))


def main() -> None:
    """Print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    parser.add_argument("--rounds", type=int, default=20, help="frames of each backend at most (default: 20)")
    parser.add_argument("--seconds", type=float, default=20.0, help="a backend stops after so long (default: 20)")
    parser.add_argument("--scaling", action="store_true", help="backend cpu over budgets and sizes, too")
    args = parser.parse_args()
    document: dict[str, Any] = {"machine": f"{machine()}, torch {torch.__version__}"}
    document["sparse"] = measure(SIZE, SHARE, args.rounds, args.seconds, [*runs(), DENSE])
    document["ratios"] = ratios(document["sparse"])
    show(document["sparse"])
    for name, row in document["ratios"].items():
        print(f"{name} / cpu: wall {row['ms_p50']:.1f}, CPU time {row['cpu_ms_p50']:.1f}, memory {row['peak_mb']:.1f}")
    if args.scaling:
        cases = [(SIZE, share) for share in BUDGETS] + [(size, SHARE) for size in SIZES if size != SIZE]
        cpu = [name for name in document["sparse"]["engines"] if name.partition(" in ")[0] == "cpu"]
        document["scaling"] = [measure(size, share, args.rounds, args.seconds, cpu) for size, share in cases]
        for entry in document["scaling"]:
            show(entry)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(document, indent=1) + "\n")


def show(entry: dict[str, Any]) -> None:
    """An entry as lines."""
    height, width = entry["size"]
    print(f"{width}x{height}, {entry['active']} active pixels, {entry['threads']} threads")
    for name, row in (*entry["engines"].items(), (DENSE, entry[DENSE])):
        if row is not None:
            wall = f"p50 {row['ms_p50']:.0f} ms, p99 {row['ms_p99']:.0f} ms"
            print(f"  {name}: {wall}, CPU {row['cpu_ms_p50']:.0f} ms, {row['peak_mb']:.0f} MB ({row['frames']} frames)")


if __name__ == "__main__":
    main()
