"""No refinement: the answer is the upsampled coarse depth."""

from __future__ import annotations

from pathlib import Path

import torch

from depth_retrofit_ros.refinement.base import Fused, Needs, RefinerInput


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
    """See ``registry.RefinerInfo``; nothing of it matters here."""
    del path, device, backend, precision
    return NoRefiner()
