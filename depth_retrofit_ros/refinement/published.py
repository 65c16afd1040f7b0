"""Checkpoints as others published them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from depth_retrofit_ros.io.checkpoints import load_names, load_tensors

STATE = "model_state_dict"  # where a published training keeps its network's weights
URGT_NAME = "aggregator.patch_embed.patch_embed_depth.proj.weight"  # in URGT's published checkpoints alone


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a refiner's checkpoint, of ours and of published ones. Raises WeightsError."""
    return load_tensors(path, nested=STATE)


def read_names(path: Path) -> tuple[frozenset[str], dict[str, str]]:
    """The tensors' names and the metadata of a refiner's checkpoint, without reading its values. Raises WeightsError."""
    return load_names(path, nested=STATE)


def is_published_urgt(names: Iterable[str]) -> bool:
    """Whether tensors of these names are a checkpoint of URGT as it was published."""
    return any(name.endswith(URGT_NAME) for name in names)
