"""``depth-retrofit bench``: how fast is it here? Every stage, the whole method, the whole node, and baselines beside them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depth_retrofit_ros.cli.options import SHARED, add_model_options, chosen_model, image_size, positive, positive_int
from depth_retrofit_ros.errors import UsageError
from depth_retrofit_ros.ros.environment import require_ros

if TYPE_CHECKING:
    from depth_retrofit_ros.cli import Subparsers
    from depth_retrofit_ros.cli.progress import Progress

PARTS = ("sparse", "stages", "node")
NODE_SIZES = ((720, 1280), (1080, 1920), (1440, 2560), (2160, 3840))


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
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what is measured (default: everything)")
    parser.add_argument("--camera-hz", type=positive, default=10.0, metavar="HZ", help="of the node's camera (default: 10)")
    parser.add_argument("--seconds", type=positive, default=10.0, help="of each run of the node (default: 10)")
    parser.add_argument("--rounds", type=positive_int, default=20, help="frames per figure (default: 20)")
    parser.add_argument(
        "--gpu",
        action="store_true",
        help="instead, a fixed profile for a CUDA device; 10 minutes",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="with --gpu: the same, small, on a CPU; of GPUs it says what is counted and predicted without one",
    )
    add_model_options(parser, model="compact")  # figures of one machine and another are of the same model
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns the exit code. Raises UsageError, OutputError, and what measuring raises."""
    import json

    if args.dry_run and not args.gpu:
        raise UsageError("--dry-run is of the profile of a GPU: add --gpu, or leave it out")
    if "node" in args.parts and not args.gpu:
        require_ros()  # told now, not after minutes

    from depth_retrofit_ros.cli.progress import Progress
    from depth_retrofit_ros.io.depth_files import write_text, writing

    progress = Progress()
    with writing(args.json):  # found out now, not after minutes
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.touch()
    measured = measure_gpu(args, progress) if args.gpu else measure(args, progress)
    write_text(args.json, json.dumps(measured, indent=1) + "\n")
    return 0


def measure(args: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Everything on the device that the options name; prints it."""
    from depth_retrofit_ros.bench import document
    from depth_retrofit_ros.loading import load

    args.model = chosen_model(args)
    shared = {name: getattr(args, name) for name in SHARED}
    method = load(args.model, budget=args.budget, allow_download=args.allow_download, **shared)
    parameters: dict[str, str | float] = {"model": args.model}
    parameters |= {name: value if isinstance(value, float) else str(value) for name, value in shared.items() if value}
    parameters["trust_scale"] = method.coarse.claim.needs_trust  # the cloud is part of what is measured
    plan = document.Plan(args.size, args.budget, args.parts, args.node_size, args.camera_hz, args.seconds, parameters, args.rounds)
    measured = document.run(plan, method, progress.show)
    for line in document.lines(measured):
        progress.say(line)
    return measured


def measure_gpu(args: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """The profile of a CUDA device, or its dry run; prints it as JSON, and after that of a dry run what is counted and predicted.

    Raises ModelError where there is none.
    """
    import json

    from depth_retrofit_ros.bench import gpu
    from depth_retrofit_ros.device.choice import pick_device

    profile = gpu.dry_run() if args.dry_run else gpu.Profile(pick_device("cuda"))
    measured: dict[str, Any] = {"gpu": gpu.run(profile, progress.show)}
    progress.say(json.dumps(measured, indent=1))
    return measured | predict(progress) if args.dry_run else measured


def predict(progress: Progress) -> dict[str, Any]:
    """``roofline`` of the JSON; prints it. Empty where nothing can be counted, which is told."""
    import torch

    from depth_retrofit_ros.bench import roofline
    from depth_retrofit_ros.refinement.pixels.refiner import load_sparse_refiner

    if reason := roofline.missing():
        progress.say(reason)
        return {}
    predicted = roofline.run(load_sparse_refiner(None, torch.device("cpu")).network, progress.show)
    for line in roofline.lines(predicted):
        progress.say(line)
    return {"roofline": predicted}
