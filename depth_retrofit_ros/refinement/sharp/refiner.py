"""SharpDepth by the registry's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from depth_retrofit_ros.refinement.base import Refiner
from depth_retrofit_ros.refinement.sharp.network import SharpDepth
from depth_retrofit_ros.refinement.tiles.loading import load_network
from depth_retrofit_ros.refinement.tiles.refiner import TileRefiner, require_float32


def load(path: Path, device: torch.device, backend: str, precision: str) -> Refiner[Any]:
    """See ``registry.RefinerInfo``. Raises WeightsError or ModelError."""
    require_float32("sharp", backend, precision)
    return TileRefiner(load_network(path, device, "sharp", SharpDepth), device)
