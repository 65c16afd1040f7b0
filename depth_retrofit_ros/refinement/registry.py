"""Refiners: one mapping from name to loader; each is imported when it is used."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import torch

from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.io.checkpoints import bundled
from depth_retrofit_ros.refinement.base import Needs, Refiner
from depth_retrofit_ros.refinement.kinds import KIND
from depth_retrofit_ros.refinement.published import is_published_urgt, read_names

DEFAULT = "sparse"
LONGEST = 40  # characters of a name that a file states, in a message


@dataclass(frozen=True, slots=True)
class RefinerInfo:
    """A refiner, by name.

    loader: ``module:function``, called as ``function(path, device, backend, precision)`` with the checkpoint's path (None where
    ``file`` is empty), returns a ``Refiner``; backend, precision: as ``load_refiner`` takes them. needs: what it looks at. file:
    the bundled checkpoint. normals: whether it gives those too. source: the paper.
    """

    loader: str
    needs: Needs
    description: str
    file: str = ""
    normals: bool = False
    source: str = ""


REFINERS: Mapping[str, RefinerInfo] = {
    "sparse": RefinerInfo(
        "depth_retrofit_ros.refinement.pixels.refiner:load_sparse_refiner",
        "pixels",
        "sparse U-Net on the selected pixels alone: for live use",
        "refiner.safetensors",
        source="2K Retrofit, arXiv 2603.19964",
    ),
    "prv2": RefinerInfo(
        "depth_retrofit_ros.refinement.prv2.refiner:load",
        "tiles",
        "two-way fusion of each tile with the coarse model's features",
        "refiner_prv2.safetensors",
        source="PatchRefiner V2, arXiv 2501.01121",
    ),
    "urgt": RefinerInfo(
        "depth_retrofit_ros.refinement.urgt.refiner:load",
        "tiles",
        "a transformer across tiles",
        "refiner_urgt.safetensors",
        normals=True,
        source="URGT, arXiv 2603.03026",
    ),
    "sharp": RefinerInfo(
        "depth_retrofit_ros.refinement.sharp.refiner:load",
        "tiles",
        "a sharp answer without scale, anchored where it agrees with the coarse depth",
        "refiner_sharp.safetensors",
        source="SharpDepth, arXiv 2411.18229",
    ),
    "paper": RefinerInfo(
        "depth_retrofit_ros.refinement.paper.refiner:load",
        "pixels",
        "the paper's to the letter: depth itself from RGB alone, blended with the coarse depth; see --preset",
        "refiner_paper.safetensors",
        source="2K Retrofit, arXiv 2603.19964",
    ),
    "none": RefinerInfo(
        "depth_retrofit_ros.refinement.nothing:load", "nothing", "the upsampled coarse depth as it is: to compare with"
    ),
}

FOLDER = "sharpdepth"
OF_FOLDER = RefinerInfo(
    "depth_retrofit_ros.refinement.sharp.pipeline:load",
    "frame",
    "SharpDepth's full pipeline, of the folder of its published checkpoint; not tested with the published weights",
    source="SharpDepth, arXiv 2411.18229",
)
"""What a path that is a folder is loaded as: it has no name, as none of it is bundled."""


def load_refiner(chosen: Path | str | None, device: torch.device, backend: str = "auto", precision: str = "auto") -> Refiner[Any]:
    """A trained refiner.

    chosen: a name of ``REFINERS`` (its bundled checkpoint), the path of a checkpoint, which tells of which refiner it is, None for
    ``DEFAULT``, or a folder (``OF_FOLDER``). backend: of sparse convolutions, see ``load_backend``; precision: in which
    type it computes, see ``pixels.refiner.type_for``. Raises WeightsError or ModelError in one line.
    """
    name, path = resolved(chosen)
    module, _, function = (OF_FOLDER if name == FOLDER else REFINERS[name]).loader.partition(":")
    return cast(Refiner[Any], getattr(import_module(module), function)(path, device, backend, precision))


def resolved(chosen: Path | str | None) -> tuple[str, Path | None]:
    """The refiner's name, and its checkpoint's path where it has one; see ``load_refiner``. Of a file only names and metadata are
    read: the values are read once, by the loader. Raises WeightsError or ModelError."""
    text = DEFAULT if chosen is None else str(chosen)
    if text in REFINERS:
        file = REFINERS[text].file
        return text, bundled(file) if file else None
    path = Path(text).expanduser()
    if not path.exists() and path.name == text and not path.suffix:  # a word: a name was meant
        close = difflib.get_close_matches(text, REFINERS, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise ModelError(f"unknown refiner '{text}': {hint}choose one of {', '.join(REFINERS)}, or the path of a checkpoint")
    if path.is_dir():
        return FOLDER, path
    names, metadata = read_names(path)
    name = metadata.get(KIND, "urgt" if is_published_urgt(names) else DEFAULT)
    if name not in REFINERS or not REFINERS[name].file:
        told = repr(name[:LONGEST])  # a file may be anybody's, and its words must not rule a terminal
        raise WeightsError(f"{path} is a checkpoint of refiner {told}, which this version does not know: update it")
    return name, path
