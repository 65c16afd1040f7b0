"""The refiner as CUDA graphs."""

from __future__ import annotations

from collections.abc import Hashable

import torch

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.device.cuda_graphs import Graphed
from depth_retrofit_ros.refinement.base import RefinerInput
from depth_retrofit_ros.refinement.pixels.decision import Refinement
from depth_retrofit_ros.refinement.pixels.features import PixelFeatures
from depth_retrofit_ros.refinement.pixels.refiner import Refined, SparseRefiner
from depth_retrofit_ros.sparse.pixel_set import PixelSet


class GraphedRefiner:
    """A ``SparseRefiner`` whose ``refine`` is replayed as a graph: one per image size and number of pixels."""

    def __init__(self, refiner: SparseRefiner) -> None:
        self.name, self.needs, self.backend_name = refiner.name, refiner.needs, refiner.backend_name
        self.fuse = refiner.fuse
        device = next(refiner.network.parameters()).device

        def refine(key: Hashable, *tensors: torch.Tensor) -> Refined:
            image, small, coarse, features, depth, score, indices, index_image = tensors
            prediction = CoarsePrediction(coarse, features)
            return refiner.refine(RefinerInput(image, small, prediction, depth, score, PixelSet(indices, index_image)))

        self._graphed = Graphed(refine, _own, device)

    def refine(self, given: RefinerInput) -> Refined:
        """See ``Refiner.refine``."""
        maps = given.coarse.depth, given.coarse.features, given.depth, given.score
        return self._graphed(None, given.image, given.small, *maps, given.pixels.indices, given.pixels.index_image)


def _own(refined: Refined) -> Refined:
    """A copy of what ``fuse`` needs."""
    decided = refined.refinement
    own = Refinement(decided.change.clone(), None, decided.entropy.clone())
    return Refined(refined.coarse.clone(), PixelFeatures(refined.features.rows.clone()), own)
