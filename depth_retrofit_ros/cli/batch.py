"""``depth-retrofit batch``: many images, videos and bags, by several workers on this machine or on a cluster."""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depth_retrofit_ros.batch.defaults import PART_S, RETRIES
from depth_retrofit_ros.cli.options import (
    add_camera_options,
    add_model_options,
    add_temporal_option,
    add_trust_option,
    add_worker_options,
    check_camera_options,
    chosen_model,
    given_camera,
    make_chosen_engine,
    make_paths_whole,
    model_settings,
    positive,
    positive_int,
    worker_device,
)
from depth_retrofit_ros.errors import DepthRetrofitError, UsageError

if TYPE_CHECKING:
    from depth_retrofit_ros.batch.inputs import Item
    from depth_retrofit_ros.batch.run import Counts
    from depth_retrofit_ros.batch.settings import BatchSettings
    from depth_retrofit_ros.cli import Subparsers
    from depth_retrofit_ros.cli.progress import Progress

FORMATS = ("png", "npz", "bag")
_OF_KINDS = {
    ("image",): ("sparse_depth",),
    ("image", "video"): ("hfov", "fx"),
    ("video", "bag"): ("frames",),
    ("bag",): ("image_topic", "info_topic", "rectify", "depth_topic", "part"),
}
"""Options that only such inputs take."""


