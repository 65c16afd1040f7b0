"""Checkpoints as others published them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from depth_retrofit_ros.io.checkpoints import load_tensors

STATE = "model_state_dict"  # where a published training keeps its network's weights
URGT_NAME = "aggregator.patch_embed.patch_embed_depth.proj.weight"  # in URGT's published checkpoints alone


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a refiner's checkpoint, of ours and of published ones. Raises WeightsError."""
    return load_tensors(path, nested=STATE)


def is_published_urgt(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a checkpoint is one of URGT as it was published."""
    return any(name.endswith(URGT_NAME) for name in tensors)
