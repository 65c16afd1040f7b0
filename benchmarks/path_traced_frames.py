#!/usr/bin/env python3
"""Path-traced frames of scenes full of thin things, with exact depth: an evaluation world that no training has seen.

``render`` runs where Blender is a Python module (Python 3.11, an environment of its own:
``pip install bpy==5.0.1 OpenEXR opencv-python-headless``) and writes NAME.jpg and NAME.npz. Cycles path-traces the image and
denoises it. A second pass tells depth along the optical axis, of the surface at each pixel's centre, so that no pixel mixes two
surfaces; the sky is inf. ``coarse`` writes what a simulated coarse model says of the frames, without features, at two input sizes.
Furniture and textures are the eighth of two free archives, Debian's sweethome3d-furniture and ufoai-textures, that training on
them leaves out (``path_traced/assets.py``).

    python benchmarks/path_traced_frames.py render --out DIR/frames --furniture SH3F_DIR --textures 0textures.pk3
    python benchmarks/path_traced_frames.py coarse --frames DIR/frames --out DIR
    depth-retrofit evaluate DIR/frames --coarse DIR/coarse518
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from path_traced.assets import read_catalog
from path_traced.scenes import SCENES
from path_traced.stage import Stage

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import DatasetError, DepthRetrofitError
from depth_retrofit_ros.io.depth_files import make_folder, write_depth_npz, write_image, writing
from depth_retrofit_ros.training.degradations import simulate_coarse

FARTHEST = 1e6  # m; Cycles says 1e10 where a ray meets nothing
SKY = 500.0  # m, where a simulated model sees the sky
LONG_SIDES = (518, 256)
CENTER_FILTER_PX = 0.01  # the least that Cycles has: every ray of the depth pass goes through its pixel's centre


def main() -> int:
    """Render or simulate; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    render = commands.add_parser("render", help="frames with exact depth; needs bpy")
    render.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the pairs")
    render.add_argument("--furniture", type=Path, required=True, metavar="DIR", help="folder of *.sh3f")
    render.add_argument("--textures", type=Path, required=True, metavar="PK3", help="archive of pictures")
    render.add_argument("--count", type=int, default=6, help=f"number of frames; kinds take turns: {', '.join(SCENES)}")
    render.add_argument("--first", type=int, default=0, help="index of the first frame")
    render.add_argument("--seed", type=int, default=9000)
    render.add_argument("--width", type=int, default=1920)
    render.add_argument("--height", type=int, default=1080)
    render.add_argument("--samples", type=int, default=32, help="paths per pixel, before denoising")
    render.add_argument("--threads", type=int, default=1)
    render.set_defaults(run=render_frames)
    coarse = commands.add_parser("coarse", help="simulated coarse maps of frames")
    coarse.add_argument("--frames", type=Path, required=True, metavar="DIR", help="folder of the pairs")
    coarse.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="gets " + " and ".join(f"coarse{n}" for n in LONG_SIDES)
    )
    coarse.add_argument("--seed", type=int, default=9000)
    coarse.set_defaults(run=simulate_maps)
    args = parser.parse_args()
    try:
        args.run(args)
    except DepthRetrofitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def render_frames(args: argparse.Namespace) -> None:
    make_folder(args.out)
    models = read_catalog(args.furniture)
    for index in range(args.first, args.first + args.count):
        start = time.perf_counter()
        rng = np.random.default_rng((args.seed, index))
        kind = list(SCENES)[index % len(SCENES)]
        camera = Camera.from_hfov(args.width, args.height, float(rng.uniform(55, 78)))
        with tempfile.TemporaryDirectory() as scratch:
            stage = Stage(rng, models, args.textures, Path(scratch), math.tan(math.radians(camera.hfov_deg) / 2))
            SCENES[kind](stage)
            place_camera(stage.bpy, camera, rng.uniform(1.2, 1.6), rng.uniform(-7, 1), rng.uniform(-4, 4))
            image, depth = shoot(stage.bpy, camera, args.samples, args.threads, Path(scratch))
        name = f"{kind}_{args.seed}_{index:03d}"
        write_image(args.out / f"{name}.jpg", image)
        write_depth_npz(args.out / f"{name}.npz", depth, 0, True, camera)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


def place_camera(bpy: Any, camera: Camera, height: float, pitch_deg: float, yaw_deg: float) -> None:
    """At (0, 0, ``height``) m, ahead along y; pitch upward and yaw to the left in degrees."""
    data = bpy.data.cameras.new("camera")
    data.sensor_fit, data.angle = "HORIZONTAL", math.radians(camera.hfov_deg)
    data.clip_start, data.clip_end = 0.01, FARTHEST
    thing = bpy.data.objects.new("camera", data)
    thing.location, thing.rotation_euler = (0, 0, height), (math.radians(90 + pitch_deg), 0, math.radians(yaw_deg))
    scene = bpy.context.scene
    scene.collection.objects.link(thing)
    scene.camera = thing
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = camera.width, camera.height, 100


