"""``--coarse``: coarse maps from files instead of a model, for the commands that take them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from depth_retrofit_ros.errors import UsageError

if TYPE_CHECKING:
    import torch

    from depth_retrofit_ros.coarse.stored import StoredCoarse

KINDS = ("depth", "metric", "normalized", "disparity", "inverted-disparity")  # as in coarse.map_kinds, which imports torch


def add_coarse_maps_options(parser: argparse.ArgumentParser) -> None:
    """Where the maps are, and what their values mean."""
    group = parser.add_argument_group("coarse maps from files, instead of a model")
    group.add_argument(
        "--coarse", type=Path, metavar="DIR2", help="take the coarse map of each image from NAME.npz, .npy, .pfm or .png there"
    )
    group.add_argument(
        "--coarse-kind",
        choices=KINDS,
        help="what their values are (docs/coarse-maps.md); an .npz with depth or disparity says so itself",
    )


def check_coarse_maps_options(args: argparse.Namespace) -> None:
    """Raises UsageError."""
    if args.coarse is None and args.coarse_kind is not None:
        raise UsageError("--coarse-kind is of the maps in --coarse DIR2: give that too, or leave it out")


def read_coarse_map(args: argparse.Namespace, name: str, device: torch.device) -> StoredCoarse:
    """The map of the image ``name`` (without suffix). Raises DatasetError or UsageError, one line."""
    from depth_retrofit_ros.coarse.stored import read_stored, stored_path

    return read_stored(stored_path(args.coarse, name), device, args.coarse_kind, coarse_map_size(args))


def coarse_map_size(args: argparse.Namespace) -> int | str:
    """``default``, ``native`` or a long side [px], see ``coarse.map_detail.grid_for``. Raises UsageError."""
    from depth_retrofit_ros.coarse.map_detail import DEFAULT, LEAST_SIDE, NATIVE

    text = str(getattr(args, "coarse_size", None) or DEFAULT)
    if text in (DEFAULT, NATIVE):
        return text
    if not text.isdecimal() or int(text) < LEAST_SIDE:
        raise UsageError(
            f"--coarse-size {text} of stored maps is a long side of {LEAST_SIDE} px and more, '{NATIVE}' or '{DEFAULT}'"
        )
    return int(text)
