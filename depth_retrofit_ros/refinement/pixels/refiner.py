"""The refiner of pixels: a sparse U-Net on the selected pixels alone (2K Retrofit, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from depth_retrofit_ros.device.launches import has_kernels
from depth_retrofit_ros.device.precisions import PRECISIONS, name_of, type_named
from depth_retrofit_ros.device.thread_pool import THREAD_POOL
from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.io.checkpoints import bundled, load_strict, load_tensors, require_same
from depth_retrofit_ros.refinement.base import Fused, Needs, RefinerInput
from depth_retrofit_ros.refinement.kinds import network_of
from depth_retrofit_ros.refinement.pixels.decision import Refinement
from depth_retrofit_ros.refinement.pixels.features import PixelFeatures, pixel_features, start_of
from depth_retrofit_ros.refinement.pixels.gate_cpu import gate_kernel
from depth_retrofit_ros.refinement.pixels.network import RefinerNet
from depth_retrofit_ros.sparse.backends.registry import SparseBackend, load_backend
from depth_retrofit_ros.sparse.unet import SparseUNet

Network = TypeVar("Network", bound=nn.Module)
LARGEST = 1024  # channels, levels or blocks that a checkpoint may ask for


@dataclass(frozen=True, slots=True)
class Refined:
    """A refinement with what its fusion needs: coarse depth ``[K]`` (unit of the coarse model) and the network's features."""

    coarse: torch.Tensor
    features: PixelFeatures
    refinement: Refinement


class SparseRefiner:
    """The sparse U-Net refiner on a sparse backend; dtype: of its convolutions, to which the network's weights are brought."""

    name = "sparse"
    needs: Needs = "pixels"

    def __init__(self, network: RefinerNet, backend: SparseBackend, dtype: torch.dtype = torch.float32) -> None:
        self.network, self.backend, self.dtype = network.eval(), backend, dtype
        network.mix.to(dtype)
        bring_to(network.unet, dtype)

    @property
    def backend_name(self) -> str:
        """See ``Refiner``."""
        return f"{self.backend.name} in {name_of(self.dtype)}"

    def refine(self, given: RefinerInput) -> Refined:
        """See ``Refiner.refine``."""
        maps = given.coarse.depth, given.depth, given.score
        features = pixel_features(given.image, given.small, *maps, given.pixels, self.dtype)
        pyramid = self.backend.build_pyramid(given.pixels, self.network.levels)
        return Refined(given.depth.flatten()[given.pixels.indices], features, self.network(features, pyramid))

    def fuse(self, refined: Refined) -> Fused:
        """See ``Refiner.fuse``."""
        f, r = refined.features, refined.refinement
        if torch.is_inference_mode_enabled() and has_kernels(f.rows.device):
            from depth_retrofit_ros.refinement.pixels import decision_triton

            layers = self.network.fusion.layers
            gate, fused = decision_triton.fuse(f.level, f.entropy, r.change, r.entropy, refined.coarse, layers)
            return Fused(gate, fused, entropy=r.entropy)
        if torch.is_inference_mode_enabled() and f.rows.device.type == "cpu":
            return Fused(*fuse_compiled(refined, self.network.fusion.layers), entropy=r.entropy)
        gate, change = self.network.fusion(f.level, r.change, f.entropy, r.entropy)
        return Fused(gate, refined.coarse * change.exp(), entropy=r.entropy)


def bring_to(unet: SparseUNet, dtype: torch.dtype) -> None:
    """The U-Net's weights to a type. Its last layer stays in float32 beside bfloat16, whose 8 bits are few for the logarithm of a
    probability."""
    for part in unet.children():
        part.to(torch.float32 if part is unet.head and dtype == torch.bfloat16 else dtype)


def fuse_compiled(refined: Refined, layers: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """``Refiner.fuse`` by the compiled pass for the CPU; layers: see ``GatedFusion``."""
    rows, change, entropy = refined.features.rows, refined.refinement.change, refined.refinement.entropy
    gate, fused = torch.empty_like(change), torch.empty_like(change)
    tensors = rows, change, entropy, refined.coarse, *layers, gate, fused
    arguments = [*(tensor.detach().contiguous().numpy() for tensor in tensors), np.zeros(1, np.int64)]
    compiled = gate_kernel(start_of("level"), start_of("entropy"))
    THREAD_POOL.run(lambda: compiled(*arguments))
    return gate, fused


def load_sparse_refiner(path: Path | None, device: torch.device, backend: str = "auto", precision: str = "auto") -> SparseRefiner:
    """A trained refiner; path None: the bundled one; backend: see ``load_backend``; precision: see ``type_for``.

    Raises WeightsError or ModelError in one line.
    """
    loaded = load_backend(backend, device)
    dtype = type_for(loaded, precision)
    network = load_network(path or bundled("refiner.safetensors"), "refiner", RefinerNet)
    return SparseRefiner(network.to(device), loaded, dtype)


def load_network(path: Path, target: str, make: Callable[[Sequence[int], int], Network]) -> Network:
    """The network that ``make`` builds of a checkpoint's widths and blocks, with its weights, on the CPU.

    target: what ``depth-retrofit train`` calls it. It is built where there is memory for it only if the file has its weights: the
    file may be anybody's, and a few bytes ask for gigabytes. Raises WeightsError.
    """
    tensors, metadata = load_tensors(path)
    widths, blocks = shape_of(metadata, path, target)
    if len(widths) * blocks > len(tensors):  # a block has weights of its own: not even names are made of those that are not there
        raise _not_one(path, target)
    with torch.device("meta"):
        require_same(make(widths, blocks), tensors, path)
    network = make(widths, blocks)
    load_strict(network, tensors, path)
    return network


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


def shape_of(metadata: Mapping[str, str], path: Path, target: str) -> tuple[list[int], int]:
    """Widths and blocks of the U-Net, which a checkpoint states as JSON: ``{"widths": [16, …], "blocks": 1}``.

    target: what ``depth-retrofit train`` calls it. Raises WeightsError.
    """
    try:
        shape = network_of(metadata)
        widths, blocks = list(shape["widths"]), shape["blocks"]
    except (KeyError, TypeError, ValueError):
        widths, blocks = [], 0
    if not all(type(n) is int and n > 0 for n in (len(widths), blocks, *widths)) or max(len(widths), blocks, *widths) > LARGEST:
        raise _not_one(path, target)
    return widths, blocks


def _not_one(path: Path, target: str) -> WeightsError:
    return WeightsError(f"{path} is not a {target} checkpoint: make one with 'depth-retrofit train {target}'")
