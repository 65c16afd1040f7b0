"""Refiners: (image, coarse prediction, score, pixels) → refined depth at the pixels, and its fusion with the coarse depth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.device.launches import has_kernels
from depth_retrofit_ros.device.precisions import PRECISIONS, name_of, type_named
from depth_retrofit_ros.device.thread_pool import THREAD_POOL
from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.io.checkpoints import bundled, load_strict, load_tensors
from depth_retrofit_ros.refinement.pixels.decision import Refinement
from depth_retrofit_ros.refinement.pixels.features import PixelFeatures, pixel_features, start_of
from depth_retrofit_ros.refinement.pixels.gate_cpu import gate_kernel
from depth_retrofit_ros.refinement.pixels.network import RefinerNet
from depth_retrofit_ros.sparse.backends.registry import SparseBackend, load_backend
from depth_retrofit_ros.sparse.pixel_set import PixelSet

LARGEST = 1024  # channels, levels or blocks that a checkpoint may ask for


@dataclass(frozen=True, slots=True)
class Refined:
    """A refinement with what its fusion needs: coarse depth ``[K]`` (unit of the coarse model) and the network's features."""

    coarse: torch.Tensor
    features: PixelFeatures
    refinement: Refinement


class Refiner(Protocol):
    """Corrects the selected pixels; the two steps are separate because they are separate boxes of the method.

    backend_name: the sparse backend that computes it, and in which type, for people to read.
    """

    @property
    def backend_name(self) -> str: ...

    def refine(
        self,
        image: torch.Tensor,
        small: torch.Tensor,
        coarse: CoarsePrediction,
        depth: torch.Tensor,
        score: torch.Tensor,
        pixels: PixelSet,
    ) -> Refined:
        """image ``uint8 [H, W, 3]``; small ``float32 [h, w, 3]`` 0…1, its average over each coarse pixel; depth ``float32 [H, W]``,
        the upsampled coarse depth; score ``[h, w]`` on the coarse grid."""
        ...

    def fuse(self, refined: Refined) -> tuple[torch.Tensor, torch.Tensor]:
        """Gate ``[K]`` (the coarse value's weight) and fused depth ``[K]``."""
        ...


class SparseRefiner:
    """The sparse U-Net refiner on a sparse backend; dtype: of its convolutions, to which the network's weights are brought.

    The network's last layer stays in float32 beside bfloat16, whose 8 bits are few for the logarithm of a probability.
    """

    def __init__(self, network: RefinerNet, backend: SparseBackend, dtype: torch.dtype = torch.float32) -> None:
        self.network, self.backend, self.dtype = network.eval(), backend, dtype
        for part in (network.mix, *network.unet.children()):
            part.to(torch.float32 if part is network.unet.head and dtype == torch.bfloat16 else dtype)

    @property
    def backend_name(self) -> str:
        """See ``Refiner``."""
        return f"{self.backend.name} in {name_of(self.dtype)}"

    def refine(
        self,
        image: torch.Tensor,
        small: torch.Tensor,
        coarse: CoarsePrediction,
        depth: torch.Tensor,
        score: torch.Tensor,
        pixels: PixelSet,
    ) -> Refined:
        """See ``Refiner.refine``."""
        features = pixel_features(image, small, coarse.depth, depth, score, pixels, self.dtype)
        pyramid = self.backend.build_pyramid(pixels, self.network.levels)
        return Refined(depth.flatten()[pixels.indices], features, self.network(features, pyramid))

    def fuse(self, refined: Refined) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``Refiner.fuse``."""
        f, r = refined.features, refined.refinement
        if torch.is_inference_mode_enabled() and has_kernels(f.rows.device):
            from depth_retrofit_ros.refinement.pixels import decision_triton

            layers = self.network.fusion.layers
            return decision_triton.fuse(f.level, f.entropy, r.change, r.entropy, refined.coarse, layers)
        if torch.is_inference_mode_enabled() and f.rows.device.type == "cpu":
            return fuse_compiled(refined, self.network.fusion.layers)
        gate, change = self.network.fusion(f.level, r.change, f.entropy, r.entropy)
        return gate, refined.coarse * change.exp()


def fuse_compiled(refined: Refined, layers: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """``Refiner.fuse`` by the compiled pass for the CPU; layers: see ``GatedFusion``."""
    rows, change, entropy = refined.features.rows, refined.refinement.change, refined.refinement.entropy
    gate, fused = torch.empty_like(change), torch.empty_like(change)
    tensors = rows, change, entropy, refined.coarse, *layers, gate, fused
    arguments = [*(tensor.detach().contiguous().numpy() for tensor in tensors), np.zeros(1, np.int64)]
    compiled = gate_kernel(start_of("level"), start_of("entropy"))
    THREAD_POOL.run(lambda: compiled(*arguments))
    return gate, fused


def load_refiner(path: Path | None, device: torch.device, backend: str = "auto", precision: str = "auto") -> SparseRefiner:
    """A trained refiner; path None: the bundled one; backend: see ``load_backend``; precision: see ``type_for``.

    Raises WeightsError or ModelError in one line.
    """
    path = path or bundled("refiner.safetensors")
    tensors, metadata = load_tensors(path)
    network = _network_of(metadata, path)
    load_strict(network, tensors, path)
    loaded = load_backend(backend, device)
    return SparseRefiner(network.to(device), loaded, type_for(loaded, precision))


def type_for(backend: SparseBackend, precision: str) -> torch.dtype:
    """In which type a refiner computes on this backend; precision: a name of ``PRECISIONS``, or ``auto``, the backend's first.

    Raises ModelError where there is no such type, or the backend does not compute in it on this machine.
    """
    if precision == "auto":
        return backend.types[0]
    if precision not in PRECISIONS:
        raise ModelError(f"unknown refiner_precision '{precision}': choose one of auto, {', '.join(PRECISIONS)}")
    dtype = type_named(precision)
    if dtype not in backend.types:
        there = " or ".join(map(name_of, backend.types))
        lack = backend.lack_of(dtype)
        told = f"sparse backend '{backend.name}' computes in {there} on this machine, not in {precision}"
        raise ModelError(f"{told}{lack and f' ({lack})'}: choose that, or auto")
    return dtype


def _network_of(metadata: Mapping[str, str], path: Path) -> RefinerNet:
    """The untrained network whose shape a checkpoint states as JSON: ``{"widths": [16, …], "blocks": 1}``."""
    try:
        shape = json.loads(metadata["network"])
        widths, blocks = list(shape["widths"]), shape["blocks"]
    except (KeyError, TypeError, ValueError):
        widths, blocks = [], 0
    if not all(type(n) is int and n > 0 for n in (len(widths), blocks, *widths)) or max(len(widths), blocks, *widths) > LARGEST:
        raise WeightsError(f"{path} is not a refiner checkpoint: make one with 'depth-retrofit train refiner'")
    return RefinerNet(widths, blocks)
