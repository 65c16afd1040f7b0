"""Pixels that a frame before refined and that look the same since: they keep their correction, and need no budget."""

from __future__ import annotations

import numpy as np
import torch

from depth_retrofit_ros.device.thread_pool import THREAD_POOL
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.temporal.settled_cpu import settle_rows
from depth_retrofit_ros.upsampling.interpolation import cell_table

LIFE_S = 2.0  # after which a pixel is to be refined again, and before which its claim to the budget grows
TICK_S = 1e-3  # of a pixel's age, modulo 65.536 s: what is settled is looked at in every frame, so that none is older
COLOR = 48  # sum of the three channels' differences, of 765, beyond which a pixel shows something else
LEVEL = 0.1  # |change of the unrefined depth| beyond which its correction is another one's
MOST_FRAMES = 8  # that a correction is the mean of


class SettledPixels:
    """The corrections of a frame of ``size = (H, W)`` pixels over ``low = (h, w)`` cells; its buffers are made once.

    count: ``uint8 [H, W]``, how many refinements a pixel's correction is the mean of, 0 where it has none. Of each pixel's newest
    refinement: ratio ``float32 [H, W]``, refined by unrefined depth, level ``float32 [H, W]``, the unrefined depth, color
    ``uint8 [H, W, 3]``, and born ``uint16 [H, W]``, when [``TICK_S``].
    """

    def __init__(self, size: tuple[int, int], low: tuple[int, int]) -> None:
        self.count = np.zeros(size, np.uint8)
        self._ratio, self._level = (np.zeros(size, np.float32) for _ in range(2))
        self._born = np.zeros(size, np.uint16)
        self._color = np.zeros((*size, 3), np.uint8)
        # Of each cell: how many of its pixels are settled, and the sum of the shares of their lives that are left.
        self._number, self._left = np.zeros(low, np.int32), np.zeros(low, np.float32)
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
        return sum(
            held.nbytes for held in (self.count, self._ratio, self._level, self._born, self._color, self._number, self._left)
        )

    @property
    def share(self) -> float:
        """Of the pixels, how many are settled, 0…1."""
        return float(np.count_nonzero(self.count)) / self.count.size

    def release(self) -> None:
        """Begin anew."""
        for held in self.count, self._number, self._left:
            held.fill(0)

    def claim(self, still: np.ndarray, seconds: float) -> torch.Tensor:
        """What claim is left to the budget, ``float32 [h, w]``: 0 of cells whose pixels are all freshly settled, 1 of those without
        any. still: ``bool [h, w]``, where nothing moved; seconds: since the frame before.

        As the frame before left them: a pixel that changed in a cell that did not is found by ``apply``, and has its claim from the
        next frame on.
        """
        left = np.maximum(self._left - self._number * np.float32(seconds / LIFE_S), 0)
        return torch.from_numpy(1 - np.where(still, left, np.float32(0)) / self._pixels)

    def apply(
        self,
        image: torch.Tensor,
        base: torch.Tensor,
        fused: torch.Tensor,
        pixels: PixelSet,
        gate: torch.Tensor,
        still: np.ndarray,
        now_s: float,
    ) -> None:
        """Let go what changed; into ``fused`` ``float32 [H, W]``: settled pixels that were not refined now keep what they are known
        by, those that were get the mean with those before. What was refined now is kept for the next frame.

        image: ``uint8 [H, W, 3]``; base: ``float32 [H, W]``, the unrefined depth; gate: ``float32 [K]``, as the refiner gave it: 1
        where it did not look; still: as in ``claim``; now_s: of any clock.
        """
        rows = np.searchsorted(pixels.indices.numpy(), np.arange(self.count.shape[0] + 1) * self.count.shape[1])
        memory = self.count, self._ratio, self._level, self._color, self._born
        given = image.numpy(), base.numpy(), fused.numpy(), pixels.indices.numpy(), gate.numpy(), rows
        cells = still, self._number, self._left, *self._starts
        now, life = np.uint16(round(now_s / TICK_S) % 65536), np.float32(LIFE_S / TICK_S)
        limits = now, life, np.int32(COLOR), np.float32(LEVEL), np.int32(MOST_FRAMES), np.zeros(1, np.int64)
        THREAD_POOL.run(lambda: settle_rows(*memory, *given, *cells, *limits))


def compile_settled() -> None:
    """For frames of any size, so that the first one does not wait."""
    one, few = torch.ones(1, 1), np.ones((1, 1), bool)
    pixels = PixelSet.from_indices(torch.zeros(1, dtype=torch.int64), (1, 1))
    SettledPixels((1, 1), (1, 1)).apply(torch.zeros(1, 1, 3, dtype=torch.uint8), one, one.clone(), pixels, one[0], few, 0.0)
