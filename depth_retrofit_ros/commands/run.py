"""``depth-retrofit run``: the node, without ``ros2 launch``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from depth_retrofit_ros.commands.options import add_model_options, positive

if TYPE_CHECKING:
    from depth_retrofit_ros.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "run",
        help="the depth node, without ros2 launch",
        description="Runs the depth node until it is interrupted. What follows --ros-args goes to ROS as it is.",
        usage="%(prog)s [options] [--ros-args …]",
    )
    parser.add_argument("--image-topic", default="image", metavar="TOPIC", help="rectified images, raw or …/compressed")
    parser.add_argument("--info-topic", default="camera_info", metavar="TOPIC", help="their camera_info")
    parser.add_argument("--rate", type=positive, metavar="HZ", help="upper limit of processed images per second")
    add_model_options(parser)
    parser.add_argument("--ros-args", nargs=argparse.REMAINDER, default=[], help="arguments for ROS, such as -p cloud_stride:=4")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns the node's exit code."""
    from depth_retrofit_ros.ros.main import run_node

    compressed = args.image_topic.endswith("/compressed")
    overrides: dict[str, str | float] = {
        "model": args.model,
        "weights": "" if args.weights is None else str(args.weights),
        "refiner": "" if args.refiner is None else str(args.refiner),
        "device": args.device,
        "budget": args.budget,
        "image_transport": "compressed" if compressed else "raw",
    }
    if args.rate is not None:
        overrides["rate"] = args.rate
    topics = {"image": args.image_topic.removesuffix("/compressed"), "camera_info": args.info_topic}
    remaps = [part for name, topic in topics.items() if topic != name for part in ("-r", f"{name}:={topic}")]
    return run_node(overrides, ["--ros-args", *remaps, *args.ros_args])
