"""The backend for inference on a CPU: compiled kernels and maps, memory that is used again from frame to frame."""

from __future__ import annotations

import math

import numpy as np
import torch

from depth_retrofit_ros.device.buffers import BufferPool
from depth_retrofit_ros.device.thread_pool import THREAD_POOL
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.sparse.backends.cpu.kernel_maps import fill_coarsening, fill_neighbors
from depth_retrofit_ros.sparse.backends.cpu.kernels import block_width, kernel
from depth_retrofit_ros.sparse.backends.fused import Convolution, FusedBackend
from depth_retrofit_ros.sparse.kernel_map import Coarsening
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.pyramid import Pyramid, build_pyramid

NO_MAP = np.empty((0, 0), np.int32)
NO_RESIDUAL = np.empty((0, 0), np.float32)


class CpuBackend(FusedBackend):
    """``SparseBackend`` in float32. Every result keeps its memory for as long as anybody refers to it."""

    name = "cpu"
    devices: tuple[str, ...] = ("cpu",)

    def __init__(self) -> None:
        super().__init__()
        self.pool = BufferPool()

    def build_pyramid(self, pixels: PixelSet, levels: int) -> Pyramid:
        """See ``SparseBackend``."""
        if pixels.indices.device.type != "cpu":
            raise ModelError(f"sparse backend 'cpu' does not compute on {pixels.indices.device}: use 'triton' there")
        self.pool.sweep()
        return build_pyramid(pixels, levels, self, self._neighbors, self._halve)

    def _convolve(self, work: Convolution) -> torch.Tensor:
        """See ``FusedBackend``; all rows of its pyramids are active."""
        features, matrices = work.features, work.matrices
        if features.dtype != torch.float32:
            raise ModelError(f"sparse backend 'cpu' computes in float32, not {features.dtype}: convert network and features")
        channels, outputs = features.shape[1], matrices.shape[2]
        compiled = kernel(channels, outputs, matrices.shape[1] // channels)
        packed, padded_bias = pack_weights(matrices, work.bias)
        out = self.pool.empty((work.rows, outputs))
        arguments = (
            features.numpy(),
            NO_MAP if work.sources is None else work.sources.numpy(),
            NO_MAP if work.targets is None else work.targets.numpy(),
            packed,
            padded_bias,
            np.float32(0.0 if work.relu_input else -math.inf),
            NO_RESIDUAL if work.residual is None else work.residual.numpy(),
            out.numpy(),
            np.zeros(1, np.int64),
        )
        THREAD_POOL.run(lambda: compiled(*arguments))
        return out

    def _neighbors(self, pixels: PixelSet) -> torch.Tensor:
        neighbors = self.pool.empty((pixels.count, 9), torch.int32)
        indices, image = pixels.indices.contiguous().numpy(), pixels.index_image.contiguous().numpy()
        rows, counter = neighbors.numpy(), np.zeros(1, np.int64)
        THREAD_POOL.run(lambda: fill_neighbors(indices, image, rows, counter))
        return neighbors

    def _halve(self, pixels: PixelSet) -> Coarsening:
        height, width = (pixels.size[0] + 1) // 2, (pixels.size[1] + 1) // 2
        most = min(pixels.count, height * width)
        indices, image = self.pool.empty((most,), torch.int64), self.pool.empty((height, width), torch.int32)
        children, slots = self.pool.empty((most, 4), torch.int32), self.pool.empty((pixels.count,), torch.int32)
        maps = indices.numpy(), image.numpy(), children.numpy(), slots.numpy()
        count = fill_coarsening(pixels.indices.contiguous().numpy(), pixels.size, *maps)
        return Coarsening(PixelSet(indices[:count], image), children[:count], slots)


def pack_weights(matrices: torch.Tensor, bias: torch.Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """``[slots, depth, Cout]`` as the kernel reads it, ``[slots, blocks, depth, width]``, and the bias as ``[blocks, width]``."""
    slots, depth, outputs = matrices.shape
    width = block_width(outputs)
    blocks = -(-outputs // width)
    padded = matrices.new_zeros(slots, depth, blocks * width)
    padded[..., :outputs] = matrices
    padded_bias = matrices.new_zeros(blocks * width)
    if bias is not None:
        padded_bias[:outputs] = bias
    return padded.view(slots, depth, blocks, width).transpose(1, 2).contiguous().numpy(), padded_bias.view(blocks, width).numpy()
