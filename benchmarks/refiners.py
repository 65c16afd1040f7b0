#!/usr/bin/env python3
"""All refiners by the same yardstick: the same coarse maps, the same budget, the same measures; the tables of docs/refiners.md.

    OMP_NUM_THREADS=1 python benchmarks/refiners.py --json benchmarks/results/refiners.json --docs docs/refiners.md \\
        --set 'another renderer 518' FRAMES COARSE518 --set 'another renderer 256' FRAMES COARSE256
    python benchmarks/refiners.py prv2 urgt=URGT.safetensors …

Refiners are those of the registry, or NAME=FILE; frames and coarse maps as ``depth-retrofit evaluate --coarse`` takes them, or in
the place of maps the name of a bundled model, whose features refiners see, which files seldom have. What is
stored already is kept where the checkpoint and the frames are the same: a run that was stopped goes on, and a new checkpoint is
measured alone. ``--again`` measures what is asked for once more.

    python benchmarks/refiners.py --ablations full=A.safetensors unguided=B.safetensors … --json OUT --set …

evaluates variants of refiners on the same sets, beside those of the method itself: random selection, and replacement without the
gate. It keeps other systems' rows of OUT.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from refiner_table import accuracy, cost, document
from refiner_table.accuracy import FrameSet
from refiner_table.seams import seams
from refiner_table.systems import BESIDE, REPLACING, System, folder_system, is_here, retrofit_variants, systems

from depth_retrofit_ros.errors import DepthRetrofitError
from depth_retrofit_ros.evaluation.metrics.alignment import MODES
from depth_retrofit_ros.evaluation.report.results import Entry
from depth_retrofit_ros.evaluation.report.summary import machine
from depth_retrofit_ros.io.depth_files import write_text

FRAME, LARGE = (1440, 2560), ("3840x2160", "7680x4320")
PARTS = ("accuracy", "seams", "normals", "flicker", "speed", "memory", "predicted")
UPSAMPLING = {"bilinear": "bilinear", "guided": "guided", "jbu": "jbu", "base": BESIDE}  # as ``cost.memory`` takes them
Say = Callable[[str], None]


def main() -> int:
    """Measure what is missing, store it, and make the tables; returns the exit code."""
    args = parser().parse_args()
    torch.set_num_threads(args.threads)
    if args.memory_of:
        chosen, size = args.memory_of
        print(json.dumps(cost.memory_here(chosen, cost.camera_size(size), args.budget)))
        return 0
    try:
        if args.ablations is not None and args.docs is not None:
            raise DepthRetrofitError("--docs goes with the refiners' own --json: leave it out beside --ablations")
        sets = [FrameSet(name, Path(frames), coarse, args.frames) for name, frames, coarse in args.set]
        if args.ablations is not None:
            ablate(args, sets)
        else:
            measure(args, sets)
        if args.docs is not None:
            stored, ablations = (read(path, empty) for path, empty in ((args.json, {}), (args.ablations_json, [])))
            write_text(args.docs, document.filled(args.docs.read_text(encoding="utf-8"), stored, ablations))
    except DepthRetrofitError as error:
        print(f"refiners: error: {error}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument(
        "refiners", nargs="*", metavar="NAME[=FILE]", help="of the registry, or checkpoints (default: all that are here)"
    )
    out.add_argument("--set", nargs=3, action="append", default=[], metavar=("NAME", "FRAMES", "COARSE"))
    out.add_argument("--frames", type=int, default=3, help="of each set at most (default: 3)")
    out.add_argument("--json", type=Path, required="--memory-of" not in sys.argv, metavar="OUT")
    out.add_argument("--ablations", nargs="*", metavar="NAME=PATH", help="checkpoints of variants, or folders with one each")
    out.add_argument("--ablations-json", type=Path, default=Path("benchmarks/results/refiner_ablations.json"), help="of --docs")
    out.add_argument("--docs", type=Path, metavar="FILE", help="whose tables are made anew of what is stored")
    out.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    out.add_argument("--again", action="store_true", help="measure the parts of these refiners though they are stored")
    out.add_argument("--quick", action="store_true", help="small frames where times, memory and flicker are measured")
    out.add_argument("--align", choices=MODES, default="median")
    out.add_argument("--budget", type=float, default=0.1, help="share of the pixels that are refined (default: 0.1)")
    out.add_argument("--threads", type=int, default=2)
    out.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    return out


def measure(args: argparse.Namespace, sets: list[FrameSet]) -> None:
    """All parts of all refiners, each stored when it is done."""
    document_ = read(args.json, {"baselines": {}, "upsampling": {}, "refiners": {}})
    document_["machine"] = f"{machine()}, {args.threads} threads, torch {torch.__version__}"
    document_["budget"], document_["align"] = args.budget, args.align
    chosen, missing = systems(args.refiners)
    for name, why in missing.items():
        say(f"{name} is left out: {why}")
    for system in chosen:
        checkpoint = system.checkpoint()
        entry = document_["refiners"].get(system.name, {})
        if entry.get("checkpoint") != checkpoint:
            entry = {"checkpoint": checkpoint, "accuracy": {}}
        document_["refiners"][system.name] = entry
        for _ in parts_of(system, entry, args, sets):
            store(args.json, document_)
    if chosen and "accuracy" in args.parts:
        for frames in sets:
            if document_["baselines"].get(frames.name, {}).get("frames") != frames.names():
                say(f"baselines: {frames.name}")
                document_["baselines"][frames.name] = accuracy.baselines(chosen[0], frames, args.budget, args.align)
                store(args.json, document_)
    for name, given in UPSAMPLING.items():
        entry = document_["upsampling"].setdefault(name, {})
        if "speed" in args.parts and "speed" not in entry:
            entry["speed"] = cost.upsampling_speed(name, small(args, FRAME))
        if "memory" in args.parts and "memory" not in entry:
            say(f"{name}: memory")
            entry["memory"] = memory(given, args)
    store(args.json, document_)


def parts_of(system: System, entry: Entry, args: argparse.Namespace, sets: list[FrameSet]) -> Iterator[str]:
    """Measures each part that ``entry`` lacks, and says so when it has it."""
    evaluator = None
    for frames in sets if "accuracy" in args.parts else ():
        if args.again or entry["accuracy"].get(frames.name, {}).get("frames") != frames.names():
            say(f"{system.name}: {frames.name}")
            evaluator = evaluator or accuracy.evaluator_of(system, args.budget, args.align)
            entry["accuracy"][frames.name] = accuracy.accuracy(evaluator, frames)
            yield frames.name
    ways: dict[str, Callable[[], Any]] = {
        "seams": lambda: seams(system, first(sets), args.budget),
        "normals": lambda: all_normals(system, sets, args.budget),
        "flicker": lambda: cost.flicker(system, small(args, (720, 1280)), args.budget, 4),
        "speed": lambda: cost.speed(system, small(args, FRAME), args.budget, 2.0 if args.quick else 30.0),
        "memory": lambda: memory(system.chosen, args),
        "predicted": lambda: cost.predicted(system),
    }
    for part, way in ways.items():
        if part not in args.parts or (part in entry and not args.again) or (part in ("seams", "normals") and not sets):
            continue
        say(f"{system.name}: {part}")
        entry[part] = way()
        yield part


def ablate(args: argparse.Namespace, sets: list[FrameSet]) -> None:
    """The rows of variants: of the method itself, and of the checkpoints."""
    rows: list[Entry] = read(args.json, [])
    own = [variant for name in REPLACING if is_here(name) for variant in retrofit_variants(name)]
    for system in [*own, *map(folder_system, args.ablations)]:
        checkpoint = system.checkpoint()
        name = checkpoint["refiner"]
        of = {frames.name: frames.names() for frames in sets}
        same = {"system": name, "variant": system.name, "checkpoint": checkpoint, "frames": of}
        at = next((i for i, row in enumerate(rows) if (row["system"], row["variant"]) == (name, system.name)), None)
        if at is not None and not args.again and all(rows[at].get(key) == value for key, value in same.items()):
            continue
        say(f"{name}: {system.name}")
        evaluator = accuracy.evaluator_of(system, args.budget, args.align)
        by_set = {frames.name: accuracy.accuracy(evaluator, frames) for frames in sets}
        figures = document.overall(by_set, "refined")
        row = same | {"figures": figures | (seams(system, first(sets), args.budget) or {})}
        rows[len(rows) if at is None else at : len(rows) if at is None else at + 1] = [row]
        store(args.json, rows)


def all_normals(system: System, sets: list[FrameSet], budget: float) -> Entry | None:
    """By set; None for a refiner that gives none."""
    found = {frames.name: accuracy.normals(system, frames, budget) for frames in sets}
    return {name: row for name, row in found.items() if row is not None} or None


def memory(chosen: str, args: argparse.Namespace) -> Entry:
    """By size."""
    sizes = ("640x360",) if args.quick else LARGE
    return {size: cost.memory(chosen, cost.camera_size(size), args.budget, args.threads) for size in sizes}


def first(sets: list[FrameSet]) -> FrameSet:
    """Of which one frame is enough. Raises DepthRetrofitError."""
    if not sets:
        raise DepthRetrofitError("no frames: give --set NAME FRAMES COARSE")
    return FrameSet(sets[0].name, sets[0].frames, sets[0].coarse, 1)


def small(args: argparse.Namespace, size: tuple[int, int]) -> tuple[int, int]:
    """The size, or an eighth of its pixels and less."""
    return (size[0] // 4, size[1] // 4) if args.quick else size


def read(path: Path, empty: Any) -> Any:
    """A document, ``empty`` where there is none yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else empty


def store(path: Path, document_: Any) -> None:
    """Whole or not at all, in four digits."""
    write_text(path, json.dumps(rounded(document_), indent=1, allow_nan=False) + "\n")


def rounded(value: Any) -> Any:
    """With numbers of four digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list | tuple) else value


def say(text: str) -> None:
    """Progress, for people."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
