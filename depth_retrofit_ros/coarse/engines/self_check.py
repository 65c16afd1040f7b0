"""Whether a program answers what the network answers: the same depth, and the same pixels selected by its features."""

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


@dataclass(frozen=True, slots=True)
class Agreement:
    """median, tail: of |answer − eager's| over the spread of eager's (5th to 95th percentile), tail being the 99th percentile;
    overlap: of the tenth of the cells with the highest entropy."""

    median: float
    tail: float
    overlap: float

    def __str__(self) -> str:
        return f"differs from eager by {self.median:.1e} in the median, {self.tail:.1e} in the tail; selection overlap {self.overlap:.1%}"


def check(program: Network, network: nn.Module, inputs: Tensors, engine: str, model: str) -> Agreement:
    """How well they agree on ``inputs``. Raises ModelError for NaN, other shapes, or less than the limits above."""
    with torch.no_grad():
        expected, given = network(*inputs), program(*inputs)
    if [tensor.shape for tensor in expected] != [tensor.shape for tensor in given]:
        raise ModelError(f"coarse engine {engine} answers other shapes than {model}: use eager")
    if not all(bool(tensor.isfinite().all()) for tensor in given):
        raise ModelError(f"coarse engine {engine} answers NaN or infinity for {model}: use eager, or float32")
    agreement = compare(expected, given)
    if agreement.median > LARGEST_DIFFERENCE or agreement.tail > LARGEST_TAIL or agreement.overlap < LEAST_OVERLAP:
        raise ModelError(f"coarse engine {engine} {agreement} for {model}: use eager, or float32")
    return agreement


def compare(expected: Tensors, given: Tensors) -> Agreement:
    """Of two answers of a ``Network``."""
    wanted, got = expected[0].float().flatten(), given[0].float().flatten()
    low, high = wanted.quantile(0.05), wanted.quantile(0.95)
    difference = (got - wanted).abs() / (high - low).clamp_min(1e-12)
    chosen = [_most_uncertain(features) for features in (expected[1], given[1])]
    overlap = len(set(chosen[0].tolist()) & set(chosen[1].tolist())) / len(chosen[0])
    return Agreement(float(difference.median()), float(difference.quantile(0.99)), overlap)


def _most_uncertain(features: Tensor) -> Tensor:
    logarithm = features[0].float().log_softmax(0)
    entropy = -(logarithm.exp() * logarithm).sum(0).flatten()
    return entropy.topk(max(1, round(SELECTED * len(entropy)))).indices
