"""The backend for inference on CUDA: one fused kernel for every convolution, in the type of the features with sums in float32."""

from __future__ import annotations

import torch
import triton

from depth_retrofit_ros.device.launches import INTERPRETED, launch
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.sparse.backends.fused import Convolution, FusedBackend
from depth_retrofit_ros.sparse.backends.triton.kernels import convolve, count_cells, link_cells, neighbors, sum_before
from depth_retrofit_ros.sparse.kernel_map import Coarsening
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.pyramid import Level, Pyramid

PIXELS = 256  # of a program of the neighbour map
CELLS = 1024  # of a program that halves the resolution
WIDEST = 64  # columns of a program of the convolution


class TritonBackend(FusedBackend):
    """``SparseBackend`` in float16, bfloat16 or float32.

    The first call for each pair of widths compiles some ways to run the kernel (seconds; cached on disk), times them and keeps the
    fastest: warm up with a frame of the size to come.
    """

    name = "triton"
    packs_neighbors = True
    types: tuple[torch.dtype, ...] = (torch.float16, torch.bfloat16, torch.float32)
    devices: tuple[str, ...] = ("cpu",) if INTERPRETED else ("cuda",)

    def build_pyramid(self, pixels: PixelSet, levels: int) -> Pyramid:
        """See ``SparseBackend``. Nothing waits for the device: each level has as many rows as it can ever need (see ``Level``)."""
        if levels < 1:
            raise ValueError(f"a pyramid needs at least one level, not {levels}")
        built, active = [], None
        for level in range(1, levels):
            down, coarse_active = halve(pixels, self.most(pixels, level))
            neighbors = neighbor_map(pixels, active)
            built.append(Level(self, pixels, neighbors, down.children, down.slots, active, coarse_active))
            pixels, active = down.pixels, coarse_active
        return Pyramid((*built, Level(self, pixels, neighbor_map(pixels, active), active=active)))

    def most(self, pixels: PixelSet, level: int) -> int:
        """How many rows the level that is made of these pixels can have: that is what its tensors are made for."""
        return min(pixels.count, (pixels.size[0] + 1) // 2 * ((pixels.size[1] + 1) // 2))

    def _convolve(self, work: Convolution) -> torch.Tensor:
        """See ``FusedBackend``."""
        features, sources, targets, active = work.features, work.sources, work.targets, work.active
        if work.matrices.dtype not in self.types:
            raise ModelError(f"sparse backend 'triton' computes in float16, bfloat16 or float32, not {work.matrices.dtype}")
        slots, depth, outputs = work.matrices.shape
        out = work.matrices.new_empty(work.rows, outputs)
        count = features.shape[0] if sources is None else sources.shape[0]
        if count == 0:
            return out
        columns = min(max(triton.next_power_of_2(outputs), 16), WIDEST)

        def grid(config: dict[str, int]) -> tuple[int, int]:
            return triton.cdiv(count, config["BLOCK_ROWS"]), slots * triton.cdiv(outputs, columns)

        launch(
            convolve,
            grid,
            features,
            features if sources is None else sources,
            features if targets is None else targets,
            work.matrices,
            features if work.bias is None else work.bias,
            features if work.residual is None else work.residual,
            out,
            features if active is None else active,
            count,
            features.shape[0],
            work.rows,
            count.bit_length(),
            CHANNELS=features.shape[1],
            OUTPUTS=outputs,
            TAPS=depth // features.shape[1],
            SLOTS=slots,
            GATHERED=sources is not None and not work.packed,
            PACKED=work.packed,
            SCATTERED=targets is not None,
            RELU=work.relu_input,
            BIASED=work.bias is not None,
            ADDED=work.residual is not None,
            PARTIAL=active is not None,
            BLOCK_COLUMNS=columns,
        )
        return out


def neighbor_map(pixels: PixelSet, active: torch.Tensor | None) -> torch.Tensor:
    """``kernel_map.neighbor_map`` of the active rows, packed (see ``kernels.neighbors``), in one launch: ``int32 [K, 3]``."""
    rows = pixels.index_image.new_empty((pixels.count, 3))
    if pixels.count:
        launch(
            neighbors,
            (triton.cdiv(pixels.count, PIXELS),),
            pixels.indices,
            pixels.index_image.contiguous(),
            rows,
            rows if active is None else active,
            pixels.count,
            *pixels.size,
            PARTIAL=active is not None,
            BLOCK=PIXELS,
        )
    return rows


def halve(pixels: PixelSet, most: int) -> tuple[Coarsening, torch.Tensor]:
    """``kernel_map.coarsen`` of the pixels in the index image, in three launches, into ``most`` rows; and how many of these are in
    use, ``int32 [1]``. What the others hold means nothing."""
    height, width = pixels.size
    size = (height + 1) // 2, (width + 1) // 2
    cells = size[0] * size[1]
    blocks = triton.cdiv(cells, CELLS)

    def made(*shape: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=pixels.indices.device)

    counts, active = made(blocks), made(1)
    indices, index_image = made(most, dtype=torch.int64), made(*size)
    children, slots = made(most, 4), made(pixels.count)
    fine = pixels.index_image.contiguous()
    launch(count_cells, (blocks,), fine, counts, height, width, *size, BLOCK=CELLS)
    launch(sum_before, (1,), counts, active, blocks, BLOCK=CELLS)
    tensors = fine, counts, index_image, indices, children, slots
    launch(link_cells, (blocks,), *tensors, pixels.count, height, width, *size, BLOCK=CELLS)
    return Coarsening(PixelSet(indices, index_image), children, slots), active
