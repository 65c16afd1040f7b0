"""The target of refinement: true edges at the coarse model's own depths.

A coarse model is off by a factor that drifts over the scene, and no crop can tell by how much. Asked for the raw truth, a refiner
learns to guess that factor and does harm. So each true depth is multiplied by the coarse/true ratio *of its own surface* nearby:
the target keeps the coarse model's depth of every surface and the true position of every edge. Of a thing that no clear cell shows
the ratio is that of its depth: models are off by a scale and a shift of inverse depth above all, and what is known of the surfaces
around is carried along that line.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from depth_retrofit_ros.device.kernel_cache import cached_njit

LANES = 16  # columns of the search at once: as many float32 as the widest vectors have
# Of u in exp(-x²) = (e^-u)^256: 1e-36 is left there, an ordinary float32. Of a larger u a subnormal would be, which takes a hundred
# times as long to multiply with.
FARTHEST = np.float32(0.33)
CLEAR = 0.1  # cells of one surface agree within this, in ln depth and in ln ratio
WIDE = 24.0  # cells: σ of the mean that holds where the search finds no clear cell
WIDE_COUNTS = 1e-3  # beside what the search finds; a clear cell of another surface counts up to ten times that
# Of the line: clear cells that it takes, and what they need to be one; rounds of least squares; where errors begin to count as
# absolute ones; what keeps the shift at nothing where one depth says nothing of it.
FIT_CELLS, FEWEST_FIT, CLEAR_ENOUGH, ROUNDS, LINEAR, RIDGE = 4096, 16, 0.1, 8, 0.05, 1e-4


@dataclass(frozen=True, slots=True)
class SurfaceSearch:
    """Where the surface of a pixel is looked for, and how.

    radius: in coarse cells; sigma: in ln depth, how alike two depths are to be one surface; other, tail: what a cell of another
    surface counts, of about the same depth or, falling off as a Cauchy density, ``tail`` in ln depth away. The values are those
    of docs/ablations.md.
    """

    radius: int = 12
    sigma: float = 0.06
    other: float = 0.01
    tail: float = 0.6


@dataclass(frozen=True, slots=True)
class ScaleAndShift:
    """A frame's coarse inverse depth as a function of the true one: 1 / coarse = scale / true + shift, but at least ``least``."""

    scale: float = 1.0
    shift: float = 0.0
    least: float = 0.0

    def log_ratio(self, log_true: torch.Tensor) -> torch.Tensor:
        """ln(coarse / true) that the line says of true depths, of any shape."""
        return -(self.scale + self.shift * log_true.exp()).clamp_min(self.least * log_true.exp()).log()


