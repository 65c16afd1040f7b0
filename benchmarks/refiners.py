#!/usr/bin/env python3
"""All refiners by the same yardstick: the same coarse maps, the same budget, the same measures; the tables of docs/refiners.md.

    OMP_NUM_THREADS=1 python benchmarks/refiners.py --json benchmarks/results/refiners.json --docs docs/refiners.md \\
        --set 'another renderer 518' FRAMES COARSE518 --set 'another renderer 256' FRAMES COARSE256
    python benchmarks/refiners.py prv2 urgt=URGT.safetensors …

Refiners are those of the registry, or NAME=FILE; frames and coarse maps as ``depth-retrofit evaluate --coarse`` takes them, or in
the place of maps the name of a bundled model, whose features refiners see, which files seldom have. What is stored already is kept
where it is of the same checkpoint, frames, coarse maps (by their contents), budget, alignment and preset: a run that was stopped
goes on, and a new checkpoint is measured alone. Beside each part stands the machine that measured it. ``--again`` measures what is
asked for once more.

    python benchmarks/refiners.py --ablations full=A.safetensors unguided=B.safetensors … --json OUT --set …

evaluates variants of refiners on the same sets, beside those of the method itself: random selection, and replacement without the
gate. It keeps other systems' rows of OUT.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from refiner_table import accuracy, cost, document
from refiner_table.accuracy import FrameSet
from refiner_table.seams import seams
from refiner_table.stored import Store, read
from refiner_table.systems import BESIDE, REPLACING, System, folder_system, is_here, retrofit_variants, systems

from depth_retrofit_ros.bench.timing import rounded
from depth_retrofit_ros.errors import DepthRetrofitError
from depth_retrofit_ros.evaluation.metrics.alignment import MODES
from depth_retrofit_ros.evaluation.report.results import Entry
from depth_retrofit_ros.io.depth_files import write_text

FRAME, LARGE = (1440, 2560), ("3840x2160", "7680x4320")
STILLS = 4  # frames of a camera at rest
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
    out.add_argument("--frames", type=int, default=3, help="of each set at most, drawn by lot over its kinds (default: 3)")
    out.add_argument("--json", type=Path, required="--memory-of" not in sys.argv, metavar="OUT")
    out.add_argument("--ablations", nargs="*", metavar="NAME=PATH", help="checkpoints of variants, or folders with one each")
    out.add_argument("--ablations-json", type=Path, default=Path("benchmarks/results/refiner_ablations.json"), help="of --docs")
    out.add_argument("--docs", type=Path, metavar="FILE", help="whose tables are made anew of what is stored")
    out.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    out.add_argument("--again", action="store_true", help="measure what is asked for though it is stored, baselines included")
    out.add_argument("--quick", action="store_true", help="small frames where times, memory and flicker are measured")
    out.add_argument("--align", choices=MODES, default="median")
    out.add_argument("--budget", type=float, default=0.1, help="share of the pixels that are refined (default: 0.1)")
    out.add_argument("--threads", type=int, default=2)
    out.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    return out


def measure(args: argparse.Namespace, sets: list[FrameSet]) -> None:
    """All parts of all refiners, each stored when it is done."""
    store = Store(args.json, {"baselines": {}, "upsampling": {}, "refiners": {}}, args.threads, args.again)
    document_ = store.document
    chosen, missing = systems(args.refiners)
    for name, why in missing.items():
        say(f"{name} is left out: {why}")
    for system in chosen:
        checkpoint = system.checkpoint()
        if document_["refiners"].get(system.name, {}).get("checkpoint") != checkpoint:
            document_["refiners"][system.name] = {"checkpoint": checkpoint, "accuracy": {}}
        entry = document_["refiners"][system.name]
        measure_sets(system, entry, args, sets, store)
        measure_costs(system, entry, args, store)
    for frames in sets if chosen and "accuracy" in args.parts else ():
        of = frames.identity | {"budget": args.budget, "align": args.align}
        if store.lacks(document_["baselines"], frames.name, of):
            say(f"baselines: {frames.name}")
            figures = accuracy.baselines(chosen[0], frames, args.budget, args.align)
            store.put(document_["baselines"], frames.name, of, figures)
    for name, given in UPSAMPLING.items():
        entry, size = document_["upsampling"].setdefault(name, {}), small(args, FRAME)
        if "speed" in args.parts and store.lacks(entry, "speed", of := {"size": list(size)}):
            say(f"{name}: speed")
            store.put(entry, "speed", of, cost.upsampling_speed(name, size))
        if "memory" in args.parts:
            measure_memory(name, given, entry.setdefault("memory", {}), {}, args, store)
    store.write()


def measure_sets(system: System, entry: Entry, args: argparse.Namespace, sets: list[FrameSet], store: Store) -> None:
    """What is measured on frames, by set."""
    evaluator = None
    usual = {"budget": args.budget, "preset": system.preset().name}
    for frames in sets:
        of = frames.identity | usual | {"align": args.align}
        if "accuracy" in args.parts and store.lacks(entry["accuracy"], frames.name, of):
            say(f"{system.name}: {frames.name}")
            evaluator = evaluator or accuracy.evaluator_of(system, args.budget, args.align)
            store.put(entry["accuracy"], frames.name, of, accuracy.accuracy(evaluator, frames))
    ways: dict[str, Callable[[FrameSet], Entry | None]] = {
        "seams": lambda frames: seams(system, frames, args.budget),
        "normals": lambda frames: accuracy.normals(system, frames, args.budget),
    }
    for part, way in ways.items():
        for frames in sets if part in args.parts else ():
            place, of = entry.setdefault(part, {}), frames.identity | usual
            if store.lacks(place, frames.name, of):
                say(f"{system.name}: {part}, {frames.name}")
                store.put(place, frames.name, of, way(frames))


def measure_costs(system: System, entry: Entry, args: argparse.Namespace, store: Store) -> None:
    """What no frames are needed for."""
    usual: Entry = {"budget": args.budget, "preset": system.preset().name}
    still, large = small(args, (720, 1280)), small(args, FRAME)
    seconds = 2.0 if args.quick else 30.0
    ways: dict[str, tuple[Entry, Callable[[], Entry]]] = {
        "flicker": (
            usual | {"size": list(still), "frames": STILLS},
            lambda: cost.flicker(system, still, args.budget, STILLS),
        ),
        "speed": (usual | {"size": list(large)}, lambda: cost.speed(system, large, args.budget, seconds)),
        "predicted": ({"preset": usual["preset"]}, lambda: cost.predicted(system)),
    }
    for part, (of, way) in ways.items():
        if part in args.parts and store.lacks(entry, part, of):
            say(f"{system.name}: {part}")
            store.put(entry, part, of, way())
    if "memory" in args.parts:
        measure_memory(system.name, system.chosen, entry.setdefault("memory", {}), usual, args, store)


def measure_memory(name: str, chosen: str, place: Entry, of: Entry, args: argparse.Namespace, store: Store) -> None:
    """By size."""
    for size in ("640x360",) if args.quick else LARGE:
        if store.lacks(place, size, of):
            say(f"{name}: memory, {size}")
            store.put(place, size, of, cost.memory(chosen, cost.camera_size(size), args.budget, args.threads))


def ablate(args: argparse.Namespace, sets: list[FrameSet]) -> None:
    """The rows of variants: of the method itself, and of the checkpoints."""
    store = Store(args.json, [], args.threads, args.again)
    rows: list[Entry] = store.document
    own = [variant for name in REPLACING if is_here(name) for variant in retrofit_variants(name)]
    chosen = [*own, *map(folder_system, args.ablations)]
    if not sets:
        raise DepthRetrofitError("no frames: give --set NAME FRAMES COARSE")
    for system in chosen:
        checkpoint = system.checkpoint()
        name, usual = checkpoint["refiner"], {"budget": args.budget, "align": args.align, "preset": system.preset().name}
        of: Entry = {frames.name: frames.identity | usual for frames in sets}
        same = rounded({"system": name, "variant": system.name, "checkpoint": checkpoint, "of": of})
        at = next((i for i, row in enumerate(rows) if (row["system"], row["variant"]) == (name, system.name)), None)
        if at is not None and not args.again and all(rows[at].get(key) == value for key, value in same.items()):
            continue
        say(f"{name}: {system.name}")
        evaluator = accuracy.evaluator_of(system, args.budget, args.align)
        by_set = {frames.name: {"of": of[frames.name], **accuracy.accuracy(evaluator, frames)} for frames in sets}
        tiled = {frames.name: {"of": of[frames.name], **(seams(system, frames, args.budget) or {})} for frames in sets}
        row = same | {"by": store.by(), "figures": document.overall(by_set, "refined") | document.overall_seams(tiled)}
        rows[len(rows) if at is None else at : len(rows) if at is None else at + 1] = [row]
        store.write()


def small(args: argparse.Namespace, size: tuple[int, int]) -> tuple[int, int]:
    """The size, or an eighth of its pixels and less."""
    return (size[0] // 4, size[1] // 4) if args.quick else size


def say(text: str) -> None:
    """Progress, for people."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
