"""No refinement: the answer is the upsampled coarse depth."""

from __future__ import annotations

from pathlib import Path

import torch

from depth_retrofit_ros.refinement.base import Fused, Needs, RefinerInput
from depth_retrofit_ros.refinement.tiles.refiner import require_float32


class NoRefiner:
    """Keeps the coarse depth, and asks for no pixels."""

    name = "none"
    needs: Needs = "nothing"
    backend_name = "none"

    def refine(self, given: RefinerInput) -> torch.Tensor:
        """The coarse depth ``[K]``."""
        return given.depth.flatten()[given.pixels.indices]

    def fuse(self, refined: torch.Tensor) -> Fused:
        """See ``Refiner.fuse``."""
        return Fused(torch.ones_like(refined), refined)


def load(path: Path | None, device: torch.device, backend: str, precision: str) -> NoRefiner:
    """See ``registry.RefinerInfo``. Raises ModelError for settings of refiners that compute something."""
    del path, device
    require_float32(NoRefiner.name, backend, precision)
    return NoRefiner()
