"""``depth-retrofit run``: the node, without ``ros2 launch``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from depth_retrofit_ros.cli.options import (
    SHARED,
    add_model_options,
    add_temporal_option,
    add_trust_option,
    image_size,
    positive,
    ros_name,
)
from depth_retrofit_ros.errors import UsageError

if TYPE_CHECKING:
    from depth_retrofit_ros.cli import Subparsers
    from depth_retrofit_ros.io.camera_capture import CameraSource

OF_CAMERA = ("camera_size", "camera_rate", "camera_format", "hfov", "calibration")
CAMERA_TOPIC = "image_raw"


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
    _add_camera_options(parser)
    add_model_options(parser, defaults=False)
    add_trust_option(parser)
    add_temporal_option(parser, default=None)
    parser.add_argument("--ros-args", nargs=argparse.REMAINDER, default=[], help="arguments for ROS, such as -p cloud_stride:=4")
    parser.set_defaults(run=run, code_when_interrupted=0)


def _add_camera_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a camera of this machine, without a ROS driver")
    told = f"take the images of this one, and publish them as {CAMERA_TOPIC}: N of /dev/videoN, a device, or a video in its place"
    group.add_argument("--camera", metavar="N|FILE", help=told)
    told = "what to ask it for (default: what its driver gives)"
    group.add_argument("--camera-size", type=image_size, metavar="WxH", help=told)
    group.add_argument("--camera-rate", type=positive, metavar="HZ", help="images per second to ask it for")
    told = "to ask it for, such as MJPG, in which many cameras give large images faster"
    group.add_argument("--camera-format", type=_fourcc, metavar="FOURCC", help=told)
    lens = group.add_mutually_exclusive_group()
    lens.add_argument("--hfov", type=positive, metavar="DEG", help="its horizontal field of view [deg], without distortion")
    told = "what ROS's camera_calibration wrote of it; without either depth is relative, and there is no cloud"
    lens.add_argument("--calibration", type=Path, metavar="YAML", help=told)


def _fourcc(text: str) -> str:
    """For argparse."""
    if len(text) != 4 or not text.isascii() or not text.isprintable():
        raise argparse.ArgumentTypeError(f"'{text}' is no FOURCC of four characters, such as MJPG or YUYV")
    return text.upper()


def _camera(args: argparse.Namespace) -> CameraSource | None:
    """Not opened yet. Raises DepthRetrofitError."""
    if args.camera is None:
        given = next((name for name in OF_CAMERA if getattr(args, name) is not None), None)
        if given is not None:
            raise UsageError(f"--{given.replace('_', '-')} is of --camera: give that too, or leave it out")
        return None
    if args.image_topic is not None and args.image_topic.endswith("/compressed"):
        raise UsageError(f"--camera publishes raw images, not {args.image_topic}: leave /compressed out")
    from depth_retrofit_ros.io.camera_capture import Asked, camera_source

    return camera_source(args.camera, Asked(args.camera_size, args.camera_rate, args.camera_format))


def run(args: argparse.Namespace) -> int:
    """Returns the node's exit code."""
    camera = _camera(args)
    if camera is not None and args.image_topic is None:
        args.image_topic = CAMERA_TOPIC

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
    ros_args = ["--ros-args", *remaps, *args.ros_args]
    if camera is None:
        from depth_retrofit_ros.ros.node.main import run_node

        return run_node(overrides, ros_args)
    from depth_retrofit_ros.ros.node.camera_main import run_with_camera

    return run_with_camera(camera, args.calibration or args.hfov, overrides, ros_args)
