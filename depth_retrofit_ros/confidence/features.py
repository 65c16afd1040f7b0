"""What tells that a pixel's depth may be wrong. All of it is the same for a depth scaled by any factor."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from depth_retrofit_ros.frame import ENTROPY_STEP, GATE_STEP, DepthFrame

CELL = ("edge", "wide_edge", "doubt", "level", "bend")
FRAME = ("noise", "spread")
PIXEL = ("step", "wide_step")
CHOICE = ("entropy", "gate", "change")
"""Names of what is known of each coarse cell, of the frame, of each pixel, and of the refiner's choice at those that it refined."""

EDGE_REACH, WIDE_REACH = 1, 4  # cells
STEP_SHARES = (0.25, 1.0)  # reach of the steps, of the pixels between two coarse cells
HALF_RANGE = 0.2  # of ln depth: where ``edge`` is a half
HALF_BEND = 0.01  # second difference of inverse depth, as a share of it: where ``bend`` and ``noise`` are a half
MEDIAN_STEP = 2  # cells between those of which medians are taken


def cell_features(result: DepthFrame) -> torch.Tensor:
    """``float32 [7, h, w]``, of ``CELL`` and then ``FRAME``, which are the same in all cells.

    edge, wide_edge: range of ln depth within 3×3 and 9×9 cells, saturating; doubt: the selection's score, whose mean is a half;
    level: ln depth about the frame's median; bend: largest second difference of inverse depth within 3×3 cells, saturating;
    noise: the median of those; spread: mean distance of ln depth from its median. Cells that are unknown are passed over, and
    have the median's level themselves.
    """
    assert result.score is not None, "of an answer of Retrofit"
    log = result.coarse.log()
    known = log.isfinite()
    middle = log[::MEDIAN_STEP, ::MEDIAN_STEP].nanmedian()
    level = torch.where(known, log - middle, 0.0)
    edges = [_saturated(_range(level, reach), HALF_RANGE) for reach in (EDGE_REACH, WIDE_REACH)]
    score = result.score
    doubt = _saturated(score, score.mean().clamp_min(torch.finfo(torch.float32).tiny))
    bend = _bends(torch.exp(-level))
    noise = _saturated(bend[::MEDIAN_STEP, ::MEDIAN_STEP].median(), HALF_BEND)
    bend = _saturated(F.max_pool2d(bend[None], 3, 1, 1)[0], HALF_BEND)
    maps = [*edges, doubt, level, bend, noise.expand_as(level), level.abs().mean().expand_as(level)]
    return torch.stack(maps)


def reaches(size: tuple[int, int], low: tuple[int, int]) -> tuple[int, int]:
    """Of ``step`` and ``wide_step`` in a frame of ``size = (H, W)`` with a coarse map of ``low = (h, w)``, pixels."""
    cell = max(size) / max(low)
    near, wide = (max(1, round(share * cell)) for share in STEP_SHARES)
    return near, wide


def choices(result: DepthFrame) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of the pixels whose depth a refiner chose, now or in a frame whose choice they keep: their flat indices ``int64 [K]``,
    increasing, its entropy and its gate ``float32 [K]``; none of a refiner that does not choose."""
    now = result.selection.indices
    if result.choice_entropy is None:
        return now[:0], result.gate[:0], result.gate[:0]
    if result.settled is None:
        return now, result.choice_entropy, result.gate
    kept, entropy, gate = (values.flatten() for values in result.settled)
    at = kept.index_fill(0, now, 1).nonzero()[:, 0]
    place = torch.searchsorted(at, now)
    entropies = (entropy[at] * ENTROPY_STEP).index_copy(0, place, result.choice_entropy)
    return at, entropies, (gate[at] * GATE_STEP).index_copy(0, place, result.gate)


def steps(depth: torch.Tensor, reach: int) -> torch.Tensor:
    """tanh of half the range of ln depth at each pixel and those ``reach`` away to the four sides: ``[H, W]`` → ``[H, W]``, 0…1.
    Unknown ones and those beyond the frame are passed over; NaN where the pixel itself is unknown."""
    low = high = depth
    for axis in (0, 1):
        for side in (-reach, reach):
            moved = _moved(depth, axis, side)
            low, high = torch.fmin(low, moved), torch.fmax(high, moved)
    return torch.where(depth.isnan(), depth, (high - low) / (high + low))


def difference(depth: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """tanh of half of |ln(depth / other)|."""
    return (depth - other).abs() / (depth + other)


def _moved(depth: torch.Tensor, axis: int, by: int) -> torch.Tensor:
    """The value ``by`` pixels away, NaN beyond the frame."""
    out = torch.full_like(depth, torch.nan)
    n = depth.shape[axis] - abs(by)
    if n > 0:
        out.narrow(axis, max(0, -by), n).copy_(depth.narrow(axis, max(0, by), n))
    return out


def _saturated(values: torch.Tensor, half: float | torch.Tensor) -> torch.Tensor:
    return values / (values + half)


def _range(level: torch.Tensor, reach: int) -> torch.Tensor:
    """Highest less lowest within ``reach`` cells."""
    return _highest(level, reach) + _highest(-level, reach)


def _highest(values: torch.Tensor, reach: int) -> torch.Tensor:
    side = 2 * reach + 1
    rows = F.max_pool2d(values[None], (side, 1), 1, (reach, 0))
    return F.max_pool2d(rows, (1, side), 1, (0, reach))[0]


def _bends(inverse: torch.Tensor) -> torch.Tensor:
    """The larger second difference along rows and columns, as a share of the value, 0 at the frame's border."""
    bends = torch.zeros_like(inverse)
    for axis in (0, 1):
        if inverse.shape[axis] > 2:
            inner = bends.narrow(axis, 1, inverse.shape[axis] - 2)
            torch.maximum(inner, inverse.diff(n=2, dim=axis).abs(), out=inner)
    return bends / inverse
