"""URGT by the registry's name."""

from __future__ import annotations

from pathlib import Path

import torch

from depth_retrofit_ros.refinement.published import is_published_urgt, read_checkpoint, read_names
from depth_retrofit_ros.refinement.tiles.loading import load_network
from depth_retrofit_ros.refinement.tiles.refiner import TileRefiner, require_float32
from depth_retrofit_ros.refinement.urgt.network import Urgt


def load(path: Path, device: torch.device, backend: str, precision: str) -> TileRefiner:
    """See ``registry.RefinerInfo``; path: a checkpoint of the small network, or one of the published one, whose names tell it.
    Raises WeightsError or ModelError."""
    require_float32("urgt", backend, precision)
    if is_published_urgt(read_names(path)[0]):
        from depth_retrofit_ros.refinement.urgt.published_net import load_published

        return TileRefiner(load_published(read_checkpoint(path)[0], path).to(device), device)
    return TileRefiner(load_network(path, device, "urgt", Urgt), device)
