"""The backend in plain torch: any device, any float type, with gradients. It specifies what the faster backends compute."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from depth_retrofit_ros.sparse.backends.gather_gemm import DownConvolution, SubmanifoldConvolution, UpConvolution
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.pyramid import Level, Pyramid, build_pyramid, check_rows


class TorchBackend:
    """``SparseBackend`` by chunked gather and matrix product (see ``gather_gemm``)."""

    name = "torch"
    devices: tuple[str, ...] = ("cpu", "cuda")
    types: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16, torch.float16)

    def lack_of(self, dtype: torch.dtype) -> str:
        """See ``SparseBackend``."""
        return ""

    def build_pyramid(self, pixels: PixelSet, levels: int) -> Pyramid:
        """See ``SparseBackend``."""
        return build_pyramid(pixels, levels, self)

    def submanifold_conv(
        self,
        features: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        level: Level,
        *,
        relu_input: bool = False,
        residual: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """See ``SparseBackend``."""
        check_rows(features, level.count)
        out = SubmanifoldConvolution.apply(features, weight, bias, level.neighbors, relu_input)
        return out if residual is None else out.add_(residual)

    def down_conv(self, features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, level: Level) -> torch.Tensor:
        """See ``SparseBackend``."""
        check_rows(features, level.count)
        return DownConvolution.apply(features, weight, bias, *level.maps_to_coarser())

    def up_conv(
        self,
        features: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        level: Level,
        *,
        residual: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """See ``SparseBackend``."""
        children, slots = level.maps_to_coarser()
        check_rows(features, children.shape[0])
        out = UpConvolution.apply(features, weight, bias, children, slots)
        return out if residual is None else out.add_(residual)

    def linear(
        self, features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *, relu_input: bool = False
    ) -> torch.Tensor:
        """See ``SparseBackend``."""
        features = features.to(weight.dtype)
        return F.linear(features.relu() if relu_input else features, weight, bias)
