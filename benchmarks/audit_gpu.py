#!/usr/bin/env python3
"""What the method asks of a GPU at 2560x1440 and 10 %: waits, launches and bytes of each stage, and what its kernels need.

    python benchmarks/audit_gpu.py --json benchmarks/results/audit_gpu.json

No GPU is needed, and nothing is timed: tensors without content stand for the device's (``depth_retrofit_ros/bench/audit.py``).
Once with the Triton kernels, once in plain torch around the same U-Net, each for a coarse map as large as ``compact``'s and for one
as large as Depth Anything's; with the kernels also what is published, each output a stage. Kernels are compiled for processors that
are not here (``bench/kernels.py``).
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from depth_retrofit_ros.bench.audit import Audit, AuditedRetrofit, BlankModel
from depth_retrofit_ros.bench.kernels import ARCHITECTURES, OUTPUTS, launches_of, machine_code, resources
from depth_retrofit_ros.refinement.pixels.network import RefinerNet
from depth_retrofit_ros.refinement.pixels.refiner import load_sparse_refiner

SIZE = (1440, 2560)
GRIDS = {"compact": ((144, 256), (72, 128)), "Depth Anything V2": ((294, 518), (294, 518))}  # input, answer
PUBLISHED = ("depth", "points", "preview")  # what counts in the total
ROWS = (96_191, 25_963, 7_492, 2_375)  # of the coarser levels of the U-Net, of a view of the bundled film
TWINS = (
    "coarse.far_limit",
    "refinement.pixels.decision",
    "refinement.pixels.features",
    "refinement.pixels.network",
    "refinement.pixels.refiner",
    "selection.contrast",
    "selection.top_k",
    "selection.uncertainty",
    "upsampling.area_average",
    "upsampling.edge_aware",
)
"""Modules that choose between a kernel and plain torch."""


def main() -> None:
    """Write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    network = load_sparse_refiner(None, torch.device("cpu")).network
    audits: dict[str, Any] = {}
    for model, sizes in GRIDS.items():
        audits[model] = {"kernels": figures(audited(network, *sizes, PUBLISHED))}
        apart = figures(audited(network, *sizes, [name for name in OUTPUTS if name not in PUBLISHED]))["stages"]
        audits[model]["further outputs"] = {name: entry for name, entry in apart.items() if name in OUTPUTS}
        patches = [mock.patch(f"depth_retrofit_ros.{module}.has_kernels", return_value=False) for module in TWINS]
        for patch in patches:
            patch.start()
        audits[model]["plain torch"] = figures(audited(network, *sizes))
        for patch in patches:
            patch.stop()
        print(model, {form: entry["total"] for form, entry in audits[model].items() if "total" in entry})
    document = {"size": list(SIZE), "budget": 0.1, "rows": ROWS, "audits": audits, "kernels": kernels(network)}
    args.json.write_text(json.dumps(document, indent=1) + "\n")


def audited(network: RefinerNet, input_size: tuple[int, int], answer: tuple[int, int], outputs: Collection[str] = ()) -> Audit:
    """Of one frame."""
    return AuditedRetrofit(BlankModel(input_size, answer), network, 0.1, ROWS).watch(SIZE, outputs)


def figures(audit: Audit) -> dict[str, Any]:
    """Of all stages and of each."""
    waits = Counter(f"{wait.where}: {wait.what}" for wait in audit.waits)
    stages = {
        name: {"launches": cost.launches, "mb": mb(cost.read + cost.written), "fetched_mb": mb(cost.fetched)}
        for name, cost in audit.stages.items()
    }
    total = audit.total
    summary = {"waits": len(audit.waits), "launches": total.launches, "mb": mb(total.read + total.written)}
    summary["fetched_mb"] = mb(total.fetched)
    return {"total": summary, "stages": stages, "waits": dict(waits)}


def mb(count: int) -> float:
    """Of bytes."""
    return round(count / 1e6, 1)


def kernels(network: RefinerNet) -> list[dict[str, Any]]:
    """Registers, spills and shared memory of each kernel on each processor."""
    told = []
    for launch in launches_of(network):
        entry: dict[str, Any] = {"kernel": launch.name}
        if launch.name == "convolve":
            names = ("CHANNELS", "OUTPUTS", "TAPS", "SLOTS", "PACKED")
            entry["form"] = {name.lower(): launch.constants[name] for name in names}
        for architecture in ARCHITECTURES:
            entry[f"sm_{architecture}"] = asdict(resources(machine_code(launch, architecture)))
        told.append(entry)
        print(entry["kernel"], entry[f"sm_{ARCHITECTURES[0]}"], flush=True)
    return told


if __name__ == "__main__":
    main()
