"""``depth-retrofit evaluate``: the method against its baselines on images with true depth."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depth_retrofit_ros.cli.coarse_maps import add_coarse_maps_options, check_coarse_maps_options, read_coarse_map
from depth_retrofit_ros.cli.options import add_model_options, check_coarse_options, chosen_model, chosen_preset, positive
from depth_retrofit_ros.errors import ImageError

if TYPE_CHECKING:
    from depth_retrofit_ros.cli import Subparsers
    from depth_retrofit_ros.coarse.base import CoarseModel
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
    add_coarse_maps_options(parser)
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate every pair. Returns 1 where memory ran out for some; the others are done."""
    check_coarse_maps_options(args)
    from depth_retrofit_ros.coarse.stored import StoredCoarse
    from depth_retrofit_ros.device.choice import pick_device
    from depth_retrofit_ros.device.faults import is_out_of_memory
    from depth_retrofit_ros.evaluation.data.dataset import find_pairs, read_pair
    from depth_retrofit_ros.evaluation.evaluator import Evaluator, with_oracles
    from depth_retrofit_ros.evaluation.report.page import Report
    from depth_retrofit_ros.evaluation.report.results import class_table, image_entry, summarize, table, to_json
    from depth_retrofit_ros.io.depth_files import make_folder, write_text
    from depth_retrofit_ros.loading import load_second
    from depth_retrofit_ros.refinement.registry import load_refiner

    check_coarse_options(args)
    pairs = find_pairs(args.folder)
    for path in filter(None, (args.json, args.html)):
        make_folder(path.parent)
    source = CoarseSource(args)
    print(
        f"{len(pairs)} images; coarse depth: {source.name}; alignment: {args.align}; of each image: bilinear -> refined", flush=True
    )
    far = float("inf") if args.max_depth is None else args.max_depth
    preset = chosen_preset(args)
    refiner = load_refiner(preset.refiner, pick_device(args.device), args.engine, args.refiner_precision)
    first, by_engine = "" if args.coarse else source.name, (args.coarse_engine, args.allow_download)
    second = load_second(preset.name, args.selector, args.second_model, first, args.device, *by_engine)
    evaluator = Evaluator(refiner, args.budget, args.align, (args.min_depth, far), preset, second)
    report, entries, relative, remarks, selected = Report(), [], 0, Counter[str](), Counter[str]()
    refined, bounded = [], 0
    for pair in pairs:
        start = time.perf_counter()
        try:
            coarse = source(pair)
            result = evaluator(read_pair(pair), coarse)
            result = with_oracles(result) if args.oracles else result
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            print(f"depth-retrofit: error: {pair.name} {_TOO_LARGE}", file=sys.stderr)
            continue
        if args.html is not None:
            report.add(result)
        entries.append(image_entry(result))
        if isinstance(coarse, StoredCoarse):
            remarks.update(coarse.remarks)
            selected.update(filter(None, [coarse.selected_by(args.second_model)]))
        refined.append(float(result.selected.mean()))
        bounded += result.left_out > 0
        relative += coarse.claim.source(trust_scale=False) is None
        _print_line(entries[-1], time.perf_counter() - start)
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
    document = summarize(entries, facts(args, source.name, str(coarse.device)) | {"notes": notes})
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


class CoarseSource:
    """Where the coarse depth of a pair comes from: one model for all, or a file for each."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._model = None if args.coarse else _load(args)
        self.name = f"files in {args.coarse.resolve().name}" if self._model is None else self._model.name

    def __call__(self, pair: Pair) -> CoarseModel:
        """Raises DatasetError for a file that is missing or not a coarse map."""
        from depth_retrofit_ros.device.choice import pick_device

        return self._model or read_coarse_map(self._args, pair.name, pick_device(self._args.device))

    def notes(self) -> dict[str, str]:
        """What a reader of the figures must know of this source."""
        from depth_retrofit_ros.evaluation.baselines.equal_time import is_resizable

        if self._model is None:
            return {
                "equal_time": "not applicable: stored coarse maps cannot be made again at a higher resolution",
                "ms": "without the coarse model, whose output was stored",
            }
        if is_resizable(self._model):
            return {}
        return {"equal_time": f"not applicable: the input size of {self.name} is fixed"}


def _load(args: argparse.Namespace) -> CoarseModel:
    from depth_retrofit_ros.coarse.registry import load_coarse

    return load_coarse(
        chosen_model(args),
        weights=args.weights,
        device=args.device,
        size=args.coarse_size,
        allow_download=args.allow_download,
        engine=args.coarse_engine,
        precision=args.coarse_precision,
    )


def facts(args: argparse.Namespace, source: str, device: str) -> dict[str, Any]:
    """How it was run."""
    return {
        "align": args.align,
        "budget": args.budget,
        "model": source,
        "selector": args.selector if args.second_model is None else f"{args.selector} with {args.second_model}",
        "device": device,
        "valid_m": [args.min_depth, args.max_depth],
    }


def _print_line(entry: dict[str, Any], seconds: float) -> None:
    before, after = entry["methods"]["bilinear"], entry["methods"]["refined"]
    pairs = ((name, before[name], after[name]) for name in ("edge_abs_rel", "flat_abs_rel", "see", "boundary_f1"))
    text = ", ".join(f"{name} " + ("unknown" if a is None or b is None else f"{a:.4f} -> {b:.4f}") for name, a, b in pairs)
    print(f"{entry['name']}: {text} ({seconds:.1f} s)", flush=True)
