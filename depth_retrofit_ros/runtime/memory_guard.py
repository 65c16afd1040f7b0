"""What to do when memory runs out: refine fewer pixels, then none, then fail the frame. Never end the process."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import TypeVar

import torch

from depth_retrofit_ros.device.faults import is_out_of_memory

T = TypeVar("T")

SMALLEST = 0.005  # a share of the pixels below this is not worth another attempt: coarse depth only
PATIENCE_S = 30.0  # of success under a limit before more is tried; doubled whenever more proves too much
LONGEST_PATIENCE_S = 3600.0


class MemoryGuard:
    """Lowers the budget while the work does not fit into memory, and carefully raises it again.

    limit: the largest budget that is tried at present; infinite while memory suffices.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.limit = float("inf")
        self._clock_s = clock_s
        self._patience_s = PATIENCE_S
        self._since_s = 0.0
        self._trying = False  # the limit was raised, and nothing has been computed under it yet

    def run(self, budget: float, work: Callable[[float], T]) -> T:
        """``work(b)`` with the largest b <= ``budget`` that fits, halving it as often as need be, to 0 at last.

        Raises what ``work`` raises; running out of memory only where even ``work(0)`` does.
        """
        self._raise_limit()
        while True:
            tried = min(budget, self.limit)
            try:
                result = work(tried)
            except Exception as error:
                if not is_out_of_memory(error) or tried == 0.0:
                    raise
            else:
                self._succeeded(tried)
                return result
            # Outside of the handler, where the traceback no longer keeps the failed attempt's tensors alive.
            self._lower_limit(tried)

    def _lower_limit(self, failed: float) -> None:
        if self._trying:
            self._patience_s = min(2 * self._patience_s, LONGEST_PATIENCE_S)
        self.limit = failed / 2 if failed / 2 >= SMALLEST else 0.0
        self._since_s, self._trying = self._clock_s(), False
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _raise_limit(self) -> None:
        if self.limit != float("inf") and self._clock_s() - self._since_s >= self._patience_s:
            self.limit = max(2 * self.limit, SMALLEST)
            self._since_s, self._trying = self._clock_s(), True

    def _succeeded(self, tried: float) -> None:
        if self._trying and tried == self.limit:
            self._trying, self._patience_s = False, PATIENCE_S
        if tried < self.limit:
            self.limit = float("inf")  # what was asked for fits again
