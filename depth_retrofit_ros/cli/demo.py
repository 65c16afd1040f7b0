"""``depth-retrofit demo``: a rendered camera through the live node; needs no data, no network and no display."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from depth_retrofit_ros.cli.options import add_model_options, camera_of_hfov, domain_id, positive, positive_int
from depth_retrofit_ros.cli.progress import Progress
from depth_retrofit_ros.cli.replay import conclude
from depth_retrofit_ros.ros.environment import require_ros

if TYPE_CHECKING:
    from depth_retrofit_ros.cli import Subparsers
    from depth_retrofit_ros.training.scenes.video import VideoFrame

EVALUATED = 3  # answers, evenly over the run: at 2560x1440 the figures of one take seconds
RENDER_S = 40.0  # after this no further view is begun


def add_parser(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "demo",
        help="camera, depth node and recorder on a live graph, on a rendered scene with exact depth",
        description="Renders views of a scene, plays them as a camera through the depth node, stores and measures what comes out.",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the results")
    parser.add_argument("--seconds", type=positive, default=20.0, help="how long the camera runs (default: 20)")
    parser.add_argument("--width", type=positive_int, default=2560, help="of the camera's images (default: 2560)")
    parser.add_argument("--height", type=positive_int, default=1440, help="of the camera's images (default: 1440)")
    parser.add_argument("--rate", type=positive, default=10.0, metavar="HZ", help="of the camera (default: 10)")
    parser.add_argument("--views", type=positive_int, default=6, help="at most so many views, shown forth and back (default: 6)")
    parser.add_argument("--hfov", type=positive, default=70.0, metavar="DEG", help="horizontal field of view (default: 70)")
    parser.add_argument("--seed", type=int, default=10, help="of the scene (default: 10)")
    parser.add_argument("--domain", type=domain_id, metavar="ID", help="ROS domain, to watch in rviz (default: a free one)")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Render, play, store, sum up."""
    require_ros()

    from depth_retrofit_ros.coarse.claim import RENDERED_SCENES
    from depth_retrofit_ros.coarse.registry import find_model
    from depth_retrofit_ros.ros.replay.replay import Replay, replay
    from depth_retrofit_ros.ros.replay.sources import SceneSource

    camera_of_hfov(args.hfov, args.width, args.height)
    # The model of this kind of scenes is at home here; of any other model the demo does not know.
    trusted = find_model(args.model).claim.where == RENDERED_SCENES
    progress = Progress()
    begin_s = time.monotonic()
    source = SceneSource(_views(args, progress), args.rate, args.seconds)
    progress.say(f"{source.described}: {source.views} views rendered in {time.monotonic() - begin_s:.0f} s")
    if trusted:
        progress.say(f"trust_scale: {args.model} was trained on {RENDERED_SCENES}, and this is one, so its depth counts as metres")
    how = Replay(
        "depth_retrofit_ros demo",
        args.model,
        args.weights,
        args.refiner,
        args.budget,
        args.device,
        args.engine,
        trust_scale=trusted,
        domain=args.domain,
        evaluated=EVALUATED,
        live_stamps=True,
    )
    summary = replay(source, how, args.out, progress.show, progress.say)
    return conclude(summary, args.out, progress)


def _views(args: argparse.Namespace, progress: Progress) -> Iterator[VideoFrame]:
    """As many as asked for, or as could be rendered in a reasonable time: a busy machine gets a shorter film, not a long wait."""
    from depth_retrofit_ros.training.scenes.video import scene_video

    begin_s = time.monotonic()
    for number, view in enumerate(scene_video(args.seed, args.width, args.height, args.views, args.hfov), start=1):
        progress.show(f"rendering view {number} of {args.views}")
        yield view
        if time.monotonic() - begin_s > RENDER_S:
            return
