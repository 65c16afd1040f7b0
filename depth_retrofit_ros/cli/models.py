"""``depth-retrofit models``: what can be had, under which licence, and whether it is here; and the sparse backends."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from depth_retrofit_ros.cli import Subparsers


METRIC_FOR = {"camera": "any camera", "one camera": "one camera", "domain": "its domain", "file": "its file", "never": "-"}


def add_parser(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("models", help="list the coarse models (license, size, how to get them) and the sparse backends")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the tables; JSON has the models."""
    from depth_retrofit_ros.coarse.registry import MODELS, is_present
    from depth_retrofit_ros.sparse.backends.registry import BACKENDS, is_installed

    here = {name: is_present(info) for name, info in MODELS.items()}
    if args.json:
        fields = ("parameters", "size_mb", "description", "how_to_get")
        rows = [
            {
                "name": name,
                "licence": info.license,
                **{field: getattr(info, field) for field in fields},
                "metric": info.claim.word == "camera",  # without a condition; "scale" has the others
                "scale": asdict(info.claim),
                "present": here[name],
            }
            for name, info in MODELS.items()
        ]
        print(json.dumps(rows, indent=2))
        return 0
    table = [("name", "licence", "parameters", "size", "depth", "metric for", "present")]
    for name, info in MODELS.items():
        parameters, size = f"{info.parameters / 1e6:.2f} M", f"{info.size_mb:.1f} MB"
        table.append(
            (name, info.license, parameters, size, info.claim.kind, METRIC_FOR[info.claim.word], "yes" if here[name] else "no")
        )
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print()
    for name, info in MODELS.items():
        print(f"{name}: {info.description}; {info.claim}")
        if not here[name]:
            print(f"  to get it: {info.how_to_get}")
    print("\nsparse backends (--engine; auto is triton on CUDA, torch where that is not installed, cpu on a CPU):")
    for name, backend in BACKENDS.items():
        print(f"{name}: {backend.description}")
        if not is_installed(backend):
            print(f"  not installed; to get it: {backend.how_to_get}")
    return 0
