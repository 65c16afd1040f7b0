"""What the fused engines share: every convolution is one call of one kernel.

That kernel computes ``out[targets[i]] = concat(features[sources[i, t]] for all t) @ matrices[slot] + bias + residual[targets[i]]``:
a 3x3 or 2x2 convolution gathers by its map, a transposed one scatters by its, a linear layer does neither.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.sparse.backends.torch import check_rows, maps_to_coarser
from depth_retrofit_ros.sparse.pyramid import Level


class FusedBackend(ABC):
    """The convolutions of ``SparseBackend``, without gradients, in terms of ``_convolve``."""

    name: str

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
        matrix = weight.permute(2, 3, 1, 0).reshape(1, -1, weight.shape[0])
        return self._checked(features, matrix, bias, level.count, level.neighbors, None, level.active, relu_input, residual)

    def down_conv(self, features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, level: Level) -> torch.Tensor:
        """See ``SparseBackend``."""
        children, _ = maps_to_coarser(level)
        check_rows(features, level.count)
        matrix = weight.permute(2, 3, 1, 0).reshape(1, -1, weight.shape[0])
        return self._checked(features, matrix, bias, children.shape[0], children, None, level.coarse_active)

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
        children, _ = maps_to_coarser(level)
        check_rows(features, children.shape[0])
        matrices = weight.permute(2, 3, 0, 1).reshape(4, weight.shape[0], weight.shape[1])
        return self._checked(features, matrices, bias, level.count, None, children, level.coarse_active, residual=residual)

    def linear(
        self, features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *, relu_input: bool = False
    ) -> torch.Tensor:
        """See ``SparseBackend``."""
        return self._checked(features, weight.t()[None], bias, features.shape[0], None, None, None, relu_input)

    @abstractmethod
    def _convolve(
        self,
        features: torch.Tensor,
        matrices: torch.Tensor,
        bias: torch.Tensor | None,
        rows: int,
        sources: torch.Tensor | None,
        targets: torch.Tensor | None,
        active: torch.Tensor | None,
        relu_input: bool,
        residual: torch.Tensor | None,
    ) -> torch.Tensor:
        """Run the kernel: all tensors of one type, contiguous and without gradient, but for matrices, which may have any strides.

        features: ``[N, Cin]``; matrices: ``[slots, taps · Cin, Cout]``; sources: ``int32 [count, taps]``, N for zeros; targets:
        ``int32 [count, slots]``, ``rows`` for none; None means row i for i. active: how many of the count are to be computed,
        None for all (see ``Level``). Returns ``[rows, Cout]``.
        """

    def _checked(
        self,
        features: torch.Tensor,
        matrices: torch.Tensor,
        bias: torch.Tensor | None,
        rows: int,
        sources: torch.Tensor | None,
        targets: torch.Tensor | None,
        active: torch.Tensor | None,
        relu_input: bool = False,
        residual: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """``_convolve``, unless the operands do not fit each other or want gradients."""
        operands = [tensor for tensor in (features, matrices, bias, residual) if tensor is not None]
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in operands):
            raise ModelError(
                f"sparse engine '{self.name}' computes no gradients: train with engine 'torch', or use torch.inference_mode()"
            )
        if any(tensor.dtype != features.dtype for tensor in operands):
            raise ModelError(f"features are {features.dtype}, weights {matrices.dtype}: convert network and features to one type")
        channels, outputs = features.shape[1], matrices.shape[2]
        taps = 1 if sources is None else sources.shape[1]
        if matrices.shape[1] != taps * channels:
            raise ValueError(f"a weight for {matrices.shape[1] // taps} channels does not fit features {list(features.shape)}")
        if residual is not None and residual.shape != (rows, outputs):
            raise ValueError(f"residual {list(residual.shape)} does not fit the result [{rows}, {outputs}]")
        bias, residual = (None if tensor is None else tensor.detach().contiguous() for tensor in (bias, residual))
        features, matrices = features.detach().contiguous(), matrices.detach()
        return self._convolve(features, matrices, bias, rows, sources, targets, active, relu_input, residual)
