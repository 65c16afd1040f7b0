"""URGT by the registry's name."""

from __future__ import annotations

from pathlib import Path

import torch

from depth_retrofit_ros.refinement.tiles.loading import load_network
from depth_retrofit_ros.refinement.tiles.refiner import TileRefiner, require_float32
from depth_retrofit_ros.refinement.urgt.network import Urgt


def load(path: Path, device: torch.device, backend: str, precision: str) -> TileRefiner:
    """See ``registry.RefinerInfo``. Raises WeightsError or ModelError."""
    require_float32("urgt", backend, precision)
    return TileRefiner(load_network(path, device, "urgt", Urgt), device)
