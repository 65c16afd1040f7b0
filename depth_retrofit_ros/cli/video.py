"""``depth-retrofit video``: a video in, a video of its depth out, beside the images or alone."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depth_retrofit_ros.cli.options import (
    add_camera_options,
    add_model_options,
    add_temporal_option,
    add_trust_option,
    check_camera_options,
    chosen_model,
    given_camera,
    model_settings,
    positive_int,
)
from depth_retrofit_ros.errors import ImageError, OutputError, UsageError

if TYPE_CHECKING:
    from depth_retrofit_ros.cli import Subparsers
    from depth_retrofit_ros.cli.video_parts import Parts
    from depth_retrofit_ros.io.video_reader import VideoReader
    from depth_retrofit_ros.retrofit import Retrofit

LAYOUTS = {"side-by-side": ("image", "depth"), "depth": ("depth",), "three": ("image", "coarse", "depth")}
PANEL_WIDTH, LEAST_WIDTH = 960, 16  # px
SUFFIX = ".mp4"


def add_parser(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "video",
        help="depth of a video, side by side with it, as an MP4 that browsers play",
        description="Every frame of a video, in order, as colors of its depth. An interrupted run goes on when the same command "
        "is given again. What comes out, and what of a damaged file, is told in docs/video.md.",
    )
    parser.add_argument("video", type=Path, metavar="IN", help="MP4, MOV, MKV, WebM or AVI; turned as its metadata says, no sound")
    parser.add_argument("--out", required=True, type=Path, metavar="OUT.mp4", help="the result, VP9")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace OUT.mp4, and drop what another interrupted run left of it"
    )
    parser.add_argument(
        "--layout",
        choices=tuple(LAYOUTS),
        default="side-by-side",
        help="image and depth, depth alone, or image, coarse map and depth (default: side-by-side)",
    )
    told = f"of each of them at most, never more than the video's own (default: {PANEL_WIDTH})"
    parser.add_argument("--panel-width", type=positive_int, default=PANEL_WIDTH, metavar="PX", help=told)
    parser.add_argument(
        "--depth",
        type=Path,
        metavar="DIR",
        help="also every frame's depth at full size, 16-bit PNG, and their times as frames.json",
    )
    add_camera_options(parser)
    add_model_options(parser)
    add_trust_option(parser)
    add_temporal_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns 1 where frames are missing in the result, which is written all the same."""
    _check(args)
    from depth_retrofit_ros.cli.results_folder import results_folder
    from depth_retrofit_ros.cli.video_depth import DepthFolder
    from depth_retrofit_ros.cli.video_parts import Parts
    from depth_retrofit_ros.io.video_reader import VideoReader

    reader = VideoReader(args.video)  # before the model is loaded
    model = chosen_model(args)
    with results_folder(args.out.parent), Parts(args.out, described(args, model), args.overwrite) as parts:
        depth = None if args.depth is None else DepthFolder(args.depth, args.video.stem, bool(parts.done) or args.overwrite)
        code = _make(args, reader, parts, depth, model)
        parts.remove()
    return code


def _check(args: argparse.Namespace) -> None:
    """What can be told before anything is read. Raises DepthRetrofitError."""
    check_camera_options(args)
    if args.panel_width < LEAST_WIDTH:
        raise UsageError(f"--panel-width {args.panel_width} shows nothing: give at least {LEAST_WIDTH}")
    if args.out.suffix.lower() != SUFFIX:
        raise UsageError(f"--out {args.out} is no {SUFFIX} file, which is what is written: name it so")
    if args.out.is_dir():
        raise OutputError(f"--out {args.out} is a folder: name the video in it")
    if args.out.exists() and args.video.exists() and os.path.samefile(args.out, args.video):
        raise UsageError(f"--out {args.out} is the video itself: choose another name")
    from depth_retrofit_ros.cli.video_parts import parts_folder

    parts = parts_folder(args.out).resolve()
    for told, path in (("IN", args.video), ("--depth", args.depth)):
        if path is not None and path.resolve().is_relative_to(parts):
            raise UsageError(f"{told} {path} is where the parts of {args.out} lie, which are removed: choose another place")
    if args.out.exists() and not args.overwrite:
        raise UsageError(f"{args.out} is there already: give --overwrite, or another --out")


