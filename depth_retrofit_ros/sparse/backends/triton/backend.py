"""The backend for inference on CUDA: one fused kernel for every convolution, in the type of the features with sums in float32."""

from __future__ import annotations

import torch
import triton

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.sparse.backends.fused import Convolution, FusedBackend
from depth_retrofit_ros.sparse.backends.triton.kernels import INTERPRETED, convolve, neighbors
from depth_retrofit_ros.sparse.kernel_map import Coarsening
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.pyramid import Level, Pyramid

TYPES = (torch.float16, torch.bfloat16, torch.float32)
PIXELS = 256  # of a program of the neighbour map
WIDEST = 64  # columns of a program of the convolution


class TritonBackend(FusedBackend):
    """``SparseBackend`` in float16, bfloat16 or float32.

    The first call for each pair of widths compiles some ways to run the kernel (seconds; cached on disk), times them and keeps the
    fastest: warm up with a frame of the size to come.
    """

    name = "triton"
    devices: tuple[str, ...] = ("cpu",) if INTERPRETED else ("cuda",)

    def build_pyramid(self, pixels: PixelSet, levels: int) -> Pyramid:
        """See ``SparseBackend``. Nothing waits for the device: each level has as many rows as it can ever need (see ``Level``)."""
        if levels < 1:
            raise ValueError(f"a pyramid needs at least one level, not {levels}")
        built, active = [], None
        for _ in range(levels - 1):
            down, coarse_active = halve(pixels, active)
            neighbors = neighbor_map(pixels, active)
            built.append(Level(self, pixels, neighbors, down.children, down.slots, active, coarse_active))
            pixels, active = down.pixels, coarse_active
        return Pyramid((*built, Level(self, pixels, neighbor_map(pixels, active), active=active)))

    def _convolve(self, work: Convolution) -> torch.Tensor:
        """See ``FusedBackend``."""
        features, sources, targets, active = work.features, work.sources, work.targets, work.active
        if features.dtype not in TYPES:
            raise ModelError(f"sparse backend 'triton' computes in float16, bfloat16 or float32, not {features.dtype}")
        slots, depth, outputs = work.matrices.shape
        out = features.new_empty(work.rows, outputs)
        count = features.shape[0] if sources is None else sources.shape[0]
        if count == 0:
            return out
        columns = min(max(triton.next_power_of_2(outputs), 16), WIDEST)

        def grid(config: dict[str, int]) -> tuple[int, int]:
            return triton.cdiv(count, config["BLOCK_ROWS"]), slots * triton.cdiv(outputs, columns)

        with torch.cuda.device_of(features):
            convolve[grid](
                features,
                features if sources is None else sources,
                features if targets is None else targets,
                work.matrices.contiguous(),
                features if work.bias is None else work.bias,
                features if work.residual is None else work.residual,
                out,
                features if active is None else active,
                count,
                features.shape[0],
                work.rows,
                CHANNELS=features.shape[1],
                OUTPUTS=outputs,
                TAPS=depth // features.shape[1],
                SLOTS=slots,
                GATHERED=sources is not None,
                SCATTERED=targets is not None,
                RELU=work.relu_input,
                BIASED=work.bias is not None,
                ADDED=work.residual is not None,
                PARTIAL=active is not None,
                BLOCK_COLUMNS=columns,
            )
        return out


def neighbor_map(pixels: PixelSet, active: torch.Tensor | None) -> torch.Tensor:
    """``kernel_map.neighbor_map`` of the active rows, in one launch."""
    rows = pixels.index_image.new_empty((pixels.count, 9))
    if pixels.count:
        with torch.cuda.device_of(rows):
            neighbors[(triton.cdiv(pixels.count, PIXELS), 9)](
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


def halve(pixels: PixelSet, active: torch.Tensor | None) -> tuple[Coarsening, torch.Tensor]:
    """``kernel_map.coarsen`` of the active rows, into min(K, cells) rows; and how many of these are in use."""
    (height, width), device = pixels.size, pixels.indices.device
    size = (height + 1) // 2, (width + 1) // 2
    cells = size[0] * size[1]
    most = min(pixels.count, cells)
    rows = torch.arange(pixels.count, dtype=torch.int32, device=device)
    y = pixels.indices // width
    x = pixels.indices - y * width
    cell = (y >> 1) * size[1] + (x >> 1)
    if active is not None:
        cell = torch.where(rows < active, cell, cells)  # a place behind the end, for all that is not in use

    occupied = torch.zeros(cells + 1, dtype=torch.int32, device=device)
    occupied[cell] = 1
    occupied[cells] = 0
    number = occupied.cumsum(0, dtype=torch.int32) - 1
    index_image = torch.where(occupied > 0, number, -1)[:cells].view(size)
    parent = torch.where(cell < cells, number[cell], most)
    slots = 4 * parent + (2 * (y & 1) + (x & 1)).to(torch.int32)
    children = torch.full((4 * most + 4,), pixels.count, dtype=torch.int32, device=device).scatter_(0, slots.long(), rows)
    indices = torch.zeros(most + 1, dtype=torch.int64, device=device).scatter_(0, parent.long(), cell)
    return Coarsening(PixelSet(indices[:most], index_image), children.view(-1, 4)[:most], slots), number[-1:] + 1
