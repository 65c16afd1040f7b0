"""The paper's refiner at run time, and its checkpoint, which also holds the thresholds of its selection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from depth_retrofit_ros.device.precisions import name_of
from depth_retrofit_ros.errors import WeightsError
from depth_retrofit_ros.io.checkpoints import load_names
from depth_retrofit_ros.refinement.base import Fused, Needs, RefinerInput
from depth_retrofit_ros.refinement.kinds import network_of
from depth_retrofit_ros.refinement.paper.network import PaperNet, Value
from depth_retrofit_ros.refinement.pixels.features import colors_at
from depth_retrofit_ros.refinement.pixels.refiner import bring_to, load_network, type_for
from depth_retrofit_ros.selection.threshold import Thresholds
from depth_retrofit_ros.selection.uncertainty import entropy_share
from depth_retrofit_ros.sparse.backends.registry import SparseBackend, load_backend
from depth_retrofit_ros.upsampling.interpolation import cell_index, row_and_column

NAME = "paper"


@dataclass(frozen=True, slots=True)
class PaperRefined:
    """What the blend needs: coarse: ln(coarse depth / median) and its entropy, both ``[K]``; value: the network's; middle: ln of
    the median coarse depth of the frame, ``[]``."""

    coarse: Tensor
    entropy: Tensor
    value: Value
    middle: Tensor


class PaperRefiner:
    """``Refiner`` on a sparse backend; dtype: of its convolutions. See ``network``."""

    name = NAME
    needs: Needs = "pixels"

    def __init__(self, network: PaperNet, backend: SparseBackend, dtype: torch.dtype = torch.float32) -> None:
        self.network, self.backend, self.dtype = network.eval(), backend, dtype
        bring_to(network.unet, dtype)

    @property
    def backend_name(self) -> str:
        """See ``Refiner``."""
        return f"{self.backend.name} in {name_of(self.dtype)}"

    def refine(self, given: RefinerInput) -> PaperRefined:
        """See ``Refiner.refine``."""
        indices, low = given.pixels.indices, given.coarse.depth
        middle = low.log().nanmedian()
        rgb = colors_at(given.image.view(-1, 3), indices).to(self.dtype)
        value = self.network(rgb, self.backend.build_pyramid(given.pixels, self.network.levels))
        entropy = entropy_share(given.coarse.features, (low.shape[0], low.shape[1]))
        coarse = given.depth.flatten()[indices].log() - middle
        return PaperRefined(coarse, at_pixels(entropy, indices, given.size), value, middle)

    def fuse(self, refined: PaperRefined) -> Fused:
        """See ``Refiner.fuse``."""
        value = refined.value
        gate, level = self.network.gate(refined.coarse, value.level, refined.entropy, value.entropy)
        return Fused(gate, (level + refined.middle).exp())


def at_pixels(values: Tensor, pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """``nearest`` values of a coarse map ``[h, w]`` at flat indices ``int64 [K]`` of a ``size = (H, W)`` frame, ``[K]``."""
    y, x = row_and_column(pixels, size[1])
    return values[cell_index(y, values.shape[0], size[0]), cell_index(x, values.shape[1], size[1])]


def load(path: Path, device: torch.device, backend: str, precision: str) -> PaperRefiner:
    """See ``registry.RefinerInfo``. Raises WeightsError or ModelError."""
    loaded = load_backend(backend, device)
    dtype = type_for(loaded, precision)
    return PaperRefiner(load_network(path, NAME, PaperNet).to(device), loaded, dtype)


def read_thresholds(path: Path) -> Mapping[str, Thresholds]:
    """Of a checkpoint, by coarse model's name. Raises WeightsError."""
    try:
        told = network_of(load_names(path)[1])["thresholds"]
        return {str(model): Thresholds(tuple(map(float, alphas))) for model, alphas in told.items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise WeightsError(f"{path} has no thresholds to select by: make one with 'depth-retrofit train paper'") from None
