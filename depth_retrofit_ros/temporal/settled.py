"""Pixels that a frame before refined and that look the same since: they keep their correction, and need no budget."""

from __future__ import annotations

import numpy as np
import torch

from depth_retrofit_ros.device.thread_pool import THREAD_POOL
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.temporal.settled_cpu import check_cells, keep_cells, settle_pixels
from depth_retrofit_ros.upsampling.interpolation import cell_table

LIFE_S = 2.0  # after which a pixel is to be refined again, and before which its claim to the budget grows
COLOR = 48  # sum of the three channels' differences, of 765, beyond which a pixel shows something else
LEVEL = 0.1  # |change of the unrefined depth| beyond which its correction is another one's
MOST_FRAMES = 8  # that a correction is the mean of


class SettledPixels:
    """The corrections of a frame of ``size = (H, W)`` pixels over ``low = (h, w)`` cells; its buffers are made once.

    count: ``uint8 [H, W]``, how many refinements a pixel's correction is the mean of, 0 where it has none. Of each pixel's newest
    refinement: ratio ``float32 [H, W]``, refined by unrefined depth, level ``float32 [H, W]``, the unrefined depth, color
    ``uint8 [H, W, 3]``, and born ``float32 [H, W]`` [s].
    """

    def __init__(self, size: tuple[int, int], low: tuple[int, int]) -> None:
        self.count = np.zeros(size, np.uint8)
        self._ratio, self._level, self._born = (np.zeros(size, np.float32) for _ in range(3))
        self._color = np.zeros((*size, 3), np.uint8)
        self._inhabited, self._claim = np.zeros(low, np.uint8), np.ones(low, np.float32)
        self._cells = [cell_table(few, many)[0] for few, many in zip(low, size, strict=True)]
        self._starts = [np.searchsorted(cells, np.arange(few + 1)) for cells, few in zip(self._cells, low, strict=True)]

    @property
    def size(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of the frame and of its coarse grid."""
        return self.count.shape, self._claim.shape

    @property
    def bytes(self) -> int:
        """Memory that is held."""
        arrays = self.count, self._ratio, self._level, self._born, self._color, self._inhabited, self._claim
        return sum(array.nbytes for array in arrays)

    @property
    def share(self) -> float:
        """Of the pixels, how many are settled, 0…1."""
        return float(np.count_nonzero(self.count)) / self.count.size

    def release(self) -> None:
        """Begin anew."""
        self.count.fill(0)
        self._inhabited.fill(0)

    def check(self, image: torch.Tensor, base: torch.Tensor, still: np.ndarray, now_s: float) -> torch.Tensor:
        """Let go what changed; what claim is left to the budget, ``float32 [h, w]``: 0 of cells whose pixels are all freshly
        settled, 1 of those without any.

        image: ``uint8 [H, W, 3]``; base: ``float32 [H, W]``, the unrefined depth; still: ``bool [h, w]``, where nothing moved.
        """
        memory = self.count, self._level, self._color, self._born
        given = image.numpy(), base.numpy(), still, self._inhabited, self._claim, *self._starts
        limits = np.float32(now_s), np.float32(LIFE_S), np.int32(COLOR), np.float32(LEVEL), np.zeros(1, np.int64)
        THREAD_POOL.run(lambda: check_cells(*memory, *given, *limits))
        return torch.from_numpy(self._claim)

    def apply(
        self, image: torch.Tensor, base: torch.Tensor, fused: torch.Tensor, pixels: PixelSet, gate: torch.Tensor, now_s: float
    ) -> None:
        """Into ``fused`` ``float32 [H, W]``: settled pixels that were not refined now keep what they are known by, those that were
        get the mean with those before. What was refined now is kept for the next frame.

        image, base: as in ``check``; gate: ``float32 [K]``, as the refiner gave it.
        """
        unrefined, refined = base.numpy(), fused.numpy()
        limit = np.float32(LEVEL)
        held = self.count, self._ratio, unrefined, refined, pixels.index_image.numpy(), self._inhabited
        counters = np.zeros(1, np.int64), np.zeros(1, np.int64)
        THREAD_POOL.run(lambda: keep_cells(*held, *self._starts, counters[0]))
        memory = self.count, self._ratio, self._level, self._color, self._born
        given = image.numpy(), unrefined, refined, pixels.indices.numpy(), gate.numpy(), self._inhabited, *self._cells
        limits = np.float32(now_s), np.int32(MOST_FRAMES), limit, counters[1]
        THREAD_POOL.run(lambda: settle_pixels(*memory, *given, *limits))
