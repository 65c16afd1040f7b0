"""``depth-retrofit view``: image, depth, refined pixels and cloud of a running node, live in a browser or as a bag."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from depth_retrofit_ros.cli.options import domain_id, positive, positive_int, ros_name
from depth_retrofit_ros.ros.environment import require_ros

if TYPE_CHECKING:
    from depth_retrofit_ros.cli import Subparsers


def port(text: str) -> int:
    """A TCP port, 1 to 65535, for argparse."""
    value = int(text)
    if not 1 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is outside 1 to 65535")
    return value


def add_parser(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "view",
        help="look at a running node without rviz: live in Foxglove or Lichtblick, or recorded",
        description="Serves image, depth, refined pixels and cloud of a running depth node to Foxglove or Lichtblick on this "
        "machine, or records them, until it is interrupted. What nobody looks at is not subscribed.",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="record a rosbag2 (MCAP) instead of serving")
    parser.add_argument("--port", type=port, default=8765, help="of the live view (default: 8765)")
    parser.add_argument(
        "--node", type=ros_name, default="/depth_retrofit", metavar="NAME", help="its full name (default: /depth_retrofit)"
    )
    parser.add_argument(
        "--width", type=positive_int, default=640, metavar="PX", help="columns of images and cloud at most (default: 640)"
    )
    parser.add_argument("--rate", type=positive, default=5.0, metavar="HZ", help="frames per second at most (default: 5)")
    parser.add_argument("--domain", type=domain_id, metavar="ID", help="ROS domain (default: ROS_DOMAIN_ID)")
    parser.set_defaults(run=run, code_when_interrupted=0)


def run(args: argparse.Namespace) -> int:
    """Until SIGINT or SIGTERM. Returns 0, or 1 where a recording got no frame."""
    if args.out is not None:
        args.code_when_interrupted = 1  # so early: it has no frame either
    require_ros()

    from depth_retrofit_ros.ros.replay.output_bag import OutputBag
    from depth_retrofit_ros.ros.view.live_view import LiveView
    from depth_retrofit_ros.ros.view.run import show
    from depth_retrofit_ros.ros.view.viewer import Sink

    name = "/" + args.node.strip("/")
    if args.out is not None:
        with OutputBag(args.out) as bag:
            print(f"{name} goes to {args.out} until Ctrl-C", flush=True)
            shown = show(name, Sink(bag.write), args.width, args.rate, args.domain)
        print(f"{args.out}: {shown} frames")
        return 0 if shown else 1
    with LiveView(args.port) as live:
        print(f"{name} is at {live.address} until Ctrl-C: open it in Foxglove or Lichtblick (Foxglove WebSocket)", flush=True)
        show(name, Sink(live.write, live.wanted), args.width, args.rate, args.domain)
    return 0
