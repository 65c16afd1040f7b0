"""The backend for inference on a CPU: compiled kernels and maps, memory that is used again from frame to frame."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.weak import WeakIdKeyDictionary

from depth_retrofit_ros.device.buffers import BufferPool
from depth_retrofit_ros.device.precisions import name_of
from depth_retrofit_ros.device.thread_pool import THREAD_POOL
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.sparse.backends.cpu.kernel_maps import fill_coarsening, fill_neighbors
from depth_retrofit_ros.sparse.backends.cpu.kernels import block_width, kernel
from depth_retrofit_ros.sparse.backends.cpu.vectors import PAIR, lack_of_bfloat16
from depth_retrofit_ros.sparse.backends.fused import Convolution, FusedBackend
from depth_retrofit_ros.sparse.kernel_map import Coarsening
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.pyramid import Pyramid, build_pyramid

NO_MAP = np.empty((0, 0), np.int32)


class CpuBackend(FusedBackend):
    """``SparseBackend`` in float32, and in bfloat16 where ``lack_of_bfloat16`` has nothing against it. Every result keeps its
    memory for as long as anybody refers to it."""

    name = "cpu"
    packs_neighbors = True
    devices: tuple[str, ...] = ("cpu",)

    def __init__(self) -> None:
        super().__init__()
        self.types = (torch.float32,) if lack_of_bfloat16() else (torch.bfloat16, torch.float32)
        self.pool = BufferPool()
        self.packed = WeakIdKeyDictionary()  # matrices → as the kernel reads them

    def lack_of(self, dtype: torch.dtype) -> str:
        """See ``SparseBackend``."""
        return lack_of_bfloat16() if dtype == torch.bfloat16 else ""

    def build_pyramid(self, pixels: PixelSet, levels: int) -> Pyramid:
        """See ``SparseBackend``."""
        if pixels.indices.device.type != "cpu":
            raise ModelError(f"sparse backend 'cpu' does not compute on {pixels.indices.device}: use 'triton' there")
        self.pool.sweep()
        return build_pyramid(pixels, levels, self, self._neighbors, self._halve)

    def _convolve(self, work: Convolution) -> torch.Tensor:
        """See ``FusedBackend``; all rows of its pyramids are active."""
        features, matrices = work.features, work.matrices
        for dtype in (features.dtype, matrices.dtype):
            if dtype not in self.types:
                types = " or ".join(name_of(own) for own in self.types)
                raise ModelError(
                    f"sparse backend 'cpu' computes in {types} on this machine, not {dtype}: convert network and features"
                )
        channels, outputs = features.shape[1], matrices.shape[2]
        taps = matrices.shape[1] // channels
        compiled = kernel(channels, outputs, taps, paired=matrices.dtype == torch.bfloat16)
        out = self.pool.empty((work.rows, outputs), matrices.dtype)
        arguments = (
            as_array(features),
            NO_MAP if work.sources is None else work.sources.numpy(),
            NO_MAP if work.targets is None else work.targets.numpy(),
            self._blocks(matrices),
            padded_bias(work.bias, outputs),
            as_array(features.new_zeros(min(taps, 3) * channels)),
            work.relu_input,
            as_array(matrices.new_empty(0, 0) if work.residual is None else work.residual),
            as_array(out),
            np.zeros(1, np.int64),
        )
        THREAD_POOL.run(lambda: compiled(*arguments))
        return out

    def _blocks(self, matrices: torch.Tensor) -> np.ndarray:
        """``pack_weights``, once for matrices that stay (see ``FusedBackend._packed``)."""
        blocks = self.packed.get(matrices)
        if blocks is None:
            blocks = self.packed[matrices] = pack_weights(matrices)
        return blocks

    def _neighbors(self, pixels: PixelSet) -> torch.Tensor:
        neighbors = self.pool.empty((pixels.count, 3), torch.int32)
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


def pack_weights(matrices: torch.Tensor) -> np.ndarray:
    """``[slots, depth, Cout]`` as the kernel reads it, padded with zeros: ``[slots, blocks, depth, width]``, or in bfloat16
    ``[slots, blocks, ceil(depth / 2), 2 · width]``, the weights of two successive inputs beside each other."""
    slots, depth, outputs = matrices.shape
    taken = PAIR if matrices.dtype == torch.bfloat16 else 1
    width = block_width(outputs)
    blocks, steps = -(-outputs // width), -(-depth // taken)
    padded = matrices.new_zeros(slots, steps * taken, blocks * width)
    padded[:, :depth, :outputs] = matrices
    ordered = padded.view(slots, steps, taken, blocks, width).permute(0, 3, 1, 4, 2)
    return as_array(ordered.reshape(slots, blocks, steps, width * taken).contiguous())


def padded_bias(bias: torch.Tensor | None, outputs: int) -> np.ndarray:
    """``float32 [blocks, width]``, zeros for None."""
    width = block_width(outputs)
    padded = np.zeros((-(-outputs // width), width), np.float32)
    if bias is not None:
        padded.reshape(-1)[:outputs] = bias.float().numpy()
    return padded


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """The same memory; bfloat16 as ``int16``."""
    return tensor.view(torch.int16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
