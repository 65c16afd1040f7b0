"""``depth-retrofit view``: image, depth, refined pixels and cloud of a running node, live or as a bag."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from depth_retrofit_ros.cli.options import domain_id, positive, positive_int, ros_name
from depth_retrofit_ros.errors import UsageError
from depth_retrofit_ros.ros.environment import require_ros

if TYPE_CHECKING:
    from depth_retrofit_ros.cli import Subparsers

FOXGLOVE_PORT, WEB_PORT = 8765, 8080
HOST = "127.0.0.1"
POINTS = 60_000


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
        help="look at a running node without rviz: live in a browser, in Foxglove or Lichtblick, or recorded",
        description="Serves image, depth, refined pixels and cloud of a running depth node to Foxglove or Lichtblick on this "
        "machine, or as a page to any browser, or records them, until it is interrupted. What nobody looks at is not subscribed.",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--web", action="store_true", help="a page for any browser, with the node's state and its budget")
    how.add_argument("--out", type=Path, metavar="DIR", help="record a rosbag2 (MCAP) instead of serving")
    parser.add_argument("--port", type=port, help=f"of the live view (default: {FOXGLOVE_PORT}, with --web {WEB_PORT})")
    parser.add_argument(
        "--host", metavar="ADDRESS", help=f"of --web: the address to serve at (default: {HOST}, which this machine alone reaches)"
    )
    parser.add_argument(
        "--points", type=positive_int, metavar="N", help=f"of --web: of the cloud at most, at first (default: {POINTS})"
    )
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
    if not args.web and (args.host is not None or args.points is not None):
        raise UsageError("--host and --points are of the page: give --web too, or leave them out")
    require_ros()
    name = "/" + args.node.strip("/")
    if args.web:
        return _serve_page(args, name)
    if args.out is not None:
        return _record(args, name)
    return _serve(args, name)


def _record(args: argparse.Namespace, name: str) -> int:
    from depth_retrofit_ros.ros.replay.output_bag import OutputBag
    from depth_retrofit_ros.ros.view.run import show
    from depth_retrofit_ros.ros.view.viewer import Sink

    with OutputBag(args.out) as bag:
        print(f"{name} goes to {args.out} until Ctrl-C", flush=True)
        shown = show(name, Sink(bag.write), args.width, args.rate, args.domain)
    print(f"{args.out}: {shown} frames")
    return 0 if shown else 1


def _serve(args: argparse.Namespace, name: str) -> int:
    from depth_retrofit_ros.ros.view.live_view import LiveView
    from depth_retrofit_ros.ros.view.run import show
    from depth_retrofit_ros.ros.view.viewer import Sink

    with LiveView(args.port or FOXGLOVE_PORT) as live:
        print(f"{name} is at {live.address} until Ctrl-C: open it in Foxglove or Lichtblick (Foxglove WebSocket)", flush=True)
        show(name, Sink(live.write, live.wanted), args.width, args.rate, args.domain)
    return 0


def _serve_page(args: argparse.Namespace, name: str) -> int:
    from depth_retrofit_ros.ros.view.run import show
    from depth_retrofit_ros.ros.view.web_view import WebView

    domain = os.environ.get("ROS_DOMAIN_ID", "0") if args.domain is None else args.domain
    with WebView(args.host or HOST, args.port or WEB_PORT, name, f"ROS domain {domain}", args.points or POINTS) as web:
        if web.is_open:
            print(
                f"--host {args.host}: whoever reaches this address sees the camera and can set the budget; there is no password",
                file=sys.stderr,
            )
        print(f"{name} is at {web.address} until Ctrl-C: open it in a browser", flush=True)
        show(name, web.sink, args.width, args.rate, args.domain, web.attach)
    return 0
