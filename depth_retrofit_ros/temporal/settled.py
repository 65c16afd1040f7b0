"""Pixels that a frame before refined and that look the same since: they keep their depth, and need no budget.

What is kept is the depth itself, and not its ratio to the unrefined depth: a coarse model moves its edges from frame to frame, and
on the other side of one the ratio is that of another surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from depth_retrofit_ros.device.buffers import BufferPool
from depth_retrofit_ros.device.thread_pool import THREAD_POOL
from depth_retrofit_ros.frame import ENTROPY_STEP, GATE_STEP, SettledChoices
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.temporal.settled_cpu import settle_rows
from depth_retrofit_ros.upsampling.interpolation import cell_table

LIFE_S = 2.0  # after which a pixel is to be refined again, and before which its claim to the budget grows
TICK_S = 1e-3  # of a pixel's age, modulo 65.536 s: what is settled is looked at in every frame, so that none is older
COLOR = 48  # sum of the three channels' differences, of 765, beyond which a pixel shows something else
AROUND = 5, 5  # cells, whose coarse depths bound the unrefined depth that a settled pixel was made of
LEVEL = 0.1  # beyond those bounds, where the unrefined depth that it was made of is another one's
AGAIN = 0.7  # share of a pixel's claim that more and more refinements take from it; more leaves its edges in pieces
MOST_DRIFT = 4.0  # of a cell; one that never was empty begins anew then, so that no error adds up for days
AGREES = 0.1  # up to which two refinements of a pixel are of one surface
MOST_FRAMES = 8  # that a depth is the mean of
POOL = BufferPool()


@dataclass(frozen=True, slots=True)
class Cells:
    """What the coarse grid ``[h, w]`` tells of one frame. still: ``bool``, where nothing moved; change: ``float32``, ln of the
    factor on all depth since the frame before; lowest, highest: ``float32``, bounds of the unrefined depth around."""

    still: np.ndarray
    change: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray

    @classmethod
    def of(cls, depth: np.ndarray, still: np.ndarray, change: np.ndarray) -> Cells:
        """depth: ``float32 [h, w]``, as it is given out; what is not finite or not positive bounds nothing."""
        known, window = np.isfinite(depth) & (depth > 0), np.ones(AROUND, np.uint8)
        lowest = cv2.erode(np.where(known, depth, np.float32(np.inf)), window)
        highest = cv2.dilate(np.where(known, depth, np.float32(0)), window)
        return cls(still, change, lowest * np.float32(1 - LEVEL), highest * np.float32(1 + LEVEL))


class SettledPixels:
    """The refined pixels of a frame of ``size = (H, W)`` pixels over ``low = (h, w)`` cells; its buffers are made once.

    count: ``uint8 [H, W]``, how many refinements a pixel's depth is the mean of, 0 where it has none. Of each pixel depth
    ``float32 [H, W]``, that mean; of its newest refinement level ``float32 [H, W]``, the unrefined depth, color
    ``uint8 [H, W, 3]``, born ``uint16 [H, W]``, when [``TICK_S``], entropy and gate ``uint8 [H, W]``, see ``SettledChoices``. Both
    depths are to be multiplied by exp(drift), drift ``float32 [h, w]``: how ln of all depth has changed in a cell since it began to
    hold something.
    """

    def __init__(self, size: tuple[int, int], low: tuple[int, int]) -> None:
        self.count = np.zeros(size, np.uint8)
        self._depth, self._level = (np.zeros(size, np.float32) for _ in range(2))
        self._born = np.zeros(size, np.uint16)
        self._color = np.zeros((*size, 3), np.uint8)
        self._entropy, self._gate = (np.zeros(size, np.uint8) for _ in range(2))
        # Of each cell: how many of its pixels are settled, and the sum of what claim they have lost.
        self._number, self._left, self._drift = np.zeros(low, np.int32), np.zeros(low, np.float32), np.zeros(low, np.float32)
        cells = [cell_table(few, many)[0] for few, many in zip(low, size, strict=True)]
        self._starts = [np.searchsorted(of, np.arange(few + 1)) for of, few in zip(cells, low, strict=True)]
        self._pixels = np.maximum(np.diff(self._starts[0])[:, None] * np.diff(self._starts[1]), 1).astype(np.float32)

    @property
    def size(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of the frame and of its coarse grid."""
        return self.count.shape, self._number.shape

    @property
    def bytes(self) -> int:
        """Memory that is held."""
        cells = self._number, self._left, self._drift
        pixels = self.count, self._depth, self._level, self._born, self._color, self._entropy, self._gate
        return sum(held.nbytes for held in (*pixels, *cells))

    @property
    def share(self) -> float:
        """Of the pixels, how many are settled, 0…1."""
        return float(np.count_nonzero(self.count)) / self.count.size

    def choices(self) -> SettledChoices:
        """What is known of them now, to keep."""
        POOL.sweep()
        kept = [POOL.empty((*self.count.shape,), torch.uint8) for _ in range(3)]
        for copy, held in zip(kept, (self.count, self._entropy, self._gate), strict=True):
            copy.numpy()[:] = held
        return SettledChoices(*kept)

    def release(self) -> None:
        """Begin anew."""
        for held in self.count, self._number, self._left, self._drift:
            held.fill(0)

    def claim(self, still: np.ndarray, seconds: float) -> torch.Tensor:
        """What claim is left to the budget, ``float32 [h, w]``: 1 of a cell that holds none of its pixels, and less by up to
        ``AGAIN`` the more of them, the more often and the more lately were refined. still: ``bool [h, w]``, where nothing moved;
        seconds: since the frame before.

        As the frame before left them: a pixel that changed in a cell that did not is found by ``apply``, and has its claim from the
        next frame on.
        """
        left = np.where(still, self._left, np.float32(0)) * np.float32(max(1 - seconds / LIFE_S, 0))
        return torch.from_numpy(1 - np.float32(AGAIN) * left / self._pixels)

    def apply(
        self,
        image: torch.Tensor,
        cells: Cells,
        base: torch.Tensor,
        fused: torch.Tensor,
        pixels: PixelSet,
        gate: torch.Tensor,
        now_s: float,
        entropy: torch.Tensor | None = None,
    ) -> None:
        """Let go what changed; into ``fused`` ``float32 [H, W]``: settled pixels that were not refined now keep their depth, those
        that were get the mean with those before, or that alone where those agree on another surface. What was refined now is kept
        for the next frame.

        image: ``uint8 [H, W, 3]``; base: ``float32 [H, W]``, the unrefined depth; gate: ``float32 [K]``, as the refiner gave it: 1
        where it did not look; now_s: of any clock; entropy: ``float32 [K]``, nats, of the refiner's choices, None of one that does
        not choose.
        """
        rows = np.searchsorted(pixels.indices.numpy(), np.arange(self.count.shape[0] + 1) * self.count.shape[1])
        drift = self._drift + cells.change
        holds = cells.still & (self._number > 0) & (np.abs(drift) <= MOST_DRIFT)  # not where the change is unknown
        self._drift = np.where(holds, drift, np.float32(0))
        memory = self.count, self._depth, self._level, self._color, self._born, self._entropy, self._gate
        choice = np.zeros((2, gate.numel()), np.uint8)
        for place, (values, step) in enumerate(((entropy, ENTROPY_STEP), (gate, GATE_STEP))):
            if values is not None:
                choice[place] = np.clip(np.rint(values.numpy() * np.float32(1 / step)), 0, 255)
        given = image.numpy(), base.numpy(), fused.numpy(), pixels.indices.numpy(), gate.numpy(), choice, rows
        known = holds, np.exp(self._drift), cells.lowest, cells.highest, self._number, self._left, *self._starts
        now, life = np.uint16(round(now_s / TICK_S) % 65536), np.float32(LIFE_S / TICK_S)
        limits = now, life, np.int32(COLOR), np.float32(AGREES), np.int32(MOST_FRAMES), np.zeros(1, np.int64)
        THREAD_POOL.run(lambda: settle_rows(*memory, *given, *known, *limits))


def compile_settled() -> None:
    """For frames of any size, so that the first one does not wait."""
    one, few = torch.ones(1, 1), np.ones((1, 1), np.float32)
    pixels = PixelSet.from_indices(torch.zeros(1, dtype=torch.int64), (1, 1))
    cells = Cells.of(few, few > 0, few)
    SettledPixels((1, 1), (1, 1)).apply(torch.zeros(1, 1, 3, dtype=torch.uint8), cells, one, one.clone(), pixels, one[0], 0.0)
