"""``depth-retrofit evaluate``: the method against its baselines on images with true depth."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depth_retrofit_ros.cli.coarse_maps import add_coarse_maps_options, check_coarse_maps_options
from depth_retrofit_ros.cli.evaluate_pairs import CoarseSource, PairFigures, PairTask, PairWork
from depth_retrofit_ros.cli.options import (
    add_model_options,
    add_temporal_option,
    add_worker_options,
    check_coarse_options,
    chosen_model,
    chosen_preset,
    make_chosen_engine,
    make_paths_whole,
    positive,
    worker_device,
)
from depth_retrofit_ros.errors import ImageError, ModelError, UsageError

if TYPE_CHECKING:
    from depth_retrofit_ros.cli import Subparsers
    from depth_retrofit_ros.evaluation.data.dataset import Pair

ALIGNMENTS = ("none", "median", "scale-shift")
SHOWN = ("edge_abs_rel", "flat_abs_rel", "see", "boundary_f1", "abs_rel", "delta1", "ms")
_TOO_LARGE = "does not fit into memory: lower --budget, or scale the images and their depth down"


def add_parser(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="accuracy on images with true depth, beside other ways to upsample the same coarse map",
        description="The metrics and the baselines are defined in docs/evaluation.md.",
    )
    parser.add_argument(
        "folder",
        type=Path,
        metavar="DIR",
        help="pairs NAME.jpg|png and NAME.npz (depth [H, W] m, NaN unknown, inf sky; fx fy cx cy)",
    )
    parser.add_argument(
        "--align",
        choices=ALIGNMENTS,
        default="median",
        help="of each depth map with the truth before it is measured (default: median)",
    )
    parser.add_argument("--oracles", action="store_true", help="also what a perfect refiner would reach; a few seconds per image")
    parser.add_argument("--json", type=Path, metavar="OUT", help="the figures as a JSON file")
    parser.add_argument("--html", type=Path, metavar="OUT", help="a report with pictures, one self-contained file")
    parser.add_argument(
        "--min-depth", type=positive, default=1e-3, metavar="M", help="nearer true depths count as unknown (default: 0.001)"
    )
    parser.add_argument("--max-depth", type=positive, metavar="M", help="farther true depths count as unknown (default: none does)")
    told = "leave out what a clock decides, ms and the equal-time baseline: the JSON is repeatable, as with --on"
    parser.add_argument("--no-times", action="store_true", help=told)
    add_worker_options(parser, None)
    add_coarse_maps_options(parser)
    add_model_options(parser)
    add_temporal_option(parser)
    told = "with --temporal on: the images are one video, in the order of their names, so many a second (default: 10)"
    parser.add_argument("--fps", type=positive, metavar="HZ", help=told)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate every pair. Returns 1 where memory ran out for some; the others are done."""
    check_coarse_maps_options(args)
    from depth_retrofit_ros.device.choice import pick_device
    from depth_retrofit_ros.evaluation.data.dataset import find_pairs
    from depth_retrofit_ros.evaluation.report.page import Report
    from depth_retrofit_ros.evaluation.report.results import class_table, summarize, table, to_json
    from depth_retrofit_ros.io.depth_files import make_folder, write_text
    from depth_retrofit_ros.retrofit import no_temporal

    check_coarse_options(args)
    video = args.temporal == "on"
    if args.fps is not None and not video:
        raise UsageError("--fps is of a video: leave it out, or give --temporal on")
    if video and args.on is not None:
        raise UsageError("with --temporal on the images are one video, which one process answers: leave --on out, or that")
    if video and (reason := no_temporal(pick_device(args.device))):
        raise ModelError(reason)
    if args.on is not None:
        make_paths_whole(args, "folder", "coarse")
    pairs = find_pairs(args.folder)
    for path in filter(None, (args.json, args.html)):
        make_folder(path.parent)
    if not args.coarse:
        args.model = chosen_model(args)
    args.no_times |= args.on is not None
    if args.on is not None:
        args.device = worker_device(args)
    work = None if args.on is not None else PairWork(args)
    source = CoarseSource(args) if work is None else work.source
    print(
        f"{len(pairs)} images; coarse depth: {source.name}; alignment: {args.align}; of each image: bilinear -> refined", flush=True
    )
    preset = chosen_preset(args)
    report, remarks, selected = Report(), Counter[str](), Counter[str]()
    entries: list[dict[str, Any]] = []
    refined: list[float] = []
    bounded = relative = 0
    names = iter(pairs)

    def take(figures: PairFigures | None) -> None:
        nonlocal bounded, relative
        name = next(names).name
        if figures is None:
            print(f"depth-retrofit: error: {name} {_TOO_LARGE}", file=sys.stderr)
            return
        if figures.pictures is not None:
            report.add(name, figures.pictures)
        entries.append(figures.entry)
        remarks.update(figures.remarks)
        selected.update(filter(None, [figures.selected_by]))
        refined.append(figures.refined)
        bounded += figures.bounded
        relative += figures.relative
        _print_line(entries[-1], figures.seconds)

    _each(args, work, pairs, take)
    if not entries:
        raise ImageError(f"none of the {len(pairs)} images is evaluated: each {_TOO_LARGE}")
    notes = source.notes()
    if len(entries) < len(pairs):
        notes["memory"] = f"{len(pairs) - len(entries)} of {len(pairs)} images did not fit into memory and are left out"
    for how, count in selected.items():
        notes["selection"] = f"{how} for {count} of {len(pairs)} images: their files have no features"
    if remarks:
        notes["coarse_maps"] = "; ".join(f"{count} of {len(pairs)}: {remark}" for remark, count in remarks.most_common())
    if preset.name != "default":
        notes["preset"] = (
            f"{preset.name}: {sum(refined) / len(refined):.1%} of the pixels are refined on average, "
            f"{min(refined):.1%} to {max(refined):.1%}; in {bounded} of {len(refined)} images more are uncertain, beyond the bound"
        )
    if relative and args.align == "none":
        notes["align"] = (
            f"{relative} of {len(pairs)} coarse maps do not claim metres by themselves, yet are measured so: see --align"
        )
    device = str(pick_device(args.device)) if args.on is None or args.device == "cpu" else "cuda:0"  # of what each worker sees
    document = summarize(entries, facts(args, source.name, device) | {"notes": notes})
    print(f"\n{table(document, SHOWN)}\n\nmean |ln depth - ln truth| by class of pixels\n{class_table(document)}\n")
    if stated := document["summary"]["confidence"]:
        shown = (f"{name} " + ("unknown" if value is None else f"{value:.3f}") for name, value in stated.items())
        print(f"confidence of the refined depth (docs/confidence.md): {', '.join(shown)}\n")
    for name, text in document["summary"]["notes"].items():
        print(f"{name}: {text}")
    if args.json is not None:
        write_text(args.json, to_json(document))
    if args.html is not None:
        write_text(args.html, report.html(document))
    if written := [str(path) for path in (args.json, args.html) if path is not None]:
        print(f"written: {', '.join(written)}")
    return 0 if len(entries) == len(pairs) else 1


