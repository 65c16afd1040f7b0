"""``--coarse``: coarse maps from files instead of a model, for the commands that take them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from depth_retrofit_ros.coarse.input_size import LARGEST
from depth_retrofit_ros.errors import UsageError

if TYPE_CHECKING:
    import torch

    from depth_retrofit_ros.coarse.stored import StoredCoarse

KINDS = ("depth", "metric", "normalized", "disparity", "inverted-disparity")  # as in coarse.map_kinds, which imports OpenCV
LEAST_GRID = 16  # px


def add_coarse_maps_options(parser: argparse.ArgumentParser) -> None:
    """Where the maps are, what their values mean, and on which grid they are refined."""
    group = parser.add_argument_group("coarse maps from files, instead of a model")
    group.add_argument(
        "--coarse", type=Path, metavar="DIR2", help="take the coarse map of each image from NAME.npz, .npy, .pfm or .png there"
    )
    group.add_argument(
        "--coarse-kind",
        choices=KINDS,
        help="what their values are (docs/coarse-maps.md); an .npz with depth or disparity says so itself",
    )
    group.add_argument(
        "--coarse-grid",
        type=_grid,
        metavar="PX",
        help="long side of the grid that they are refined on, or native: as they are stored (default: what their detail is worth)",
    )


def check_coarse_maps_options(args: argparse.Namespace) -> None:
    """Raises UsageError."""
    for name in ("kind", "grid"):
        if args.coarse is None and getattr(args, f"coarse_{name}") is not None:
            raise UsageError(f"--coarse-{name} is of the maps in --coarse DIR2: give that too, or leave it out")


def read_coarse_map(args: argparse.Namespace, name: str, device: torch.device) -> StoredCoarse:
    """The map of the image ``name`` (without suffix). Raises DatasetError, one line."""
    from depth_retrofit_ros.coarse.stored import read_stored, stored_path

    return read_stored(stored_path(args.coarse, name), device, args.coarse_kind, args.coarse_grid)


def _grid(text: str) -> int | Literal["native"]:
    """A long side [px], or ``native``, for argparse."""
    if text == "native":
        return "native"
    if not text.isdecimal() or not LEAST_GRID <= int(text) <= LARGEST:
        raise argparse.ArgumentTypeError(f"{text} is neither {LEAST_GRID} to {LARGEST} px nor native")
    return int(text)
