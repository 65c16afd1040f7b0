"""The first image of a size is not the slow one: what a device compiles, tunes and captures for it is done before, and apart."""

from __future__ import annotations

import time
from collections.abc import Callable

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.device.faults import is_out_of_memory
from depth_retrofit_ros.retrofit import Retrofit


class WarmSizes:
    """The sizes that a method is warm for, each with a camera or without one.

    ``is_busy`` and ``is_warm`` are for any thread; the rest is for the one that computes.
    """

    def __init__(self, retrofit: Retrofit, clock_s: Callable[[], float] = time.perf_counter) -> None:
        self.is_busy = False
        """Whether it warms up at this moment: that is no hang."""
        self._retrofit = retrofit
        self._clock_s = clock_s
        self._warm: set[tuple[int, int, bool]] = set()

    @property
    def count(self) -> int:
        """How often it warmed up."""
        return len(self._warm)

    def is_warm(self, height: int, width: int, has_camera: bool) -> bool:
        """Whether there is nothing to be done for images of this size. To be called by any thread."""
        return not self._retrofit.compiles_for_size or (height, width, has_camera) in self._warm

    def prepare(self, height: int, width: int, camera: Camera | None) -> float | None:
        """Warm up for images of this size, and return what that took [s]; None where there is nothing to be done.

        Raises what keeps the method from working at all; where memory is short it is left to the image, whose budget may fall.
        """
        if self.is_warm(height, width, camera is not None):
            return None
        start_s, self.is_busy = self._clock_s(), True
        try:
            self._retrofit.warm_up(height, width, camera)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        finally:
            self.is_busy = False
        self._warm.add((height, width, camera is not None))
        return self._clock_s() - start_s
