"""What the adapters to other sparse libraries share: the library convolves, plain torch does what it has no fused form for."""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F

from depth_retrofit_ros.sparse.backends.torch import TorchBackend
from depth_retrofit_ros.sparse.pyramid import Level, check_rows


class LibraryBackend(TorchBackend):
    """``SparseBackend`` by a library's convolutions, which are called with at least one pixel. Its levels have no neighbour map.

    Gradients are those of the library. Without pixels they are zeros, as of ``torch``.
    """

    types: tuple[torch.dtype, ...] = (torch.float32,)

    @abstractmethod
    def _same(self, features: torch.Tensor, weight: torch.Tensor, level: Level) -> torch.Tensor:
        """``submanifold_conv`` alone, without bias."""

    @abstractmethod
    def _down(self, features: torch.Tensor, weight: torch.Tensor, level: Level) -> torch.Tensor:
        """``down_conv`` alone, without bias."""

    @abstractmethod
    def _up(self, features: torch.Tensor, weight: torch.Tensor, level: Level) -> torch.Tensor:
        """``up_conv`` alone, without bias."""

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
        if not level.count:
            return _added(F.linear(features, weight[:, :, 0, 0]), bias, residual)
        return _added(self._same(features.relu() if relu_input else features, weight, level), bias, residual)

    def down_conv(self, features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, level: Level) -> torch.Tensor:
        """See ``SparseBackend``."""
        level.maps_to_coarser()
        check_rows(features, level.count)
        if not level.count:
            return _added(F.linear(features, weight[:, :, 0, 0]), bias)
        return _added(self._down(features, weight, level), bias)

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
        check_rows(features, level.maps_to_coarser()[0].shape[0])
        if not level.count:
            return _added(F.linear(features, weight[:, :, 0, 0].t()), bias, residual)
        return _added(self._up(features, weight, level), bias, residual)


def _added(out: torch.Tensor, *addends: torch.Tensor | None) -> torch.Tensor:
    for addend in addends:
        if addend is not None:
            out += addend
    return out
