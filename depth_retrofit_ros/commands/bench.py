"""``depth-retrofit bench``: how fast is it here? Every stage, the whole method, the whole node, and rivals beside them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from depth_retrofit_ros.commands.options import add_model_options, positive, positive_int

if TYPE_CHECKING:
    from depth_retrofit_ros.commands import Subparsers

NODE_SIZES = ((720, 1280), (1080, 1920), (1440, 2560), (2160, 3840))


def image_size(text: str) -> tuple[int, int]:
    """``WIDTHxHEIGHT`` → (height, width), for argparse."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) >= 64 and int(height) >= 64):
        raise argparse.ArgumentTypeError(f"'{text}' is not WIDTHxHEIGHT of at least 64x64")
    return int(height), int(width)


def add_parser(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "bench",
        help="measure every stage, the whole method and the whole node",
        description="Measures on this machine, prints, and stores as JSON. Close what else uses it.",
    )
    parser.add_argument("--json", type=Path, required=True, metavar="OUT", help="file for all figures")
    parser.add_argument("--size", type=image_size, default=(1440, 2560), metavar="WxH", help="of the stages (default: 2560x1440)")
    parser.add_argument(
        "--node-size",
        type=image_size,
        nargs="+",
        default=NODE_SIZES,
        metavar="WxH",
        help="of the camera (default: 720p to 4K)",
    )
    parser.add_argument("--parts", nargs="+", choices=("sparse", "stages", "node"), default=("sparse", "stages", "node"))
    parser.add_argument("--camera-hz", type=positive, default=10.0, metavar="HZ", help="of the node's camera (default: 10)")
    parser.add_argument("--seconds", type=positive, default=10.0, help="of each run of the node (default: 10)")
    parser.add_argument("--rounds", type=positive_int, default=20, help="frames per figure (default: 20)")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns the exit code."""
    import json

    from depth_retrofit_ros import retrofit
    from depth_retrofit_ros.benchmark import document
    from depth_retrofit_ros.commands.progress import Progress
    from depth_retrofit_ros.export import write_text

    method = retrofit.load(
        args.model, weights=args.weights, refiner=args.refiner, budget=args.budget, device=args.device, engine=args.engine
    )
    parameters = {
        name: str(getattr(args, name)) for name in ("model", "weights", "refiner", "device", "engine") if getattr(args, name)
    }
    plan = document.Plan(args.size, args.budget, args.parts, args.node_size, args.camera_hz, args.seconds, parameters, args.rounds)
    progress = Progress()
    measured = document.run(plan, method, progress.show)
    write_text(args.json, json.dumps(measured, indent=1) + "\n")
    for line in document.lines(measured):
        progress.say(line)
    return 0
