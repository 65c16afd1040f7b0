"""``depth-retrofit image``: photos in, depth files and pictures out."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depth_retrofit_ros.cli.coarse_maps import add_coarse_maps_options, check_coarse_maps_options, read_coarse_map
from depth_retrofit_ros.cli.options import (
    add_camera_options,
    add_model_options,
    add_trust_option,
    check_camera_options,
    check_coarse_options,
    chosen_model,
    chosen_preset,
    given_camera,
    model_settings,
    positive_int,
)
from depth_retrofit_ros.errors import DepthRetrofitError, UsageError

if TYPE_CHECKING:
    from depth_retrofit_ros.cli import Subparsers
    from depth_retrofit_ros.coarse.base import CoarseModel
    from depth_retrofit_ros.frame import DepthFrame, Frame
    from depth_retrofit_ros.retrofit import Retrofit

PANEL_WIDTH = 1280
ASSUMED_HFOV_DEG = 65.0  # a phone's main camera; only for the shape of a cloud whose scale is unknown anyway


def add_parser(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "image",
        help="depth of photos: 16-bit PNG (mm), float32 .npy, preview, point cloud",
        description="Without intrinsics the focal length comes from the EXIF data; without that the depth's scale is unknown.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="JPEG, PNG, TIFF, WebP or AVIF, any size")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--ply", nargs="?", type=positive_int, const=2, metavar="STRIDE", help="a cloud, too, of every STRIDE-th pixel (default: 2)"
    )
    parser.add_argument(
        "--sparse-depth",
        type=Path,
        metavar="PNG|DIR3",
        help="for a model that takes it: a sensor's depth of the photo's view (16-bit PNG in mm, 0 unknown), or NAME.png there",
    )
    parser.add_argument("--normals", action="store_true", help="surface normals, too, as .npz and as a picture")
    parser.add_argument(
        "--confidence", action="store_true", help="probability that a pixel is within 5 %% of the truth, too, as .npy and 8-bit PNG"
    )
    add_camera_options(parser)
    add_coarse_maps_options(parser)
    add_model_options(parser)
    add_trust_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns 1 where some file failed; the others are done."""
    check_camera_options(args)  # before the model is loaded
    if args.sparse_depth is not None and len(args.files) > 1 and not args.sparse_depth.is_dir():
        raise UsageError(f"--sparse-depth {args.sparse_depth} is of one photo: give a folder with NAME.png for each")
    check_coarse_maps_options(args)
    check_coarse_options(args)
    from depth_retrofit_ros.cli.results_folder import recorded_files, results_folder
    from depth_retrofit_ros.io.depth_files import write_text

    recorded = recorded_files(args.out / "images.json")
    entries: list[dict[str, Any]] = []
    with results_folder(args.out):
        retrofit_for = choose_retrofit(args)
        for file, name in zip(args.files, unique_names(args.files), strict=True):
            try:
                entries.append(process(file, args.out / name, retrofit_for, args, recorded))
            except DepthRetrofitError as error:
                print(f"depth-retrofit: error: {error}", file=sys.stderr)
        write_text(args.out / "images.json", json.dumps(entries, indent=2) + "\n")
    if not entries:
        return 1  # each has said why
    print(f"{len(entries)} of {len(args.files)} images done, peak memory {peak_memory_mb():.0f} MB, results in {args.out}")
    return 0 if len(entries) == len(args.files) else 1


def choose_retrofit(args: argparse.Namespace) -> Callable[[Path], Retrofit]:
    """What to run on a file: one model for all or, with ``--coarse``, the map stored for each. Raises DepthRetrofitError."""
    from depth_retrofit_ros.device.choice import pick_device
    from depth_retrofit_ros.loading import load, load_second
    from depth_retrofit_ros.refinement.registry import load_refiner
    from depth_retrofit_ros.retrofit import Retrofit

    if args.coarse is not None and args.trust_scale:
        raise UsageError("--trust-scale is of a model, and a coarse map says itself whether it is metric: leave it out")
    if args.coarse is not None and args.sparse_depth is not None:
        raise UsageError("--sparse-depth is for a model, and with --coarse none is run: leave it out")
    if args.coarse is None:
        retrofit = load(
            chosen_model(args),
            trust_scale=args.trust_scale,
            **model_settings(args),
        )
        if args.sparse_depth is not None and not retrofit.uses_sparse:
            raise UsageError(f"{retrofit.coarse.name} takes no sparse depth: leave --sparse-depth out, or name a model that does")
        return lambda file: retrofit
    device = pick_device(args.device)
    preset = chosen_preset(args)
    refiner = load_refiner(preset.refiner, device, args.engine, args.refiner_precision)
    by_engine = args.coarse_engine, args.allow_download
    second = load_second(preset.name, args.selector, args.second_model, "", device, *by_engine)
    print(f"coarse depth from files in {args.coarse}; " + ("no model is run" if second is None else f"{second.name} beside it"))

    def retrofit_of(file: Path) -> Retrofit:
        coarse = read_coarse_map(args, file.stem, device)
        return Retrofit(coarse, refiner, args.budget, parts=preset.parts(coarse), second=second)

    return retrofit_of


