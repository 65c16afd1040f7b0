"""The backend in plain torch: any device, any float type, with gradients. It specifies what the faster backends compute."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from depth_retrofit_ros.sparse.backends.gather_gemm import DownConvolution, SubmanifoldConvolution, UpConvolution
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.pyramid import Level, Pyramid, build_pyramid


class TorchBackend:
    """``SparseBackend`` by chunked gather and matrix product (see ``gather_gemm``)."""

    name = "torch"
    devices: tuple[str, ...] = ("cpu", "cuda")

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
        return DownConvolution.apply(features, weight, bias, *maps_to_coarser(level))

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
        children, slots = maps_to_coarser(level)
        check_rows(features, children.shape[0])
        out = UpConvolution.apply(features, weight, bias, children, slots)
        return out if residual is None else out.add_(residual)

    def linear(
        self, features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *, relu_input: bool = False
    ) -> torch.Tensor:
        """See ``SparseBackend``."""
        return F.linear(features.relu() if relu_input else features, weight, bias)


def maps_to_coarser(level: Level) -> tuple[torch.Tensor, torch.Tensor]:
    """(children, slots) of a level that has a coarser one below it."""
    if level.children is None or level.slots is None:
        raise ValueError("the coarsest level of a pyramid has nothing below it: build the pyramid with one more level")
    return level.children, level.slots


def check_rows(features: torch.Tensor, count: int) -> None:
    """Raise ValueError unless the features are those of the level's pixels; a longer tensor would be read without complaint."""
    if features.ndim != 2 or features.shape[0] != count:
        raise ValueError(f"features {list(features.shape)} do not belong to this level: expected [{count}, channels]")
