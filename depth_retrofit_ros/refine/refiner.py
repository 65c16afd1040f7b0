"""Refiners: (image, coarse prediction, score, pixels) → refined depth at the pixels, and its fusion with the coarse depth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from depth_retrofit_ros.checkpoint import bundled, load_strict, load_tensors
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.upsample import sample_at
from depth_retrofit_ros.errors import WeightsError
from depth_retrofit_ros.refine.candidates import candidate_maps
from depth_retrofit_ros.refine.network import PixelFeatures, Refinement, RefinerNet
from depth_retrofit_ros.selection.pixel_set import PixelSet
from depth_retrofit_ros.sparse.engine import SparseEngine, load_engine


@dataclass(frozen=True, slots=True)
class Refined:
    """A refinement with what its fusion needs: coarse depth ``[K]`` (unit of the coarse model) and the network's features."""

    coarse: torch.Tensor
    features: PixelFeatures
    refinement: Refinement


class Refiner(Protocol):
    """Corrects the selected pixels; the two steps are separate because they are separate boxes of the method."""

    def refine(
        self, image: torch.Tensor, coarse: CoarsePrediction, depth: torch.Tensor, score: torch.Tensor, pixels: PixelSet
    ) -> Refined:
        """image ``uint8 [H, W, 3]``; depth ``float32 [H, W]``, the upsampled coarse depth; score ``[h, w]`` on the coarse grid."""
        ...

    def fuse(self, refined: Refined) -> tuple[torch.Tensor, torch.Tensor]:
        """Gate ``[K]`` (the coarse value's weight) and fused depth ``[K]``."""
        ...


class SparseRefiner:
    """The sparse U-Net refiner on a sparse engine."""

    def __init__(self, network: RefinerNet, engine: SparseEngine) -> None:
        self.network, self.engine = network.eval(), engine

    def refine(
        self, image: torch.Tensor, coarse: CoarsePrediction, depth: torch.Tensor, score: torch.Tensor, pixels: PixelSet
    ) -> Refined:
        """See ``Refiner.refine``."""
        features = pixel_features(image, coarse.depth, depth, score, pixels)
        pyramid = self.engine.build_pyramid(pixels, self.network.levels)
        return Refined(depth.flatten()[pixels.indices], features, self.network(features, pyramid))

    def fuse(self, refined: Refined) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``Refiner.fuse``."""
        f, r = refined.features, refined.refinement
        gate, change = self.network.fusion(f.level, r.change, f.entropy, r.entropy)
        return gate, refined.coarse * change.exp()


def pixel_features(
    image: torch.Tensor, coarse_depth: torch.Tensor, depth: torch.Tensor, score: torch.Tensor, pixels: PixelSet
) -> PixelFeatures:
    """Gather the network's input at the active pixels; shapes as in ``Refiner.refine``, coarse_depth ``[h, w]``."""
    rgb = image.view(-1, 3)[pixels.indices].float().sub_(127.5).div_(64.0)
    maps = coarse_maps(coarse_depth, score)
    return features_from_maps(rgb, maps, depth.flatten()[pixels.indices], coarse_depth, pixels.indices, pixels.size)


def coarse_maps(coarse_depth: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
    """All that is computed on the coarse grid and then sampled, ``float32 [h, w, COUNT + 2]``: candidates, score, ln depth."""
    centered = (score - score.mean()) / score.std().clamp_min(1e-6)
    return torch.cat([candidate_maps(coarse_depth), centered[..., None], coarse_depth.log()[..., None]], -1)


def features_from_maps(
    rgb: torch.Tensor,
    maps: torch.Tensor,
    depth_at: torch.Tensor,
    coarse_depth: torch.Tensor,
    indices: torch.Tensor,
    size: tuple[int, int],
) -> PixelFeatures:
    """rgb ``[K, 3]``; maps from ``coarse_maps``; depth_at ``[K]``, the upsampled depth; indices ``[K]`` in a frame of ``size``."""
    sampled = sample_at(maps, indices, size)
    log_depth = depth_at.log()
    # The candidates were taken relative to the coarse grid's own ln depth; make them relative to the upsampled depth of this pixel.
    candidates = sampled[:, :-2] + (sampled[:, -1] - log_depth)[:, None]
    candidates[:, 0] = 0
    level = log_depth - coarse_depth.log().median()
    return PixelFeatures(rgb, candidates, level, sampled[:, -2].clamp(-3, 6))


def load_refiner(path: Path | None, device: torch.device, engine: str = "torch") -> SparseRefiner:
    """A trained refiner; path None: the bundled one. Raises WeightsError in one line."""
    path = path or bundled("refiner.safetensors")
    tensors, metadata = load_tensors(path)
    try:
        shape = json.loads(metadata["network"])
        network = RefinerNet(shape["widths"], shape["blocks"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is not a refiner checkpoint: make one with 'depth-retrofit train refiner'") from error
    load_strict(network, tensors, path)
    return SparseRefiner(network.to(device), load_engine(engine))