def _each(args: argparse.Namespace, work: PairWork | None, pairs: list[Pair], take: Callable[[PairFigures | None], None]) -> None:
    """work: None where workers have theirs. take: is given the figures of each pair, in order."""
    tasks = [PairTask(number, pair) for number, pair in enumerate(pairs)]
    if work is not None:
        for task in tasks:
            take(work.run(task))
        return
    from depth_retrofit_ros.batch.engines import cpus
    from depth_retrofit_ros.batch.schedule import run_in_order

    settings = {name: value for name, value in vars(args).items() if name != "run"}
    with make_chosen_engine(args, args.threads or cpus(), "depth_retrofit_ros.cli.evaluate_pairs:pair_work", settings) as engine:
        run_in_order(engine, tasks, take)


def facts(args: argparse.Namespace, source: str, device: str) -> dict[str, Any]:
    """How it was run."""
    return {
        "align": args.align,
        "budget": args.budget,
        "model": source,
        "selector": args.selector if args.second_model is None else f"{args.selector} with {args.second_model}",
        "temporal": args.temporal,
        "device": device,
        "valid_m": [args.min_depth, args.max_depth],
    }


def _print_line(entry: dict[str, Any], seconds: float) -> None:
    before, after = entry["methods"]["bilinear"], entry["methods"]["refined"]
    pairs = ((name, before[name], after[name]) for name in ("edge_abs_rel", "flat_abs_rel", "see", "boundary_f1"))
    text = ", ".join(f"{name} " + ("unknown" if a is None or b is None else f"{a:.4f} -> {b:.4f}") for name, a, b in pairs)
    print(f"{entry['name']}: {text} ({seconds:.1f} s)", flush=True)