def add_parser(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "batch",
        help="depth of many images, videos and bags, by several workers: on this machine, or on a cluster by Ray",
        description="Answers every frame of what is given as image, video and replay --every-frame do, each input once. What comes "
        "out, and what runs where, is told in docs/scale.md.",
    )
    told = "image, video, bag, folder with these, or a pattern in quotes; of this machine, or sftp://, s3://, gs://"
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help=told)
    parser.add_argument("--out", required=True, metavar="URI", help="folder for the results, of this machine or remote")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out: what is done is not done again")
    told = f"of an input whose worker ended, or whose store broke off (default: {RETRIES})"
    parser.add_argument("--retries", type=_count, default=RETRIES, metavar="N", help=told)
    add_worker_options(parser)
    results = parser.add_argument_group("results")
    told = "16-bit PNG, float32 .npz, or of bags alone, an MCAP bag of each with depth and points (default: png)"
    results.add_argument("--depth", choices=FORMATS, default="png", help=told)
    results.add_argument(
        "--confidence", action="store_true", help="probability that a pixel is within 5 %% of the truth, too, as 8-bit PNG"
    )
    results.add_argument("--normals", action="store_true", help="surface normals, too, as .npz, where the camera is known")
    results.add_argument("--frames", type=positive_int, metavar="N", help="only the first N of each video and bag")
    told = "for a model that takes it: a folder with a sensor's depth of each image as NAME.png (16-bit, mm, 0 unknown)"
    parser.add_argument("--sparse-depth", type=Path, metavar="DIR3", help=told)
    bags = parser.add_argument_group("bags")
    bags.add_argument("--image-topic", metavar="TOPIC", help="images, raw or compressed (default: the only ones)")
    bags.add_argument("--info-topic", metavar="TOPIC", help="their camera_info (default: the one beside the images); none: without")
    told = "the images by their camera_info: see docs/cameras.md (default: auto)"
    bags.add_argument("--rectify", choices=("auto", "true", "false", "points"), help=told)
    told = "depth aligned to the images, to compare with; the accuracy of each frame is in the table"
    bags.add_argument("--depth-topic", metavar="GT", help=told)
    told = "how far its stamp may be from the image's (default: 0.02)"
    bags.add_argument("--tolerance", type=positive, metavar="S", help=told)
    told = "of depth with GT before it is measured, per frame (default: median)"
    bags.add_argument("--align", choices=("none", "median", "scale-shift"), help=told)
    told = f"that a worker takes of a bag at once; with --depth bag or --depth-topic, all of it (default: {PART_S:g})"
    bags.add_argument("--part", type=positive, metavar="S", help=told)
    add_camera_options(parser)
    add_model_options(parser)
    add_trust_option(parser)
    add_temporal_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns 1 where some input failed; the others are done."""
    check_camera_options(args)
    if args.sparse_depth is not None and not args.sparse_depth.is_dir():
        raise UsageError(f"--sparse-depth {args.sparse_depth} is no folder: give one with NAME.png for each image")
    from depth_retrofit_ros.batch.inputs import find_items
    from depth_retrofit_ros.batch.place import Place
    from depth_retrofit_ros.batch.run import BatchRun
    from depth_retrofit_ros.batch.table import require_table
    from depth_retrofit_ros.batch.uris import parse
    from depth_retrofit_ros.cli.progress import Progress

    require_table()
    make_paths_whole(args, "sparse_depth")
    out = parse(args.out)
    found = find_items(args.inputs, out)
    progress = Progress()
    for note in _check_kinds(args, found.items):
        progress.say(note)
    settings, lead = _settings(args), uuid.uuid4().hex
    given = {"out": out, "settings": settings, "lead": lead}
    engine = make_chosen_engine(args, settings.threads, "depth_retrofit_ros.batch.work:batch_work", given)
    passed_over = f", {found.passed_over} other files passed over" if found.passed_over else ""
    progress.say(f"{len(found.items)} inputs{passed_over}; {engine.described}")
    show = _Shown(progress)
    with Place(out, lead) as place, place.held():
        batch = BatchRun(found.items, place, settings, args.resume, lambda line: _say(progress, line), show)
        counts = batch.counts
        try:
            batch.run(engine, args.retries)
        except DepthRetrofitError as error:
            _say(progress, f"error: {error}")
            progress.say(counts.line())
            return 1 if counts.done + counts.skipped else 2
        except BaseException:
            progress.say(f"{counts.line()}; --resume goes on from there")
            raise
    frames = batch.report["frames"]
    lost = f", {frames['failed']} more failed" if frames["failed"] else ""
    progress.say(f"{counts.line()}; {frames['answered']} frames answered{lost}; {_took(counts)}, results in {out}")
    return 1 if counts.failed else 0


def _check_kinds(args: argparse.Namespace, items: list[Item]) -> list[str]:
    """What is to be said of options that some of the inputs do not take. Raises UsageError, SetupError."""
    other = next((item for item in items if item.kind != "bag"), None)
    if args.depth == "bag" and other is not None:
        raise UsageError(f"--depth bag is of bags, and {other.uri} is none: give --depth png or npz, or bags alone")
    if args.on == "local" and any(item.kind == "bag" for item in items):
        from depth_retrofit_ros.ros.environment import require_ros

        require_ros()
    for option, need in (("--tolerance", args.tolerance), ("--align", args.align)):
        if need is not None and args.depth_topic is None:
            raise UsageError(f"{option} is of --depth-topic: give that, too, or leave it out")
    kinds, notes = {item.kind for item in items}, []
    for of, options in _OF_KINDS.items():
        for option in (name for name in options if getattr(args, name) is not None):
            told = f"--{option.replace('_', '-')} is of {' and '.join(f'{kind}s' for kind in of)}"
            if not kinds.intersection(of):
                raise UsageError(f"{told}, and none of the inputs is one: leave it out")
            if others := sorted(f"{kind}s" for kind in kinds - {*of, "unknown"}):
                notes.append(f"note: {told}, and nothing to {' and '.join(others)}")
    return notes


def _settings(args: argparse.Namespace) -> BatchSettings:
    from depth_retrofit_ros.batch.engines import MOST_THREADS, cpus
    from depth_retrofit_ros.batch.settings import BatchSettings
    from depth_retrofit_ros.coarse.registry import find_model

    name = chosen_model(args)
    args.device = worker_device(args)
    if args.sparse_depth is not None and "sparse depth" not in find_model(name).uses:
        raise UsageError(f"{name} takes no sparse depth: leave --sparse-depth out, or name a model that does")
    model: dict[str, Any] = {
        **model_settings(args),
        "model": name,
        "trust_scale": args.trust_scale,
        "temporal": args.temporal == "on",
    }
    return BatchSettings(
        model,
        given_camera(args),
        args.depth,
        args.confidence,
        args.normals,
        args.sparse_depth,
        args.frames,
        args.image_topic,
        args.info_topic,
        args.depth_topic,
        args.tolerance or 0.02,
        args.align or "median",
        args.rectify or "auto",
        args.part or PART_S,
        args.threads or min(MOST_THREADS, cpus()),
    )


class _Shown:
    """How far it is, on one line: the rate is that since the first frame, which waits for models to be loaded."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._first: tuple[int, int, float] | None = None

    def __call__(self, counts: Counts) -> None:
        ended = counts.done + counts.failed + counts.skipped
        if self._first is None and counts.frames:
            self._first = counts.frames, counts.done + counts.failed, time.monotonic()
        told = f"{ended} of {counts.given} inputs, {counts.failed} of them failed; {counts.frames} frames"
        if self._first is not None:
            from depth_retrofit_ros.cli.video_frames import duration

            frames, inputs, begun_s = self._first
            seconds, more = time.monotonic() - begun_s, counts.done + counts.failed - inputs
            if seconds > 0 and counts.frames > frames:
                told += f", {(counts.frames - frames) / seconds:.2f} a second"
            if seconds > 0 and more:
                told += f", {duration(counts.left * seconds / more)} left"
        self._progress.show(told)


def _say(progress: Progress, line: str) -> None:
    """A line of an input; an error goes to standard error."""
    progress.clear()
    print(f"depth-retrofit: {line}", file=sys.stderr if line.startswith("error: ") else sys.stdout, flush=True)


def _took(counts: Counts) -> str:
    from depth_retrofit_ros.cli.video_frames import duration

    return duration(time.monotonic() - counts.begun_s)


def _count(text: str) -> int:
    """A whole number from 0 on, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 on")
    return int(text)
