"""``depth-retrofit reconstruct``: several photos of one scene in, refined depth, cameras and one point cloud out."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from depth_retrofit_ros.cli.options import (
    add_model_options,
    check_coarse_options,
    chosen_coarse,
    chosen_preset,
    positive_int,
    share,
)
from depth_retrofit_ros.errors import DatasetError, ModelError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from depth_retrofit_ros.cli import Subparsers
    from depth_retrofit_ros.coarse.views import MultiViewModel
    from depth_retrofit_ros.reconstruction.refined_view import RefinedView


USUAL = "vggt"


def add_parser(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "reconstruct",
        help="several photos of one scene: refined depth of each, their cameras, one coloured cloud",
        description="What is written, and how to store the predictions of another model, is told in docs/reconstruction.md.",
    )
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="photos that overlap; the first one's camera is the world"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--geometry",
        choices=("depth", "points"),
        default="depth",
        help="what the cloud is made of: the model's depth and cameras, or its point map (default: depth)",
    )
    parser.add_argument(
        "--drop", type=share, default=0.25, metavar="SHARE", help="leave out this share of least confidence, 0 to 1 (default: 0.25)"
    )
    parser.add_argument(
        "--stride", type=positive_int, default=2, metavar="N", help="every N-th row and column is in the cloud (default: 2)"
    )
    parser.add_argument("--point-maps", action="store_true", help="store each view's points, too, at the size of its photo")
    parser.add_argument(
        "--coarse", type=Path, metavar="DIR2", help="take the model's answers from NAME.npz there instead of running it"
    )
    add_model_options(parser, model=USUAL, views=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns 1 where the cloud has no point; what fails is an error, as one view without the others is no reconstruction."""
    check_coarse_options(args, USUAL)
    from depth_retrofit_ros.cli.results_folder import results_folder

    with results_folder(args.out):
        return _reconstruct(args)


def _reconstruct(args: argparse.Namespace) -> int:
    from depth_retrofit_ros.cli.image import peak_memory_mb, unique_names
    from depth_retrofit_ros.cli.results_folder import recorded_files, remove_other_kind
    from depth_retrofit_ros.reconstruction.reconstruct import reconstruct
    from depth_retrofit_ros.reconstruction.result_files import write_reconstruction
    from depth_retrofit_ros.refinement.registry import load_refiner

    recorded = recorded_files(args.out / "cameras.json")
    model = _load(args)
    preset = chosen_preset(args)
    if args.geometry == "points" and preset.thresholds:
        raise UsageError("preset paper is calibrated for depth, not for point maps: give --entropy-threshold, or --geometry depth")
    parts = preset.parts(model)
    refiner = load_refiner(preset.refiner, model.device, args.engine, args.refiner_precision)

    readers = [partial(_read, file) for file in args.files]
    result = reconstruct(model, refiner, readers, args.budget, args.geometry, args.drop, parts)

    def tell(name: str, view: RefinedView) -> None:
        camera, frame = view.camera, view.frame
        size = f"{camera.width}x{camera.height}, {camera.hfov_deg:.1f} deg across"
        print(f"{name}: {size}, {frame.refined_pixels} pixels refined, {sum(frame.times_ms.values()):.0f} ms", flush=True)

    count = write_reconstruction(args.out, unique_names(args.files), result, args.stride, args.point_maps, tell)
    remove_other_kind(args.out, recorded_files(args.out / "cameras.json"), recorded, result.metric)
    unit = "metres" if result.metric else "one unit that is unknown"
    views = f"{len(args.files)} views" if len(args.files) > 1 else "one view"
    print(f"{count} points of {views} in {unit}, peak memory {peak_memory_mb():.0f} MB, results in {args.out}")
    if count == 0:
        print(f"depth-retrofit: error: no point is left in the cloud: {_remedy(args.drop)}", file=sys.stderr)
        return 1
    return 0


def _remedy(drop: float) -> str:
    """What to do about an empty cloud."""
    if drop > 0:
        return "give a smaller --drop, or photos that show more than sky and unknown depth"
    return "give photos that show more than sky and unknown depth"


def _read(file: Path) -> np.ndarray:
    from depth_retrofit_ros.io.photos import read_photo

    return read_photo(file).image


def _load(args: argparse.Namespace) -> MultiViewModel:
    """The model, or what is stored of one. Raises DepthRetrofitError."""
    from depth_retrofit_ros.coarse.auto import AUTO
    from depth_retrofit_ros.coarse.stored_views import StoredViews
    from depth_retrofit_ros.coarse.views import MultiViewModel
    from depth_retrofit_ros.device.choice import pick_device

    if args.coarse is not None:
        names = [file.stem for file in args.files]
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise UsageError(f"two photos are called {repeated}, which is where --coarse looks for their predictions: rename one")
        print(f"the views' predictions from files in {args.coarse}; no model is run")
        device = pick_device(args.device)
        try:
            return StoredViews(args.coarse, names, device)
        except DatasetError:
            for file in args.files:  # a photo that cannot be read is told before what is missing of it
                _read(file)
            raise
    if args.model == AUTO:
        raise ModelError("auto takes models of one view: name one of several, such as vggt, or give --coarse")
    model = chosen_coarse(args)
    if not isinstance(model, MultiViewModel):
        raise ModelError(f"{args.model} sees one image at a time: choose a model of several views, such as vggt, or give --coarse")
    return model
