"""What the fused backends share: every convolution is one call of one kernel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.utils.weak import WeakIdKeyDictionary

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.sparse.pyramid import Level, check_rows


@dataclass(frozen=True, slots=True)
class Convolution:
    """``out[targets[i]] = concat(features[sources[i, t]] for all t) @ matrices[slot] + bias + residual[targets[i]]``: a 3x3 or 2x2
    convolution gathers by its map, a transposed one scatters by its, a linear layer does neither.

    features: ``[N, Cin]``; matrices: ``[slots, taps · Cin, Cout]``; bias: ``[Cout]``; rows: of the result ``[rows, Cout]``.
    sources: ``int32 [count, taps]``, N for zeros; targets: ``int32 [count, slots]``, ``rows`` for none; None means row i for i.
    packed: sources are those of a 3x3 kernel, ``int32 [count, 3]``, in the form of the backend.
    active: how many of the count are to be computed, None for all (see ``Level``). relu_input: apply ReLU to the features first.
    residual: ``[rows, Cout]``.
    """

    features: torch.Tensor
    matrices: torch.Tensor
    bias: torch.Tensor | None
    rows: int
    sources: torch.Tensor | None = None
    targets: torch.Tensor | None = None
    active: torch.Tensor | None = None
    relu_input: bool = False
    residual: torch.Tensor | None = None
    packed: bool = False

    def operands(self) -> list[torch.Tensor]:
        """Those that are computed with."""
        return [tensor for tensor in (self.features, self.matrices, self.bias, self.residual) if tensor is not None]

    def check(self) -> None:
        """Raise ValueError or ModelError where the operands do not fit each other."""
        features, matrices = self.features, self.matrices
        converted = self.sources is None and self.targets is None  # as they are read
        if any(tensor.dtype != matrices.dtype and not (converted and tensor is features) for tensor in self.operands()):
            raise ModelError(f"features are {features.dtype}, weights {matrices.dtype}: convert network and features to one type")
        channels, outputs = features.shape[1], matrices.shape[2]
        taps = 9 if self.packed else 1 if self.sources is None else self.sources.shape[1]
        if matrices.shape[1] != taps * channels:
            raise ValueError(f"a weight for {matrices.shape[1] // taps} channels does not fit features {list(features.shape)}")
        if self.residual is not None and self.residual.shape != (self.rows, outputs):
            raise ValueError(f"residual {list(self.residual.shape)} does not fit the result [{self.rows}, {outputs}]")


class FusedBackend(ABC):
    """The convolutions of ``SparseBackend``, without gradients, in terms of ``_convolve``.

    types: see ``SparseBackend``; packs_neighbors: whether its levels have their neighbours packed, ``int32 [K, 3]``.
    """

    name: str
    types: tuple[torch.dtype, ...]
    packs_neighbors = False

    def __init__(self) -> None:
        self._matrices = WeakIdKeyDictionary()  # weight → its version and its packed form

    def lack_of(self, dtype: torch.dtype) -> str:
        """See ``SparseBackend``."""
        return ""

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
        return self._run(
            Convolution(
                features,
                self._packed(weight, _gathering),
                bias,
                level.count,
                sources=level.neighbors,
                active=level.active,
                relu_input=relu_input,
                residual=residual,
                packed=self.packs_neighbors,
            )
        )

    def down_conv(self, features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, level: Level) -> torch.Tensor:
        """See ``SparseBackend``."""
        children, _ = level.maps_to_coarser()
        check_rows(features, level.count)
        matrix = self._packed(weight, _gathering)
        return self._run(Convolution(features, matrix, bias, children.shape[0], sources=children, active=level.coarse_active))

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
        children, _ = level.maps_to_coarser()
        check_rows(features, children.shape[0])
        matrices = self._packed(weight, _scattering)
        return self._run(
            Convolution(features, matrices, bias, level.count, targets=children, active=level.coarse_active, residual=residual)
        )

    def linear(
        self, features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *, relu_input: bool = False
    ) -> torch.Tensor:
        """See ``SparseBackend``."""
        return self._run(Convolution(features, self._packed(weight, _by_row), bias, features.shape[0], relu_input=relu_input))

    def _packed(self, weight: torch.Tensor, form: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """The weight as the kernel reads it, contiguous: made once, and anew when the weight was changed."""
        if weight.is_inference() or (torch.is_grad_enabled() and weight.requires_grad):
            return form(weight).contiguous()
        known = self._matrices.get(weight)
        if known is None or known[0] != weight._version:
            known = self._matrices[weight] = weight._version, form(weight.detach()).contiguous()
        return known[1]

    @abstractmethod
    def _convolve(self, work: Convolution) -> torch.Tensor:
        """Run the kernel: all operands are checked, without gradient and contiguous. Returns ``[rows, Cout]``."""

    def _run(self, work: Convolution) -> torch.Tensor:
        """``_convolve``, unless the operands do not fit each other or want gradients."""
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in work.operands()):
            raise ModelError(
                f"sparse backend '{self.name}' computes no gradients: train with 'torch', or use torch.inference_mode()"
            )
        work.check()
        bias, residual = (None if tensor is None else tensor.detach().contiguous() for tensor in (work.bias, work.residual))
        matrices = work.matrices.detach() if work.matrices.requires_grad else work.matrices  # else a backend knows it again
        features = work.features.detach().contiguous()
        return self._convolve(replace(work, features=features, matrices=matrices, bias=bias, residual=residual))


def _gathering(weight: torch.Tensor) -> torch.Tensor:
    """``[Cout, Cin, k, k]`` → ``[1, k · k · Cin, Cout]``."""
    return weight.permute(2, 3, 1, 0).reshape(1, -1, weight.shape[0])


def _scattering(weight: torch.Tensor) -> torch.Tensor:
    """``[Cin, Cout, 2, 2]`` → ``[4, Cin, Cout]``."""
    return weight.permute(2, 3, 0, 1).reshape(4, weight.shape[0], weight.shape[1])


def _by_row(weight: torch.Tensor) -> torch.Tensor:
    """``[Cout, Cin]`` → ``[1, Cin, Cout]``."""
    return weight.t()[None]
