"""``depth-retrofit replay``: a recorded bag through the node, at the recorded rate or every frame, with figures at the end."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depth_retrofit_ros.cli.evaluate import ALIGNMENTS
from depth_retrofit_ros.cli.options import (
    add_model_options,
    add_temporal_option,
    add_trust_option,
    add_worker_options,
    chosen_model,
    domain_id,
    make_chosen_engine,
    make_paths_whole,
    model_settings,
    positive,
    positive_int,
    worker_device,
)
from depth_retrofit_ros.cli.progress import Progress
from depth_retrofit_ros.errors import UsageError
from depth_retrofit_ros.ros.environment import require_ros

if TYPE_CHECKING:
    from depth_retrofit_ros.cli import Subparsers
    from depth_retrofit_ros.evaluation.report.summary import Summary
    from depth_retrofit_ros.ros.replay.bag_source import BagSource
    from depth_retrofit_ros.ros.replay.replay import Replay

TOLD = {"abs_rel": "AbsRel", "edge_abs_rel": "at edges", "unaligned_abs_rel": "not aligned", "delta1": "δ1"}

EXIT_NOTHING = 1  # the run was made and is summed up, but has not one answer


def add_parser(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "replay",
        help="a rosbag2 through the node: rate and latency, or every frame; accuracy, flicker, and a bag with the outputs",
        description="Takes a rosbag2 (sqlite3 or mcap) through the depth node and stores, measures and shows what comes out. "
        "Real time: the node is a process of its own in a ROS domain of its own. Figures are defined in docs/evaluation.md.",
    )
    parser.add_argument("bag", type=Path, metavar="BAG", help="rosbag2 folder, .mcap or .db3 file, compressed or not")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--realtime", action="store_true", help="at the recorded rate, as on a robot: frames may be dropped (default)"
    )
    mode.add_argument("--every-frame", action="store_true", help="one image after the other, none dropped; the JSON is repeatable")
    parser.add_argument("--rate", type=positive, metavar="R", help="in real time: 2 plays twice as fast (default: 1)")
    parser.add_argument(
        "--domain", type=domain_id, metavar="ID", help="in real time: ROS domain, to watch in rviz (default: a free one)"
    )
    parser.add_argument("--frames", type=positive_int, metavar="N", help="only the first N images")
    topics = parser.add_argument_group("topics")
    topics.add_argument("--image-topic", metavar="TOPIC", help="images, raw or compressed (default: the only ones)")
    topics.add_argument(
        "--info-topic",
        metavar="TOPIC",
        help="their camera_info (default: the one beside the images); none: depth is relative, without cloud",
    )
    topics.add_argument(
        "--rectify",
        choices=("auto", "true", "false", "points"),
        default="auto",
        help="the images, and GT with them, by their camera_info: see docs/cameras.md (default: auto, those of a raw topic)",
    )
    topics.add_argument(
        "--depth-topic",
        metavar="GT",
        help="depth aligned to the image, to compare with: 16UC1, 32FC1, or these as compressedDepth",
    )
    topics.add_argument(
        "--tolerance", type=positive, default=0.02, metavar="S", help="how far its stamp may be from the image's (default: 0.02)"
    )
    parser.add_argument(
        "--align", choices=ALIGNMENTS, default="median", help="of depth with GT before it is measured, per frame (default: median)"
    )
    results = parser.add_argument_group("results")
    results.add_argument("--out", type=Path, metavar="DIR", help="folder for all results (default: BAG's name and '_replay', here)")
    results.add_argument("--json", type=Path, metavar="OUT", help="also write DIR/summary.json there")
    results.add_argument("--html", type=Path, metavar="OUT", help="also write DIR/summary.html there, one self-contained file")
    add_model_options(parser)
    add_trust_option(parser)
    add_temporal_option(parser)
    add_worker_options(parser, None)
    told = "of --temporal, with --every-frame: a frame of the bag's TF that stands still, such as odom, for the camera's motion"
    parser.add_argument("--motion-frame", default="", metavar="FRAME", help=told)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Play, store, sum up."""
    if args.every_frame and (args.rate is not None or args.domain is not None):
        raise UsageError("--rate and --domain belong to --realtime: leave them out, or --every-frame")
    if args.on is not None and not args.every_frame:
        raise UsageError("--on shares what --every-frame answers: give that too, or leave it out")
    if args.motion_frame and not (args.every_frame and args.temporal == "on"):
        raise UsageError("--motion-frame belongs to --every-frame and --temporal on: give these too, or leave it out")
    out = Path(f"{args.bag.resolve().stem}_replay") if args.out is None else args.out
    if (out / "bag").resolve() in (args.bag.resolve(), *args.bag.resolve().parents):
        raise UsageError(f"{args.bag} is where the new bag would be written: choose another --out")
    require_ros()

    from depth_retrofit_ros.io.depth_files import copy_file, make_folder
    from depth_retrofit_ros.ros.replay.bag_source import BagSource
    from depth_retrofit_ros.ros.replay.replay import Replay

    if args.on is not None:
        make_paths_whole(args)
    progress = Progress()
    topics = args.image_topic, args.info_topic, args.depth_topic
    given = (args.bag.absolute(), *topics, args.tolerance, args.frames, args.rectify, bool(args.motion_frame))
    source = BagSource(*given)
    progress.say(f"{source.described}; {source.duration_s:.1f} s")
    copies = {"summary.json": args.json, "summary.html": args.html}
    for path in filter(None, copies.values()):
        make_folder(path.parent)  # told before the run rather than after it
    name = chosen_model(args)
    if args.on is not None:
        args.device = worker_device(args)
    how = Replay(
        f"Replay of {args.bag.resolve().name}",
        name,
        **model_settings(args),
        temporal=args.temporal == "on",
        motion_frame=args.motion_frame,
        rectify=args.rectify,
        trust_scale=args.trust_scale,
        mode="every-frame" if args.every_frame else "realtime",
        rate=args.rate or 1.0,
        domain=args.domain,
        bag=True,
        align=args.align,
    )
    summary = _replay(args, given, source, how, out, progress)
    for name, path in copies.items():
        if path is not None:
            copy_file(out / name, path)
    return conclude(summary, out, progress)