def unique_names(files: list[Path]) -> list[str]:
    """The files' stems; where one repeats (other folder, other suffix), numbered from the second on."""
    names: list[str] = []
    for file in files:
        number, name = 1, file.stem
        while name in names:
            number += 1
            name = f"{file.stem}_{number}"
        names.append(name)
    return names


def process(
    file: Path, stem: Path, retrofit_for: Callable[[Path], Retrofit], args: argparse.Namespace, recorded: frozenset[str]
) -> dict[str, Any]:
    """One photo; results are ``stem`` with endings. Returns what ``images.json`` tells of it. Raises DepthRetrofitError.

    recorded: what an earlier run wrote into the folder, see ``recorded_files``.
    """
    import numpy as np

    from depth_retrofit_ros.batch.photos import answer_photo, open_photo
    from depth_retrofit_ros.cli.results_folder import remove_other_kind
    from depth_retrofit_ros.coarse.claim import prompt_problem
    from depth_retrofit_ros.coarse.engines.assign import engine_of
    from depth_retrofit_ros.coarse.input_size import size_of
    from depth_retrofit_ros.device.faults import fitting_into_memory
    from depth_retrofit_ros.selection.threshold import CAP

    start_s = time.perf_counter()
    opened = open_photo(file, given_camera(args), args.sparse_depth)
    frame, camera_source = opened.frame, opened.camera_source
    camera, sparse = frame.camera, frame.sparse
    height, width = frame.image.shape[:2]
    retrofit = retrofit_for(file)
    read_s = time.perf_counter()
    result = answer_photo(file, opened, retrofit)
    if camera is None:
        camera_source += f": depth is {retrofit.coarse.claim if result.metric else 'relative, its scale unknown'}"
    done_s = time.perf_counter()
    with fitting_into_memory(f"the results of {file} ({width}x{height})", "give a larger --ply STRIDE, or scale it down"):
        written = write_results(stem, frame, result, args.ply, args.normals)
        if args.confidence:
            written["files"] |= write_confidence(stem, result)
        remove_other_kind(stem.parent, written["files"].values(), recorded, result.metric)
    times_ms = {
        "read": 1e3 * (read_s - start_s),
        **result.times_ms,
        "write": 1e3 * (time.perf_counter() - done_s),
        "total": 1e3 * (time.perf_counter() - start_s),
    }
    unit = "m" if result.metric else "relative"
    depth = result.depth.cpu().numpy()
    near, middle, far = (float(v) for v in np.nanpercentile(depth, (2, 50, 98)))
    input_size = size_of(retrofit.coarse)
    seen_at = "" if input_size is None else "{1}x{0}".format(*input_size.of(height, width))
    coarse_engine = None if args.coarse is not None else engine_of(retrofit.coarse)  # now: what failed has left it to eager
    sparse_backend = retrofit.refiner.backend_name
    print(f"{file.name}: {width}x{height}, {camera_source}")
    if seen_at:
        print(f"  {retrofit.coarse.name} saw it at {seen_at}")
    print(f"  {f'coarse engine {coarse_engine}, ' if coarse_engine else ''}sparse backend {sparse_backend}")
    print(f"  depth {near:.3g} to {far:.3g}, median {middle:.3g} ({unit}), {result.refined_pixels} pixels refined")
    if result.selection.left_out:
        print(f"  {result.selection.left_out} more are uncertain, beyond the bound of {CAP:g} times --budget")
    if sparse is not None and (problem := prompt_problem(sparse)):
        print(f"  {problem}")
    for remark in remarks_of(retrofit.coarse, retrofit.second):
        print(f"  coarse map: {remark}")
    if unknown := np.count_nonzero(np.isnan(depth)):
        share = "fewer than 0.1%" if unknown < 0.001 * depth.size else f"{unknown / depth.size:.1%}"
        print(f"  {share} of the pixels are unknown, as in the coarse map: NaN, and 0 in the PNG")
    if camera is not None and not result.metric:
        claim = retrofit.coarse.claim
        remedy = f": give --trust-scale if this is from {claim.where}" if claim.needs_trust else ""
        what = "the map" if args.coarse is not None else retrofit.coarse.name
        print(f"  {what} is {claim}, so its depth is relative here{remedy}")
    print("  " + ", ".join(f"{name} {value:.0f} ms" for name, value in times_ms.items()))
    return {
        "file": str(file),
        "width": width,
        "height": height,
        "model": retrofit.coarse.name,
        "coarse_engine": coarse_engine,
        "sparse_backend": sparse_backend,
        "coarse_maps": None if args.coarse is None else str(args.coarse),
        "input_size": seen_at or None,
        "metric": result.metric,
        "scale_source": result.scale_source,
        "camera": None if camera is None else {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy},
        "camera_source": camera_source,
        "refined_pixels": result.refined_pixels,
        "times_ms": {name: round(value, 2) for name, value in times_ms.items()},
        **written,
    }


