"""Whether a program answers what the network answers: the same depth, the same pixels selected by it, and the same of the rest.

The limits are set by what ``compact`` and METER answer on the bundled views, the worst of them in scale and in shape: float32
1e-4 and less, float16 0.007 and 0.002, bfloat16 0.033 and 0.009 (0.029 on the two that are looked at). A depth 5 % too large
is 0.05 and more in scale, noise of 3 % is 0.019 and more in shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.engines.base import Network, Tensors
from depth_retrofit_ros.errors import ModelError

SELECTED = 0.1  # share of the cells whose selection is compared: those of the highest entropy
LEAST_OVERLAP = 0.95
LARGEST_SCALE = 0.035  # of the answer, against the spread of the answers
LARGEST_SHAPE = 0.012
LARGEST_TAIL = 0.12
FLAT = 0.01  # of the largest answer: a spread below is taken for this
LEAST_SPREAD = 1e-4  # of any answer: nothing that is used as depth, or to make depth, lies within less
LEAST_VARIANCE = 0.01  # in squares of the spread: below, no factor is looked for
LEAST_ENTROPY = 1e-3  # nats by which selected cells stand out: below, all are as good as others


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one output, in shares of its spread (5th to 95th percentile of eager's).

    scale: what all cells have in common: the median of the signed difference (of a logarithm: a factor), or how far from 1 the
    factor is that fits best, whichever is more. shape: the median of the difference without its median. median, tail, largest: of
    the whole, tail being the 99th percentile.
    """

    scale: float
    shape: float
    median: float
    tail: float
    largest: float

    @property
    def holds(self) -> bool:
        """Whether it is within the limits above; NaN is not."""
        return self.scale <= LARGEST_SCALE and self.shape <= LARGEST_SHAPE and self.tail <= LARGEST_TAIL


@dataclass(frozen=True, slots=True)
class Agreement:
    """scale to largest: of the first output, see ``Difference``; beside: of the outputs from the third on; overlap: of the
    uncertainty by which the cells that eager selects stand out, how much those of the program have."""

    scale: float
    shape: float
    median: float
    tail: float
    largest: float
    overlap: float
    beside: tuple[Difference, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether all of it is within the limits above; NaN is not."""
        return self._first.holds and self.overlap >= LEAST_OVERLAP and all(difference.holds for difference in self.beside)

    @property
    def _first(self) -> Difference:
        return Difference(self.scale, self.shape, self.median, self.tail, self.largest)

    def __str__(self) -> str:
        line = f"differs from eager by {self.scale:.1e} in scale, {self.shape:.1e} in shape, {self.tail:.1e} in the tail"
        wrong = [f"output {number}" for number, difference in enumerate(self.beside, 2) if not difference.holds]
        return f"{line}; selection overlap {self.overlap:.1%}" + (f"; and in {', '.join(wrong)}" if wrong else "")


def check(program: Network, network: nn.Module, examples: Sequence[Tensors], what: str, model: str) -> Agreement:
    """The worst agreement over the ``examples``, each the inputs of a call; what: computes, for people.

    Raises ModelError for NaN, other shapes, or less than the limits above.
    """
    found = []
    for inputs in examples:
        with torch.no_grad():
            expected, given = network(*inputs), program(*inputs)
        if [tensor.shape for tensor in expected] != [tensor.shape for tensor in given]:
            raise ModelError(f"{what} answers other shapes than {model}: use eager")
        if not all(bool(tensor.isfinite().all()) for tensor in given):
            raise ModelError(f"{what} answers NaN or infinity for {model}: use eager, or float32")
        agreement = compare(expected, given)
        if not agreement.holds:
            raise ModelError(f"{what} {agreement} for {model}: use eager, or float32")
        found.append(agreement)
    return max(found, key=lambda agreement: agreement.tail)


def compare(expected: Tensors, given: Tensors) -> Agreement:
    """Of two answers of a ``Network``; the selection is that of the first of several views."""
    first, beside = _difference(expected[0], given[0]), zip(expected[2:], given[2:], strict=True)
    overlap = _overlap(expected[1][0], given[1][0])
    further = tuple(_difference(wanted, got) for wanted, got in beside)
    return Agreement(first.scale, first.shape, first.median, first.tail, first.largest, overlap, further)


def _difference(wanted: Tensor, got: Tensor) -> Difference:
    wanted, got = wanted.float().flatten(), got.float().flatten()
    ordered = wanted.sort().values
    spread = torch.maximum(_at(ordered, 0.95) - _at(ordered, 0.05), FLAT * ordered.abs().amax()).clamp_min(LEAST_SPREAD)
    if len(ordered) == 1:
        spread = ordered.abs()[0].clamp_min(1.0)  # a number for the whole frame, such as the logarithm of its scale
    difference, middle = (got - wanted) / spread, (wanted - wanted.mean()) / spread
    factor = (difference * middle).mean() / middle.square().mean().clamp_min(LEAST_VARIANCE)
    signed = difference.sort().values
    common = _at(signed, 0.5)
    left, whole = ((signed - common).abs().sort().values, signed.abs().sort().values)
    values = torch.maximum(common.abs(), factor.abs()), _at(left, 0.5), _at(whole, 0.5), _at(whole, 0.99), whole[-1]
    return Difference(*(float(value) for value in values))


def _at(ordered: Tensor, share: float) -> Tensor:
    return ordered[round(share * (len(ordered) - 1))]  # quantile() refuses large maps


def _overlap(wanted: Tensor, got: Tensor) -> float:
    """By how much the cells of the highest entropy of ``got [C, h', w']`` stand out in that of ``wanted``, against its own."""
    entropy = _entropy(wanted)
    count = max(1, round(SELECTED * len(entropy)))
    best = entropy.topk(count).values.mean()
    chosen = entropy[_entropy(got).topk(count).indices].mean()
    return max(0.0, 1.0 - float((best - chosen) / (best - entropy.mean()).clamp_min(LEAST_ENTROPY)))


def _entropy(features: Tensor) -> Tensor:
    """``float32 [n]`` of features ``[C, h', w']``, as in ``selection.uncertainty``."""
    logarithm = features.float().log_softmax(0)
    return -(logarithm.exp() * logarithm).sum(0).flatten()
