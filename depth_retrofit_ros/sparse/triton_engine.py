"""The engine for inference on CUDA: one fused kernel for every convolution, in the type of the features with sums in float32."""

from __future__ import annotations

import torch
import triton

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.selection.pixel_set import PixelSet
from depth_retrofit_ros.sparse.fused_engine import FusedEngine
from depth_retrofit_ros.sparse.pyramid import Pyramid, build_pyramid
from depth_retrofit_ros.sparse.triton_kernels import INTERPRETED, convolve, neighbours

TYPES = (torch.float16, torch.bfloat16, torch.float32)
PIXELS = 256  # of a program of the neighbour map
WIDEST = 64  # columns of a program of the convolution


class TritonEngine(FusedEngine):
    """``SparseEngine`` in float16, bfloat16 or float32.

    The first call for each pair of widths compiles some ways to run the kernel (seconds; cached on disk), times them and keeps the
    fastest: warm up with a frame of the size to come.
    """

    name = "triton"
    devices: tuple[str, ...] = ("cpu",) if INTERPRETED else ("cuda",)

    def build_pyramid(self, pixels: PixelSet, levels: int) -> Pyramid:
        """See ``SparseEngine``."""
        return build_pyramid(pixels, levels, self, neighbour_map)

    def _convolve(
        self,
        features: torch.Tensor,
        matrices: torch.Tensor,
        bias: torch.Tensor | None,
        rows: int,
        sources: torch.Tensor | None,
        targets: torch.Tensor | None,
        relu_input: bool,
        residual: torch.Tensor | None,
    ) -> torch.Tensor:
        """See ``FusedEngine``."""
        if features.dtype not in TYPES:
            raise ModelError(f"sparse engine 'triton' computes in float16, bfloat16 or float32, not {features.dtype}")
        slots, depth, outputs = matrices.shape
        out = features.new_empty(rows, outputs)
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
                matrices.contiguous(),
                features if bias is None else bias,
                features if residual is None else residual,
                out,
                count,
                features.shape[0],
                rows,
                CHANNELS=features.shape[1],
                OUTPUTS=outputs,
                TAPS=depth // features.shape[1],
                SLOTS=slots,
                GATHERED=sources is not None,
                SCATTERED=targets is not None,
                RELU=relu_input,
                BIASED=bias is not None,
                ADDED=residual is not None,
                BLOCK_COLUMNS=columns,
            )
        return out


def neighbour_map(pixels: PixelSet) -> torch.Tensor:
    """``kernel_map.neighbour_map`` in one launch."""
    rows = pixels.index_image.new_empty((pixels.count, 9))
    if pixels.count:
        with torch.cuda.device_of(rows):
            neighbours[(triton.cdiv(pixels.count, PIXELS), 9)](
                pixels.indices, pixels.index_image.contiguous(), rows, pixels.count, *pixels.size, BLOCK=PIXELS
            )
    return rows
