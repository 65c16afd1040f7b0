"""spconv as a backend to compare with. It is made for CUDA; its CPU path is right on one thread only."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from spconv.core import ConvAlgo
from spconv.pytorch import ops

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.sparse.backends.adapter import LibraryBackend
from depth_retrofit_ros.sparse.kernel_map import coarsen
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.pyramid import Level, Pyramid

Pairs = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True)
class SpconvLevel(Level):
    """The library's maps: rows of input and output ``int32 [2, taps, ·]``, and how many per tap; None where there are no pixels."""

    same: Pairs | None = None
    down: Pairs | None = None


class SpconvBackend(LibraryBackend):
    """``SparseBackend`` by spconv's native algorithm."""

    name = "spconv"
    devices: tuple[str, ...] = ("cpu", "cuda")

    def __init__(self) -> None:
        if torch.get_num_threads() > 1:
            warnings.warn("spconv gives wrong results on several CPU threads: on a CPU it is run on one", stacklevel=2)

    def build_pyramid(self, pixels: PixelSet, levels: int) -> Pyramid:
        """See ``SparseBackend``."""
        built = []
        unused = pixels.index_image.new_empty(0, 9)
        for _ in range(levels - 1):
            coarse = coarsen(pixels)
            same, down = _pairs(pixels, pixels, 3, 1), _pairs(pixels, coarse.pixels, 2, 2)
            built.append(SpconvLevel(self, pixels, unused, coarse.children, coarse.slots, same=same, down=down))
            pixels = coarse.pixels
        return Pyramid((*built, SpconvLevel(self, pixels, unused, same=_pairs(pixels, pixels, 3, 1))))

    def _same(self, features: torch.Tensor, weight: torch.Tensor, level: Level) -> torch.Tensor:
        assert isinstance(level, SpconvLevel)
        return _convolve(features, weight.permute(0, 2, 3, 1), level.same, level.count, subm=True)

    def _down(self, features: torch.Tensor, weight: torch.Tensor, level: Level) -> torch.Tensor:
        assert isinstance(level, SpconvLevel) and level.children is not None
        return _convolve(features, weight.permute(0, 2, 3, 1), level.down, level.children.shape[0])

    def _up(self, features: torch.Tensor, weight: torch.Tensor, level: Level) -> torch.Tensor:
        assert isinstance(level, SpconvLevel)
        return _convolve(features, weight.permute(1, 2, 3, 0), level.down, level.count, inverse=True)


def _pairs(pixels: PixelSet, output: PixelSet, kernel: int, stride: int) -> Pairs | None:
    """Pairs of rows under the kernel. Odd sides are made even, so that their last pixels have an output too."""
    if not pixels.count:
        return None
    shape = [-(-side // stride) * stride for side in pixels.size]
    y = torch.div(pixels.indices, pixels.size[1], rounding_mode="floor")
    coordinates = torch.stack([torch.zeros_like(y), y, pixels.indices - y * pixels.size[1]], 1).int()
    padding = [kernel // 2 if stride == 1 else 0] * 2
    with _one_thread(coordinates):
        found, rows, counts = ops.get_indice_pairs(
            coordinates, 1, shape, ConvAlgo.Native, [kernel] * 2, [stride] * 2, padding, [1, 1], [0, 0], subm=stride == 1
        )
    if stride > 1:  # the library numbers its output as it finds it, we in row-major order
        number = output.index_image[found[:, 1].long(), found[:, 2].long()]
        rows[1] = torch.where(rows[1] < 0, -1, number[rows[1].clamp_min(0).long()])
    return rows, counts


def _convolve(
    features: torch.Tensor, weight: torch.Tensor, pairs: Pairs | None, rows: int, *, inverse: bool = False, subm: bool = False
) -> torch.Tensor:
    """weight: ``[Cout, k, k, Cin]``; rows: of the output."""
    assert pairs is not None
    if torch.is_grad_enabled() and (features.requires_grad or weight.requires_grad):
        raise ModelError("sparse backend 'spconv' computes no gradients: train with 'torch', or use torch.inference_mode()")
    with _one_thread(features):
        return ops.indice_conv(features, weight.contiguous(), *pairs, rows, inverse, subm)


@contextmanager
def _one_thread(tensor: torch.Tensor) -> Iterator[None]:
    threads = torch.get_num_threads()
    if not tensor.is_cuda:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