def remarks_of(coarse: CoarseModel, second: CoarseModel | None) -> tuple[str, ...]:
    """What was made of a stored map; nothing of a model that runs. second: whose disagreement selects pixels."""
    from depth_retrofit_ros.coarse.stored import StoredCoarse

    return coarse.told(None if second is None else second.name) if isinstance(coarse, StoredCoarse) else ()


def write_results(stem: Path, frame: Frame, result: DepthFrame, ply_stride: int | None, normals: bool) -> dict[str, Any]:
    """The files of one image; relative depth gets other names, so that nobody takes it for metres. Returns names and units."""
    from depth_retrofit_ros.camera import Camera
    from depth_retrofit_ros.io.color_map import colorize, depth_range
    from depth_retrofit_ros.io.depth_files import side_by_side, write_depth_npy, write_depth_png, write_image, writing
    from depth_retrofit_ros.pointcloud.files import write_ply
    from depth_retrofit_ros.pointcloud.organized import make_cloud
    from depth_retrofit_ros.pointcloud.surfaces import surface_depth
    from depth_retrofit_ros.upsampling.interpolation import upsample

    depth = result.depth.cpu().numpy()
    coarse = upsample(result.coarse, depth.shape, "bilinear").cpu().numpy()  # stretched, as a plain node would publish it
    kind = "depth" if result.metric else "relative"
    names = {"png": f"{stem.name}_{kind}.png", "npy": f"{stem.name}_{kind}.npy", "preview": f"{stem.name}_preview.png"}
    png = write_depth_png(stem.with_name(names["png"]), depth, result.metric)
    if png.beyond:
        print(f"  {png.beyond} pixels lie beyond the 16-bit PNG's {65535 * png.unit:.3g} and are 0 in it; the .npy has them")
    write_depth_npy(stem.with_name(names["npy"]), depth)
    near_far = depth_range(depth)
    panels = [("input", frame.image), ("coarse", colorize(coarse, near_far)), ("refined", colorize(depth, near_far))]
    write_image(stem.with_name(names["preview"]), side_by_side(panels, PANEL_WIDTH))
    wanted = " and ".join(what for what, asked in (("cloud", ply_stride is not None), ("normals", normals)) if asked)
    camera = frame.camera
    if camera is None and wanted and result.metric:
        print(f"  no {wanted}: in metres that takes the focal length, give --hfov or --fx --fy --cx --cy")
    elif camera is None and wanted:
        print(f"  {wanted}: {ASSUMED_HFOV_DEG:.0f} deg across assumed for the shape")
        camera = Camera.from_hfov(depth.shape[1], depth.shape[0], ASSUMED_HFOV_DEG)
    if ply_stride is not None and camera is not None:
        names["ply"] = f"{stem.name}.ply" if result.metric else f"{stem.name}_relative.ply"
        path = stem.with_name(names["ply"])
        with writing(path):
            write_ply(path, make_cloud(surface_depth(result).cpu().numpy(), frame.image, camera, ply_stride), result.metric)
    if normals and camera is not None:
        names |= write_normals(stem, replace(result, camera=camera))
    return {"files": names, "png_unit": png.unit, "png_beyond": png.beyond}


def write_normals(stem: Path, result: DepthFrame) -> dict[str, str]:
    """Normals as ``normals`` float32 [3, H, W] and as a picture. Returns the names of the files."""
    import numpy as np

    from depth_retrofit_ros.io.color_map import colorize_normals
    from depth_retrofit_ros.io.depth_files import write_image, writing
    from depth_retrofit_ros.pointcloud.normals import surface_normals

    normals = surface_normals(result).cpu().numpy()
    names = {"normals": f"{stem.name}_normals.npz", "normals_preview": f"{stem.name}_normals.png"}
    path = stem.with_name(names["normals"])
    with writing(path):
        np.savez_compressed(path, normals=normals)
    write_image(stem.with_name(names["normals_preview"]), colorize_normals(normals))
    return names


def write_confidence(stem: Path, result: DepthFrame) -> dict[str, str]:
    """Confidence as float32 [H, W] 0…1, NaN where depth is unknown, and as a grey picture. Returns the names of the files."""
    from depth_retrofit_ros.confidence.estimate import confidence_of, to_8bit
    from depth_retrofit_ros.io.depth_files import write_depth_npy, write_image

    confidence = confidence_of(result).cpu()
    names = {"confidence": f"{stem.name}_confidence.npy", "confidence_8bit": f"{stem.name}_confidence.png"}
    write_depth_npy(stem.with_name(names["confidence"]), confidence.numpy())
    write_image(stem.with_name(names["confidence_8bit"]), to_8bit(confidence)[..., None].expand(-1, -1, 3).numpy())
    return names


def peak_memory_mb() -> float:
    """The largest resident size of this process so far [MB]; Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
