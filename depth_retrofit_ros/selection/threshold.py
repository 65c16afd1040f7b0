"""The paper's selection: all pixels whose entropy is above a threshold α (2K Retrofit, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.selection.uncertainty import entropy_share
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.interpolation import cell_index, nearest

SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0)  # of the pixels, for which thresholds are kept
CAP = 2.5  # times the budget's share: more pixels than that are not refined, whatever their entropy


@dataclass(frozen=True, slots=True)
class Thresholds:
    """alphas: above which entropy (``entropy_share``) each of ``SHARES`` of the pixels of the calibration's frames is; falling."""

    alphas: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.alphas) != len(SHARES) or not all(a >= b for a, b in pairwise(self.alphas)):
            raise ValueError(f"thresholds are {len(SHARES)} falling numbers")

    def at(self, share: float) -> float:
        """The threshold for a share of the pixels, 0…1, interpolated between those that are kept."""
        return float(np.interp(share, SHARES, self.alphas))


def calibrated(entropies: Sequence[torch.Tensor]) -> Thresholds:
    """From ``entropy_share`` maps of calibration frames, each of which counts alike, whatever its grid. Above the threshold of
    share 1 are all pixels, also those of other frames."""
    values = torch.cat([entropy.flatten() for entropy in entropies]).double()
    weights = torch.cat([torch.full((e.numel(),), 1 / (e.numel() * len(entropies))).double() for e in entropies])
    values, order = values.sort(descending=True)
    places = torch.searchsorted(weights[order].cumsum(0), torch.tensor(SHARES[:-1]).double()).clamp_max(values.numel() - 1)
    return Thresholds((*values[places].tolist(), -1.0))


class AboveThreshold:
    """All pixels whose entropy is above the budget's threshold, or above ``alpha`` at any budget; at most ``CAP`` times the
    budget's share of them, of the most uncertain coarse pixels. On CUDA it waits for the device, to learn their number."""

    def __init__(self, alpha: Thresholds | float) -> None:
        self._alpha = alpha

    def alpha(self, budget: float) -> float:
        """The threshold at a budget, a share of the largest entropy."""
        return self._alpha.at(budget) if isinstance(self._alpha, Thresholds) else self._alpha

    def score(self, coarse: CoarsePrediction, image: torch.Tensor) -> torch.Tensor:
        """See ``Selector.score``: 0…1, of the prediction alone."""
        return entropy_share(coarse.features, (coarse.depth.shape[0], coarse.depth.shape[1]))

    def choose(self, score: torch.Tensor, size: tuple[int, int], budget: float) -> PixelSet:
        """See ``Selector.choose``. A coarse pixel is chosen with all the fine ones whose centres lie in it."""
        if budget == 0:
            return PixelSet.from_indices(torch.empty(0, dtype=torch.int64, device=score.device), size)
        cells, left_out = above(score, self.alpha(budget), size, most_pixels(budget, size))
        return replace(PixelSet.from_mask(nearest(cells, size)), left_out=left_out)


def most_pixels(budget: float, size: tuple[int, int]) -> int:
    """How many pixels of a frame of ``size = (H, W)`` are refined at most."""
    return round(min(1.0, CAP * budget) * size[0] * size[1])


def above(score: torch.Tensor, alpha: float, size: tuple[int, int], most: int) -> tuple[torch.Tensor, int]:
    """Which coarse pixels are chosen, ``bool [h, w]``, and how many fine ones of a ``size = (H, W)`` frame are over the threshold
    but not chosen. score: ``[h, w]``; most: fine pixels that are chosen at most: those of the highest scores, of equal ones the
    first in row-major order."""
    over = score > alpha
    rows, columns = (_fine_pixels(high, low, score.device) for high, low in zip(size, score.shape, strict=True))
    pixels = rows[:, None] * columns
    wanted = int((pixels * over).sum())
    if wanted <= most:
        return over, 0
    order = score.masked_fill(~over, -torch.inf).flatten().argsort(descending=True, stable=True)
    fit = pixels.flatten()[order].cumsum(0) <= most
    chosen = torch.empty_like(fit).index_copy_(0, order, fit).view_as(over) & over
    return chosen, wanted - int((pixels * chosen).sum())


def _fine_pixels(high: int, low: int, device: torch.device) -> torch.Tensor:
    """How many of ``high`` fine pixels have their centre in each of ``low`` coarse ones, ``int64 [low]``."""
    cells = cell_index(torch.arange(high, device=device), low, high)
    return torch.zeros(low, dtype=torch.int64, device=device).index_add_(0, cells, torch.ones_like(cells))
