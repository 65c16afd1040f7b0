"""Whether a program answers what the network answers: the same depth, and the same pixels selected by it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.engines.base import Network, Tensors
from depth_retrofit_ros.errors import ModelError

SELECTED = 0.1  # share of the cells whose overlap is asked for: those of the highest entropy
LEAST_OVERLAP = 0.95
LARGEST_DIFFERENCE = 0.02  # of the answer, in the median over the cells, against the spread of the answers
LARGEST_TAIL = 0.10  # the same, of the 99th percentile
FLAT = 0.01  # of the largest answer: a spread below is taken for this


@dataclass(frozen=True, slots=True)
class Agreement:
    """median, tail, largest: of |answer − eager's| over the spread of eager's (5th to 95th percentile), tail being the 99th
    percentile; overlap: of the tenth of the cells with the highest entropy."""

    median: float
    tail: float
    largest: float
    overlap: float

    @property
    def holds(self) -> bool:
        """Whether it is within the limits above; NaN is not."""
        return self.median <= LARGEST_DIFFERENCE and self.tail <= LARGEST_TAIL and self.overlap >= LEAST_OVERLAP

    def __str__(self) -> str:
        difference = f"differs from eager by {self.median:.1e} in the median, {self.tail:.1e} in the tail"
        return f"{difference}; selection overlap {self.overlap:.1%}"


def check(program: Network, network: nn.Module, inputs: Tensors, engine: str, model: str) -> Agreement:
    """How well they agree on ``inputs``. Raises ModelError for NaN, other shapes, or less than the limits above."""
    with torch.no_grad():
        expected, given = network(*inputs), program(*inputs)
    if [tensor.shape for tensor in expected] != [tensor.shape for tensor in given]:
        raise ModelError(f"coarse engine {engine} answers other shapes than {model}: use eager")
    if not all(bool(tensor.isfinite().all()) for tensor in given):
        raise ModelError(f"coarse engine {engine} answers NaN or infinity for {model}: use eager, or float32")
    agreement = compare(expected, given)
    if not agreement.holds:
        raise ModelError(f"coarse engine {engine} {agreement} for {model}: use eager, or float32")
    return agreement


def compare(expected: Tensors, given: Tensors) -> Agreement:
    """Of two answers of a ``Network``; of several views, the first."""
    wanted, got = expected[0].float(), given[0].float()
    ordered = wanted.flatten().sort().values
    low, high = (ordered[round(share * (len(ordered) - 1))] for share in (0.05, 0.95))  # quantile() refuses large maps
    spread = torch.maximum(high - low, FLAT * ordered.abs().amax()).clamp_min(1e-12)
    difference = ((got - wanted).abs() / spread).flatten().sort().values
    median, tail = (difference[round(share * (len(difference) - 1))] for share in (0.5, 0.99))
    chosen = [_most_uncertain(features[0]) for features in (expected[1], given[1])]
    overlap = (chosen[0] & chosen[1]).sum() / chosen[0].sum()
    return Agreement(float(median), float(tail), float(difference[-1]), float(overlap))


def _most_uncertain(features: Tensor) -> Tensor:
    """``bool [n]``: the cells of the highest entropy of ``[C, h', w']``, as in ``selection.uncertainty``."""
    logarithm = features.float().log_softmax(0)
    entropy = -(logarithm.exp() * logarithm).sum(0).flatten()
    best = entropy.topk(max(1, round(SELECTED * len(entropy)))).indices
    return torch.zeros_like(entropy, dtype=torch.bool).index_fill(0, best, True)