def shoot(bpy: Any, camera: Camera, samples: int, threads: int, scratch: Path) -> tuple[np.ndarray, np.ndarray]:
    """Image ``uint8 [H, W, 3]`` RGB and depth ``float32 [H, W]`` m along the optical axis, inf where there is nothing."""
    bpy.ops.preferences.addon_enable(module="cycles")
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.render.use_persistent_data = True
    scene.render.threads_mode, scene.render.threads = "FIXED", threads
    scene.render.image_settings.media_type = "MULTI_LAYER_IMAGE"
    scene.render.image_settings.file_format, scene.render.image_settings.color_depth = "OPEN_EXR_MULTILAYER", "32"
    for layer in scene.view_layers:
        layer.use_pass_z = True
    cycles = scene.cycles
    cycles.max_bounces, cycles.diffuse_bounces, cycles.caustics_reflective, cycles.caustics_refractive = 4, 2, False, False
    cycles.use_adaptive_sampling, cycles.samples, cycles.seed = True, samples, 1
    cycles.adaptive_threshold, cycles.sample_clamp_indirect = 0.02, 5.0
    cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
    cycles.pixel_filter_type, cycles.filter_width = "BLACKMAN_HARRIS", 1.5
    image = _render(bpy, scratch / "image.exr")["Combined"]
    cycles.samples, cycles.use_denoising, cycles.max_bounces = 1, False, 0
    cycles.pixel_filter_type, cycles.filter_width = "BOX", CENTER_FILTER_PX
    depth = _render(bpy, scratch / "depth.exr")["Depth"]
    return develop(image), known_depth(depth)


def _render(bpy: Any, path: Path) -> dict[str, np.ndarray]:
    bpy.context.scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    parts = importlib.import_module("OpenEXR").File(str(path), separate_channels=True).parts
    return passes({name: channel.pixels for part in parts for name, channel in part.channels.items()})


def passes(channels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Channels of an EXR, ``LAYER.PASS.CHANNEL`` → each pass by name: ``[H, W, 3]`` of R, G, B, or ``[H, W]`` of one channel."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, channel in channels.items():
        _, layer, letter = name.rsplit(".", 2)
        found.setdefault(layer, {})[letter] = channel
    return {
        layer: np.stack([parts[c] for c in "RGB"], axis=-1) if "R" in parts else next(iter(parts.values()))
        for layer, parts in found.items()
    }


def known_depth(depth: np.ndarray) -> np.ndarray:
    """What Cycles writes as depth ``[H, W]`` → float32, inf where its rays met nothing."""
    return np.where(depth < FARTHEST, depth, np.inf).astype(np.float32)


def develop(linear: np.ndarray) -> np.ndarray:
    """Linear light ``float [H, W, 3]`` → sRGB ``uint8``: exposed for its geometric mean, with a soft shoulder."""
    light = np.maximum(linear.astype(np.float32), 0)
    luminance = light @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    light *= 0.2 / max(float(np.exp(np.log(luminance + 1e-4).mean())), 1e-4)
    white = max(1.0, float(np.quantile(light, 0.998)))
    light = np.minimum(light * (1 + light / white**2) / (1 + light), 1)
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * coded), np.uint8)


def simulate_maps(args: argparse.Namespace) -> None:
    frames = sorted(args.frames.glob("*.npz"))
    if not frames:
        raise DatasetError(f"{args.frames} has no NAME.npz: render frames first")
    for long_side in LONG_SIDES:
        folder = make_folder(args.out / f"coarse{long_side}")
        for frame in frames:
            rng = np.random.default_rng((args.seed, long_side, zlib.crc32(frame.stem.encode())))  # whichever other frames there are
            with np.load(frame) as arrays:
                depth = coarse_map(rng, arrays["depth"], long_side)
            with writing(folder / frame.name):
                np.savez(folder / frame.name, depth=depth, metric=np.bool_(False))


def coarse_map(rng: np.random.Generator, depth: np.ndarray, long_side: int) -> np.ndarray:
    """What a simulated model that answers ``long_side`` px says of true ``depth [H, W]``, the sky at ``SKY`` m: float32 [h, w]."""
    coarse, _ = simulate_coarse(rng, np.minimum(depth, SKY).astype(np.float32), long_sides=(long_side, long_side))
    if max(coarse.shape) != long_side:
        raise DatasetError(
            f"the simulated model answers with {coarse.shape[1]}x{coarse.shape[0]}, not with a long side of {long_side}"
        )
    return coarse


if __name__ == "__main__":
    sys.exit(main())
