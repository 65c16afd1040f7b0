"""``depth-retrofit run``: the node, without ``ros2 launch``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from depth_retrofit_ros.cli.options import SHARED, add_model_options, add_temporal_option, add_trust_option, positive, ros_name

if TYPE_CHECKING:
    from depth_retrofit_ros.cli import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "run",
        help="the depth node, without ros2 launch",
        description="Runs the depth node until it is interrupted. What follows --ros-args goes to ROS as it is.",
        usage="%(prog)s [options] [--ros-args …]",
    )
    parser.add_argument(
        "--image-topic", type=ros_name, metavar="TOPIC", help="rectified images, raw or …/compressed (default: image)"
    )
    parser.add_argument("--info-topic", type=ros_name, metavar="TOPIC", help="their camera_info (default: camera_info)")
    parser.add_argument("--target-fps", type=positive, metavar="HZ", help="images per second; the budget falls where it must")
    add_model_options(parser, defaults=False)
    add_trust_option(parser)
    add_temporal_option(parser, default=None)
    parser.add_argument("--ros-args", nargs=argparse.REMAINDER, default=[], help="arguments for ROS, such as -p cloud_stride:=4")
    parser.set_defaults(run=run, code_when_interrupted=0)


def run(args: argparse.Namespace) -> int:
    """Returns the node's exit code."""
    from depth_retrofit_ros.ros.node.main import run_node

    # Only what was given: it outranks the parameters after --ros-args, which would otherwise be ignored.
    overrides: dict[str, str | float] = {}
    for name in ("model", *SHARED, "budget", "target_fps"):
        value = getattr(args, name)
        if value is not None:
            overrides[name] = str(value) if isinstance(value, Path) else value
    if args.trust_scale:
        overrides["trust_scale"] = True
    if args.temporal is not None:
        overrides["temporal"] = args.temporal == "on"
    if args.allow_download:
        overrides["allow_download"] = True
    remaps = []
    if args.image_topic is not None:
        overrides["image_transport"] = "compressed" if args.image_topic.endswith("/compressed") else "raw"
        remaps += ["-r", f"image:={args.image_topic.removesuffix('/compressed')}"]
    if args.info_topic is not None:
        remaps += ["-r", f"camera_info:={args.info_topic}"]
    return run_node(overrides, ["--ros-args", *remaps, *args.ros_args])