def described(args: argparse.Namespace, model: str) -> dict[str, Any]:
    """All that decides what comes out: runs that agree in it may go on from each other."""
    from depth_retrofit_ros import __version__

    apart = {"out", "overwrite", "run", "command", "allow_download", "model"}
    given = {name: value.resolve() if isinstance(value, Path) else value for name, value in vars(args).items()}
    status = args.video.stat()
    return {
        "program": __version__,
        "size": status.st_size,
        "modified_ns": status.st_mtime_ns,
        "model": model,
        **{name: str(value) for name, value in sorted(given.items()) if name not in apart},
    }


def _make(args: argparse.Namespace, reader: VideoReader, parts: Parts, depth: Any, model: str) -> int:
    """Frames into parts, parts into the result. Returns the exit code."""
    from depth_retrofit_ros.cli.image import peak_memory_mb
    from depth_retrofit_ros.cli.progress import Progress
    from depth_retrofit_ros.cli.video_frames import answer_frames, duration
    from depth_retrofit_ros.cli.video_parts import unfinished
    from depth_retrofit_ros.io.depth_files import writing
    from depth_retrofit_ros.io.video_writer import CODEC, join_parts, require_codec

    progress, begun_s, kept = Progress(), time.monotonic(), parts.frames
    require_codec(parts.folder)
    if kept:
        progress.say(f"going on: {kept} frames are in {parts.folder}")
    retrofit = _loaded(args, model)
    with unfinished(parts, progress.say):
        colors = answer_frames(
            reader,
            parts,
            retrofit,
            given_camera(args),
            LAYOUTS[args.layout],
            args.panel_width,
            depth,
            progress,
        )
        if not parts.done:
            raise ImageError(f"{reader.path} has no frame that can be decoded")
        times_ms = [time_ms for part in parts.done for time_ms in part.times_ms]
        size, joined = parts.done[0].size, parts.folder / "joined.mp4"
        progress.show(f"joining {len(parts.done)} parts")
        join_parts(parts.paths, times_ms, joined, size, reader.fps)
        if depth is not None:
            depth.conclude(entry for part in parts.done for entry in part.depth)
        with writing(args.out):
            joined.replace(args.out)

    _tell(progress, args, parts, retrofit, colors)
    written, failed = len(times_ms), reader.failed
    lost = f" and {failed} that could not be decoded" if failed else ""
    earlier = f", {kept} of them by an earlier run" if kept else ""
    progress.say(
        f"{written + failed} frames read: {written} written{earlier}{lost}; {duration(time.monotonic() - begun_s)}, "
        f"peak memory {peak_memory_mb():.0f} MB, {size[0]}x{size[1]} {CODEC} in {args.out}"
    )
    shortfall = reader.shortfall()
    reader.close()
    if shortfall is not None:
        print(f"depth-retrofit: error: {shortfall}", file=sys.stderr)
    return 1 if failed or shortfall is not None else 0


def _loaded(args: argparse.Namespace, model: str) -> Retrofit:
    from depth_retrofit_ros.loading import load

    return load(
        model,
        trust_scale=args.trust_scale,
        **model_settings(args),
        temporal=args.temporal == "on",
    )


def _tell(progress: Any, args: argparse.Namespace, parts: Parts, retrofit: Retrofit, colors: tuple[float, float] | None) -> None:
    """What was run, and what the colors mean."""
    from depth_retrofit_ros.coarse.engines.assign import engine_of

    coarse, metric = retrofit.coarse, parts.done[-1].metric
    engine, backend = engine_of(coarse), retrofit.refiner.backend_name
    progress.say(f"{coarse.name}, {f'coarse engine {engine}, ' if engine else ''}sparse backend {backend}")
    unit = "m" if metric else "relative, its scale unknown"
    range_told = "nothing known" if colors is None else f"{colors[0]:.3g} (warm) to {colors[1]:.3g} (cold)"
    progress.say(f"depth ({unit}); its colors follow the scene slowly, at the end {range_told}")
    claim = coarse.claim
    if args.hfov is None and args.fx is None:
        progress.say("focal length unknown: give --hfov or --fx --fy --cx --cy for depth in metres")
    elif not metric:
        remedy = f": give --trust-scale if this is from {claim.where}" if claim.needs_trust else ""
        progress.say(f"{coarse.name} is {claim}, so its depth is relative here{remedy}")
    refined, frames = sum(part.refined for part in parts.done), parts.frames
    progress.say(f"{refined / frames:.0f} pixels refined in a frame, on average")