def log_ratio(
    log_true: torch.Tensor,
    rows: torch.Tensor,
    columns: torch.Tensor,
    true_map: torch.Tensor,
    coarse_map: torch.Tensor,
    search: SurfaceSearch = SurfaceSearch(),
) -> torch.Tensor:
    """ln(coarse / true) of the surface at each pixel.

    log_true ``[K]`` at the pixels; rows, columns ``int64 [K]`` of the coarse cell of each; true_map, coarse_map ``[h, w]``: ln
    depth on the coarse grid. Cells where either map is not finite take no part; NaN where all within reach are such.

    The mean over the clear cells within reach, by nearness and likeness in depth. Cells of the pixel's own surface count with their
    ratio as it is; those of others with what it is beyond the frame's ``ScaleAndShift``, and so does the mean of the wide
    surroundings, which holds where there are none. Where a coarse map is mixed or the truth has an edge no cell is clear: its ratio
    is of no surface.
    """
    known = true_map.isfinite() & coarse_map.isfinite()
    true_map, ratio = (torch.where(known, m, 0.0).float() for m in (true_map, coarse_map - true_map))
    clear = clear_cells(true_map, ratio, known)
    line = fitted_line(true_map, ratio, clear)
    rest = torch.where(known, ratio - line.log_ratio(true_map), 0.0)
    span = -(-(2 * search.radius + 1) // LANES) * LANES  # columns at once, those beyond the search without weight
    right = search.radius + span - (2 * search.radius + 1)
    sides = (search.radius, search.radius), (search.radius, right)
    flat = (np.pad(m.numpy(), sides, mode="edge").ravel() for m in (true_map, ratio, rest, clear))
    width = true_map.shape[1] + search.radius + right
    offsets = np.arange(span) - search.radius
    near = np.where(offsets <= search.radius, np.exp(-((offsets / search.radius) ** 2)), 0).astype(np.float32)
    how = (np.float32(value) for value in (1 / search.sigma, search.other, 1 / search.tail))
    pixels = log_true.float().numpy(), rows.numpy(), columns.numpy()
    sums = _weighted_sums(*pixels, *flat, near, width, search.radius, *how)
    own, own_weight, others, others_weight = (torch.from_numpy(m) for m in sums)
    wide = torch.from_numpy(_wide_mean(rest.numpy(), clear.numpy(), known.numpy()))[rows, columns]
    others, others_weight = others + WIDE_COUNTS * wide, others_weight + WIDE_COUNTS
    mean = (own + others + others_weight * line.log_ratio(log_true.float())) / (own_weight + others_weight)
    return torch.where(_reached(known, search.radius)[rows, columns], mean, torch.nan)


def clear_cells(true_map: torch.Tensor, ratio: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """How far each cell shows one surface, 0…1: where its truth is level, and the coarse map as far off as its neighbours. Where
    several thin things meet, the truth at the centres of cells may be level by chance while the coarse map mixes them."""
    return clearness(true_map, known) * clearness(ratio, known)


def clearness(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """1 where ``values [h, w]`` are level over 3×3 cells, 0 where they step or are not ``known [h, w]``; unknown cells are no
    neighbours."""
    sides = (m.masked_fill(~known, -torch.inf)[None, None] for m in (values, -values))
    farthest, nearest = (F.max_pool2d(F.pad(m, (1, 1, 1, 1), mode="replicate"), 3, 1)[0, 0] for m in sides)
    return torch.where(known, torch.exp(-(((farthest + nearest) / CLEAR) ** 2)), 0.0)


def fitted_line(true_map: torch.Tensor, ratio: torch.Tensor, clear: torch.Tensor) -> ScaleAndShift:
    """By the relative errors of the clear cells, few of which may be far off. true_map: ln true depth, ratio: ln(coarse / true),
    clear: see ``clearness``, all ``float32 [h, w]``. Without enough clear cells nothing is assumed: scale 1, shift 0."""
    chosen = (clear.flatten() > CLEAR_ENOUGH).nonzero()[:, 0]
    if chosen.numel() < FEWEST_FIT:
        return ScaleAndShift()
    chosen = chosen[:: -(-chosen.numel() // FIT_CELLS)]
    log_true, off, weight = (m.flatten()[chosen].double().numpy() for m in (true_map, ratio, clear))
    # Both in units of their medians, so that neither unit of depth matters: 1 = gain · (scale · inverse + shift).
    unit, usual = np.median(log_true), np.median(log_true + off)
    inverse, gain = np.exp(unit - log_true), np.exp(log_true + off - usual)
    both, trust = np.stack([inverse * gain, gain], 1), weight
    scale, shift = 1.0, 0.0
    for _ in range(ROUNDS):
        weighted = both * trust[:, None]
        matrix = weighted.T @ both
        matrix[1, 1] += RIDGE * matrix[0, 0]
        scale, shift = (float(x) for x in np.linalg.solve(matrix, weighted.sum(0)))
        trust = weight / (np.abs(both @ (scale, shift) - 1) + LINEAR)
    if scale <= 0:  # the coarse map has near and far the wrong way round
        return ScaleAndShift()
    least = max(0.5 * float((scale * inverse + shift).min()), 1e-6)
    factor = float(np.exp(-usual))
    return ScaleAndShift(scale * factor * float(np.exp(unit)), shift * factor, least * factor)


def _wide_mean(rest: np.ndarray, clear: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Mean ``rest`` of the clear cells around each cell, ``[h, w]``: of all clear ones where none is near, and the median of all
    that are known where none is clear."""
    total, weight = (cv2.GaussianBlur(m, (0, 0), WIDE, borderType=cv2.BORDER_REFLECT) for m in (rest * clear, clear))
    if clear.sum() > 0:
        usual = float((rest * clear).sum() / clear.sum())
    else:
        usual = float(np.median(rest[known])) if known.any() else 0.0
    return np.asarray((total + 1e-6 * usual) / (weight + 1e-6), np.float32)


def _reached(known: torch.Tensor, radius: int) -> torch.Tensor:
    """Whether a known cell lies within ``radius``, rows and columns apart, ``bool [h, w]``."""
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return torch.from_numpy(cv2.dilate(known.numpy().astype(np.uint8), kernel) > 0)


@cached_njit(fastmath=True, error_model="numpy")
def _weighted_sums(
    log_true: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    true_map: np.ndarray,
    ratio: np.ndarray,
    rest: np.ndarray,
    clear: np.ndarray,
    near: np.ndarray,
    width: int,
    radius: int,
    per_sigma: float,
    other: float,
    per_tail: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Over the cells within ``radius``, by nearness and clearness: the sum of ``ratio`` by likeness to the pixel's own depth and
    that of its weights; the sum of ``rest`` by what other surfaces count, and that of its weights.

    The maps are flat, of that width, padded by ``radius``, on the right so far that a row of ``near`` fits. All in float32 without
    calls or branches, so that the loop over columns becomes vector instructions.
    """
    one, half, part = np.float32(1), np.float32(0.5), np.float32(1 / 256)
    span = near.size
    own, own_weights = np.empty_like(log_true), np.empty_like(log_true)
    others, others_weights = np.empty_like(log_true), np.empty_like(log_true)
    for i in range(log_true.size):
        depth = log_true[i]
        total, weight, other_total, other_weight = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for row in range(2 * radius + 1):
            first = np.uint64((rows[i] + row) * width + columns[i])  # unsigned, for which no index is looked at twice
            row_total, row_weight, row_other, row_other_weight = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for column in range(np.uint64(span)):
                off = true_map[first + column] - depth
                far, near_sigma = off * per_tail, off * per_sigma
                u = min(near_sigma * near_sigma * part, FARTHEST)
                like = one - u + half * u * u  # e^−u for a small u = x²/256; its 256th power is exp(−x²) to 1e-5
                like *= like
                like *= like
                like *= like
                like *= like
                like *= like
                like *= like
                like *= like
                like *= like
                w = near[column] * clear[first + column]
                like *= w
                unlike = w * (other / (one + far * far))
                row_total += like * ratio[first + column]
                row_weight += like
                row_other += unlike * rest[first + column]
                row_other_weight += unlike
            total += near[row] * row_total
            weight += near[row] * row_weight
            other_total += near[row] * row_other
            other_weight += near[row] * row_other_weight
        own[i], own_weights[i], others[i], others_weights[i] = total, weight, other_total, other_weight
    return own, own_weights, others, others_weights
