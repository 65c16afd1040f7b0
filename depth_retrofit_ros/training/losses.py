"""Losses on log depth, as functions of sums over samples: SILog, edge-aware gradient matching, gradients in local windows.

Every map is [B, H, W]; ``valid`` masks are bool of the same shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
import torch.nn.functional as F
from torch import Tensor

CHOICE_SCALE = 0.03  # in ln depth: candidates this much apart are told apart


@dataclass(frozen=True, slots=True)
class Term:
    """One loss. sums: ``float64``, over some samples; value: of the sums over all samples, a scalar. So samples may be in several
    processes, or be learnt from one part after the other, and what is learnt is what one process learns from all at once."""

    sums: Tensor
    value: Callable[[Tensor], Tensor]

    def alone(self) -> Tensor:
        """The value where there are no other samples."""
        return self.value(self.sums)

    def among(self, whole: Tensor) -> Tensor:
        """The value for all samples, whose sums are ``whole``. Its gradient is by these samples' part in it: such gradients add up
        to the one by all."""
        return self.value(whole + (self.sums - self.sums.detach()))


class Losses(Mapping[str, Tensor]):
    """Of some samples. terms: by name; weights: of those that are minimised, whose weighted sum is ``total``. As a mapping it has
    the values where there are no other samples, ``float32``."""

    def __init__(self, terms: Mapping[str, Term], weights: Mapping[str, float]) -> None:
        self.terms, self.weights = dict(terms), dict(weights)

    @property
    def sums(self) -> Tensor:
        """Of all terms, one after the other, without their gradients: what is to be added up over all samples for ``among``."""
        return torch.cat([term.sums.detach().flatten() for term in self.terms.values()])

    def among(self, whole: Tensor) -> dict[str, Tensor]:
        """``Term.among`` of each, and of their total."""
        parts = whole.split([term.sums.numel() for term in self.terms.values()])
        pairs = zip(self.terms.items(), parts, strict=True)
        values = {name: term.among(part.view_as(term.sums)) for (name, term), part in pairs}
        total = torch.stack([weight * values[name] for name, weight in self.weights.items()]).sum()
        return {name: value.float() for name, value in {"total": total, **values}.items()}

    @cached_property
    def _alone(self) -> dict[str, Tensor]:
        return self.among(self.sums)

    def __getitem__(self, name: str) -> Tensor:
        return self._alone[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._alone)

    def __len__(self) -> int:
        return len(self._alone)


def ratio(above: Tensor, below: Tensor, least: float = 1.0) -> Term:
    """The sum of all values ``above`` over that of all ``below``, or over ``least`` where that is more."""
    sums = torch.stack([values.sum(dtype=torch.float64) for values in (above, below)])
    return Term(sums, partial(_ratios, least=least))


def mean_of(values: Tensor, weights: Tensor | None = None, least: float = 1.0) -> Term:
    """The mean of values, by their weights ``bool`` or ``float``, 1 unless given; 0 of none. least: see ``ratio``."""
    if weights is None:
        number = torch.full((), values.numel(), dtype=torch.float64, device=values.device)
        return Term(torch.stack([values.sum(dtype=torch.float64), number]), partial(_ratios, least=least))
    return ratio(values * weights, weights, least)


def sum_of(terms: Sequence[Term]) -> Term:
    """Of means, each with 1 as the least."""
    return Term(torch.stack([term.sums for term in terms]), _ratios)


def _ratios(sums: Tensor, least: float = 1.0) -> Tensor:
    """The sum of all ``sums[..., 0] / sums[..., 1]``."""
    return (sums[..., 0] / sums[..., 1].clamp_min(least)).sum()


def silog_loss(log_pred: Tensor, log_true: Tensor, valid: Tensor) -> Term:
    """10·sqrt(var(g) + 0.15·mean(g)²) with g = ln p − ln t over all valid pixels (Eigen et al. 2014, AdaBins' form); 0 of one
    and of none."""
    g = (log_pred - log_true)[valid].double()
    return Term(torch.stack([g.new_tensor(g.numel()), g.sum(), g.square().sum()]), _silog)


def _silog(sums: Tensor) -> Tensor:
    count, total, squares = sums.unbind()
    mean = total / count.clamp_min(1)
    variance = ((squares - total * mean) / (count - 1).clamp_min(1)).clamp_min(0)
    return 10 * (variance + 0.15 * mean**2 + 1e-8).sqrt() * (count >= 2)


def gradient_loss(log_pred: Tensor, log_true: Tensor, valid: Tensor, scales: int = 3) -> Term:
    """L1 between the gradients of ln p and ln t at ``scales`` octaves (MegaDepth's multi-scale gradient matching)."""
    found = []
    for scale in range(scales):
        step = 2**scale
        g = torch.where(valid, log_pred - log_true, 0.0)[:, ::step, ::step]
        v = valid[:, ::step, ::step]
        for axis in (1, 2):
            pair = v.narrow(axis, 1, v.shape[axis] - 1) & v.narrow(axis, 0, v.shape[axis] - 1)
            difference = g.narrow(axis, 1, g.shape[axis] - 1) - g.narrow(axis, 0, g.shape[axis] - 1)
            found.append(mean_of(difference.abs(), pair))
    return sum_of(found)


def local_window_loss(
    pred: Tensor, true: Tensor, valid: Tensor, generators: Sequence[torch.Generator], windows: int = 100, side: int = 23
) -> Term:
    """L1 of the gradients left after the best scale and shift of each of ``windows`` random windows per image (PatchRefiner V2).

    generators: one for each sample, of as many images as the others, one sample after the other."""
    batch, height, width = pred.shape
    side, n = min(side, height, width), batch * windows
    image = torch.arange(batch, device=pred.device).repeat_interleave(windows)
    y, x = _corners(generators, n, (height - side + 1, width - side + 1)).to(pred.device)
    offset = torch.arange(side, device=pred.device)
    index = (image * height + y)[:, None, None] * width + x[:, None, None] + offset[:, None] * width + offset
    p, t, v = (m.reshape(-1)[index].flatten(1) for m in (pred, true, valid))
    weight = v.to(p.dtype)
    count = weight.sum(1, keepdim=True).clamp_min(1)
    p, t = torch.where(v, p, 0.0), torch.where(v, t, 0.0)
    p_mean, t_mean = p.sum(1, keepdim=True) / count, t.sum(1, keepdim=True) / count
    p_dev, t_dev = (p - p_mean) * weight, (t - t_mean) * weight
    scale = (p_dev * t_dev).sum(1, keepdim=True) / p_dev.square().sum(1, keepdim=True).clamp_min(1e-8)  # a window may be flat
    residual = (scale * p_dev - t_dev).view(n, side, side)
    mask = v.view(n, side, side)
    across = (residual[:, :, 1:] - residual[:, :, :-1]).abs() * (mask[:, :, 1:] & mask[:, :, :-1])
    down = (residual[:, 1:] - residual[:, :-1]).abs() * (mask[:, 1:] & mask[:, :-1])
    return ratio(torch.cat([across.flatten(), down.flatten()]), 2 * weight, least=2.0)


def _corners(generators: Sequence[torch.Generator], count: int, ends: tuple[int, int]) -> Tensor:
    """``int64 [2, count]``, rows and columns below ``ends``: of each generator as many as of the others."""
    each = count // max(1, len(generators))
    drawn = [torch.stack([torch.randint(0, end, (each,), generator=one) for end in ends]) for one in generators]
    return torch.cat(drawn, 1) if drawn else torch.zeros(2, 0, dtype=torch.int64)


def choice_cross_entropy(log_choice: Tensor, apart: Tensor, matters: Tensor) -> Term:
    """Of a choice among candidates against those nearest to the truth. log_choice ``[K, C]``: ln of its probabilities; apart ``[K,
    C]``: |ln(candidate / truth)|; matters ``[K]``: 0…1, the weight of each pixel: where candidates hardly differ it does not matter
    which is taken."""
    nearest = (-apart / CHOICE_SCALE).softmax(1)
    return mean_of(-(nearest * log_choice).sum(1) * matters)


def two_hot_cross_entropy(logits: Tensor, log_true: Tensor, centers: Tensor, valid: Tensor) -> Term:
    """Cross entropy of logits [B, C, h, w] against the target split linearly between its two neighbouring bin centres."""
    step = centers[1] - centers[0]
    position = ((log_true - centers[0]) / step).clamp(0, centers.numel() - 1)
    low = position.floor().long().clamp_max(centers.numel() - 2)
    share = position - low
    log_p = F.log_softmax(logits.float(), 1)
    picked = log_p.gather(1, torch.stack([low, low + 1], 1))
    return mean_of(-(picked[:, 0] * (1 - share) + picked[:, 1] * share), valid)
