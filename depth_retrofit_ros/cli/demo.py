"""``depth-retrofit demo``: a rendered camera through the live node; needs no data, no network and no display."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from depth_retrofit_ros.cli.options import add_model_options, chosen_model, domain_id, model_settings, positive, positive_int
from depth_retrofit_ros.cli.progress import Progress
from depth_retrofit_ros.cli.replay import conclude
from depth_retrofit_ros.cli.view import HOST, port
from depth_retrofit_ros.errors import SetupError, UsageError
from depth_retrofit_ros.ros.environment import require_ros

if TYPE_CHECKING:
    from depth_retrofit_ros.cli import Subparsers

PORT = 8090  # of the live page: not the 8080 of ``view --web``, which may run beside it


def add_parser(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "demo",
        help="camera, depth node and recorder on a live graph, on a film of a furnished room with exact depth",
        description="Plays views of a furnished room as a camera through the depth node, stores and measures what comes out, and "
        "shows it as a moving picture on the page DIR/summary.html. A live page of the node is served meanwhile.",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the results")
    parser.add_argument("--seconds", type=positive, default=20.0, help="how long the camera runs (default: 20)")
    parser.add_argument("--width", type=positive_int, default=2560, help="of the camera's images, at most 2560 (default: 2560)")
    parser.add_argument("--height", type=positive_int, default=1440, help="of the camera's images, at most 1440 (default: 1440)")
    parser.add_argument("--rate", type=positive, default=10.0, metavar="HZ", help="of the camera (default: 10)")
    parser.add_argument(
        "--web",
        action=argparse.BooleanOptionalAction,
        help="serve a live page of the node while it runs (default: where viser is installed, the extra `web`)",
    )
    parser.add_argument(
        "--port", type=port, metavar="N", help=f"of the live page, at {HOST} (default: {PORT}, or a free one where that is taken)"
    )
    parser.add_argument("--domain", type=domain_id, metavar="ID", help="ROS domain, to watch in rviz (default: a free one)")
    add_model_options(parser, model="compact")  # the film's figures are known for it
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Play, store, sum up."""
    require_ros()

    from depth_retrofit_ros.coarse.claim import RENDERED_SCENES
    from depth_retrofit_ros.coarse.registry import find_model
    from depth_retrofit_ros.ros.replay.replay import Replay, replay
    from depth_retrofit_ros.ros.replay.sources import SceneSource
    from depth_retrofit_ros.training.scenes.film import Film

    model = chosen_model(args)
    # The model of this kind of scenes is at home here; of any other model the demo does not know.
    trusted = find_model(model).claim.where == RENDERED_SCENES
    progress = Progress()
    source = SceneSource(Film().views(args.width, args.height), args.rate, args.seconds)
    progress.say(f"{source.described}: a furnished room, {source.views} views")
    if trusted:
        progress.say(
            f"trust_scale: {model} was trained on {RENDERED_SCENES}, and this is one, which it has not seen: its depth counts "
            "as metres, and 'not aligned' below tells how far off they are"
        )
    how = Replay(
        "depth_retrofit_ros demo",
        model,
        **model_settings(args),
        trust_scale=trusted,
        domain=args.domain,
        choose=source.one_of_each,
        leads=True,
        web_port=_page_port(args),
        live_stamps=True,
    )
    summary = replay(source, how, args.out, progress.show, progress.say)
    return conclude(summary, args.out, progress)


def _page_port(args: argparse.Namespace) -> int | None:
    """None where no page is served. Raises UsageError, SetupError or OutputError where the page that was asked for cannot be."""
    from depth_retrofit_ros.ros.replay.live_page import choose_port, has_viser

    if args.web is False:
        if args.port is not None:
            raise UsageError("--port is of the live page: leave it out, or --no-web")
        return None
    if not has_viser():
        if args.web or args.port is not None:
            raise SetupError("the live page needs viser: pip install 'depth_retrofit_ros[web]', or leave --web and --port out")
        return None
    return choose_port(args.port, PORT)
