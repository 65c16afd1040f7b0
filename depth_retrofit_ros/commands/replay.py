"""``depth-retrofit replay``: a recorded bag through the live node, at the recorded rate."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from depth_retrofit_ros.commands.options import add_model_options, domain_id, positive
from depth_retrofit_ros.commands.progress import Progress
from depth_retrofit_ros.environment import require_ros

if TYPE_CHECKING:
    from depth_retrofit_ros.commands import Subparsers
    from depth_retrofit_ros.evaluation.summary import Summary


def add_parser(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "replay",
        help="play a rosbag2 through the live node and store what comes out",
        description="Plays a rosbag2 (sqlite3 or mcap) through the depth node, a process of its own, in a ROS domain of its own.",
    )
    parser.add_argument("bag", type=Path, metavar="BAG", help="rosbag2 folder, .mcap or .db3 file")
    parser.add_argument("--image-topic", required=True, metavar="TOPIC", help="rectified images, raw or compressed")
    parser.add_argument("--info-topic", metavar="TOPIC", help="their camera_info; without it depth is relative, without cloud")
    parser.add_argument("--depth-topic", metavar="TOPIC", help="depth aligned to the image, 16UC1 or 32FC1, to compare with")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the results")
    parser.add_argument("--rate", type=positive, default=1.0, help="2 plays twice as fast (default: 1)")
    parser.add_argument("--domain", type=domain_id, metavar="ID", help="ROS domain, to watch in rviz (default: a free one)")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Play, store, sum up."""
    require_ros()

    from depth_retrofit_ros.ros.replay import Replay, replay
    from depth_retrofit_ros.ros.sources import BagSource

    progress = Progress()
    source = BagSource(args.bag, args.image_topic, args.info_topic, args.depth_topic)
    progress.say(f"{source.described}: {source.duration_s:.1f} s")
    how = Replay(
        f"Replay of {args.bag.name}",
        args.model,
        args.weights,
        args.refiner,
        args.budget,
        args.device,
        args.engine,
        rate=args.rate,
        domain=args.domain,
    )
    summary = replay(source, how, args.out, progress.show, progress.say)
    tell(summary, args.out, progress)
    return 0


def tell(summary: Summary, out: Path, progress: Progress) -> None:
    """The figures that matter, on a few lines."""
    progress.say(f"images at {summary.input_hz:.2f} Hz, depth at {summary.output_hz:.2f} Hz")
    for name, times in summary.times().items():
        progress.say(f"  {name}: p50 {times.p50:.1f} ms, p95 {times.p95:.1f} ms, p99 {times.p99:.1f} ms")
    for row in summary.scores:
        values = {"AbsRel": row.abs_rel, "median-scaled": row.abs_rel_scaled, "at edges": row.edge_abs_rel_scaled}
        told = ", ".join(f"{name} {value:.3f}" for name, value in values.items() if not math.isnan(value))
        progress.say(f"  {row.method}: {told} ({row.frames} images)")
    progress.say(f"results in {out}, summary in {out / 'summary.html'}")