def _replay(
    args: argparse.Namespace, given: tuple[Any, ...], source: BagSource, how: Replay, out: Path, progress: Progress
) -> Summary:
    """By this process, or by workers. given: what makes the source."""
    from depth_retrofit_ros.ros.replay.replay import replay

    if args.on is None:
        return replay(source, how, out, progress.show, progress.say)
    from depth_retrofit_ros.batch.engines import cpus
    from depth_retrofit_ros.batch.shared_replay import run_shared

    factory, settings = "depth_retrofit_ros.ros.replay.shared_parts:replay_work", {"source": given, "how": how}
    with make_chosen_engine(args, args.threads or cpus(), factory, settings) as engine:
        progress.say(engine.described)
        return replay(source, how, out.absolute(), progress.show, progress.say, partial(run_shared, engine))


def conclude(summary: Summary, out: Path, progress: Progress) -> int:
    """Tell the figures. Returns the exit code of a run like this."""
    tell(summary, out, progress)
    if summary.nothing_answered is None:
        return 0
    print(f"depth-retrofit: error: {summary.nothing_answered}", file=sys.stderr)
    return EXIT_NOTHING


def tell(summary: Summary, out: Path, progress: Progress) -> None:
    """The figures that matter, on a few lines."""
    if summary.mode == "realtime":
        progress.say(f"images at {summary.input_hz:.2f} Hz, depth at {summary.output_hz:.2f} Hz")
    for name, times in summary.times().items():
        progress.say(f"  {name}: p50 {times.p50:.1f} ms, p95 {times.p95:.1f} ms, p99 {times.p99:.1f} ms")
    if summary.accuracy is not None:
        progress.say(f"accuracy over {summary.accuracy['evaluated']} images, {summary.accuracy['unmatched']} without reference")
        for method, figures in summary.accuracy["methods"].items():
            progress.say(f"  {method}: {_told(figures)}")
    if summary.flicker is not None:
        counted, pairs = summary.flicker["pairs_with_static_pixels"], summary.flicker["pairs"]
        progress.say(f"flicker: {counted} of {pairs} pairs of frames have static pixels")
        for method, figures in summary.flicker["static"].items():
            changes = ", ".join(f"{name} {value:.4f}" for name, value in figures.items() if value is not None)
            progress.say(f"  {method}: |Δ ln depth| {changes or 'unknown'}")
    progress.say(f"results in {out}, summary in {out / 'summary.html'}")


def _told(figures: dict[str, Any]) -> str:
    return ", ".join(f"{name} {figures[key]:.3f}" for key, name in TOLD.items() if figures[key] is not None) or "unknown"
