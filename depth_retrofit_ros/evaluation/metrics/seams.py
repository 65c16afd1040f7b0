"""Whether one sees where the tiles end in which a frame was refined.

``seam_error`` is of the answer, whatever made it: the step of depth across the sides of tiles against the true step.
``overlap_error`` is of what tiles say before they are blended: the consistency error of PatchFusion (arXiv 2312.02284), which
PatchRefiner and URGT are measured by too: the mean difference of neighbouring tiles where they overlap. Theirs is in metres; here
it is of ln depth, so that what is far does not decide it, and of the selected pixels, as tiles say nothing about others.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from depth_retrofit_ros.evaluation.metrics.pointwise import EDGE_RATIO, both_known


@dataclass(frozen=True, slots=True)
class Seams:
    """The sides of a frame's tiles: between which rows ``(y − 1, y)`` and columns ``(x − 1, x)`` they run."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @classmethod
    def of(cls, size: tuple[int, int], side: int, overlap: int) -> Seams:
        """Of square tiles of ``side`` px, each overlapping the next by at least ``overlap`` px, spread evenly over a frame of
        ``size = (H, W)``; none along an axis that one tile covers."""
        return cls(*(_sides(high, side, overlap) for high in size))

    def beside(self, size: tuple[int, int]) -> Seams:
        """Lines where no tile ends, what an error at seams is compared with: halfway between neighbouring seams, or a seam and the
        side of the frame of ``size = (H, W)``, wherever these lie at least half as far apart as the farthest do. So no line is
        nearer to a seam than a quarter of the widest gap, and overlaps that are narrower than half of it have none."""
        return Seams(*(_halfway(lines, high) for lines, high in zip((self.rows, self.columns), size, strict=True)))


def seam_error(depth: np.ndarray, reference: np.ndarray, seams: Seams, selected: np.ndarray) -> float:
    """Mean of |step of ln d − step of ln r| between the two pixels on either side of a seam; NaN without any such pair.

    Of depth and reference ``float32 [H, W]``, over the pairs that both maps know, of which a pixel is ``selected`` (bool [H, W])
    and which show one surface: where the truth jumps by more than an edge's ratio, a jump is no seam.
    """
    errors = np.concatenate(
        [_steps(depth, reference, selected, lines, axis) for axis, lines in enumerate((seams.rows, seams.columns))]
    )
    return float(np.mean(errors, dtype=np.float64)) if errors.size else float("nan")


def _steps(depth: np.ndarray, reference: np.ndarray, selected: np.ndarray, lines: tuple[int, ...], axis: int) -> np.ndarray:
    """The errors at the lines along one axis, ``float32 [N]``."""
    after = np.array([line for line in lines if 0 < line < depth.shape[axis]], np.intp)
    first, second = (tuple(np.take(m, at, axis) for m in (depth, reference, selected)) for at in (after - 1, after))
    use = both_known(first[0], first[1]) & both_known(second[0], second[1]) & (first[2] | second[2])
    step, true = (np.log(second[i][use] / first[i][use]) for i in (0, 1))
    return np.asarray(np.abs(step - true)[np.abs(true) <= np.log(EDGE_RATIO)], np.float32)


def overlap_error(starts: np.ndarray, answers: np.ndarray, selected: np.ndarray) -> float:
    """Mean of |a − b| over all pairs of tiles that overlap, at the pixels of the overlap that are ``selected``; NaN without any.

    starts: ``int [T, 2]``, (y, x) of the tiles' first pixels; answers: ``float32 [T, S, S]``, ln of depth or of its change;
    selected: bool [H, W].
    """
    side, total, count = answers.shape[1], 0.0, 0
    for i, (y0, x0) in enumerate(starts):
        for j in range(i + 1, len(starts)):
            y1, x1 = starts[j]
            top, bottom, left, right = max(y0, y1), min(y0, y1) + side, max(x0, x1), min(x0, x1) + side
            if top >= bottom or left >= right:
                continue
            one = answers[i, top - y0 : bottom - y0, left - x0 : right - x0]
            other = answers[j, top - y1 : bottom - y1, left - x1 : right - x1]
            use = selected[top:bottom, left:right]
            total += float(np.abs(one - other)[use].sum(dtype=np.float64))
            count += int(use.sum())
    return total / count if count else float("nan")


def _halfway(lines: tuple[int, ...], high: int) -> tuple[int, ...]:
    if not lines:
        return ()
    gaps = list(pairwise((0, *lines, high)))
    widest = max(end - start for start, end in gaps)
    return tuple((start + end) // 2 for start, end in gaps if 2 * (end - start) >= widest and end - start > 1)


def _sides(high: int, side: int, overlap: int) -> tuple[int, ...]:
    if high <= side:
        return ()
    gaps = -(-(high - side) // (side - overlap))
    starts = [number * (high - side) // gaps for number in range(gaps + 1)]
    return tuple(sorted({*starts[1:], *(start + side for start in starts[:-1])}))
