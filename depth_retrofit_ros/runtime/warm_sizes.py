"""The first image of a size is not the slow one: what a device compiles, tunes and captures for it is done before, and apart."""

from __future__ import annotations

import time
from collections.abc import Callable

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.device.faults import is_out_of_memory
from depth_retrofit_ros.retrofit import Retrofit

LIMIT = 16  # sizes, with and without a camera each counted: a stream has one or two, a stranger's headers any number


class WarmSizes:
    """The sizes that a method is warm for, each with a camera or without one: the ``LIMIT`` last ones.

    ``is_busy``, ``is_warm`` and ``is_wanted`` are for any thread; the rest is for the one that computes.
    """

    def __init__(self, retrofit: Retrofit, clock_s: Callable[[], float] = time.perf_counter) -> None:
        self.is_busy = False
        """Whether it warms up at this moment: that is no hang."""
        self._retrofit = retrofit
        self._clock_s = clock_s
        self.count = 0
        """How often it warmed up."""
        self._warm: dict[tuple[int, int, bool], None] = {}  # the oldest first
        self._failed: set[tuple[int, int, bool]] = set()

    def is_warm(self, height: int, width: int, has_camera: bool) -> bool:
        """Whether there is nothing to be done for images of this size. To be called by any thread."""
        return not self._retrofit.compiles_for_size or (height, width, has_camera) in self._warm

    def is_wanted(self, height: int, width: int, has_camera: bool) -> bool:
        """Whether to warm up for images of this size before anybody asks for an answer: not where that has failed, which is told
        once, nor for more than ``LIMIT`` sizes."""
        if self.is_warm(height, width, has_camera) or len(self._warm) + len(self._failed) >= LIMIT:
            return False
        return (height, width, has_camera) not in self._failed

    def prepare(self, height: int, width: int, camera: Camera | None) -> float | None:
        """Warm up for images of this size, and return what that took [s]; None where there is nothing to be done.

        Raises what keeps the method from working at all; where memory is short it is left to the image, whose budget may fall.
        """
        if self.is_warm(height, width, camera is not None):
            return None
        size = height, width, camera is not None
        start_s, self.is_busy = self._clock_s(), True
        try:
            self._retrofit.warm_up(height, width, camera)
        except Exception as error:
            if not is_out_of_memory(error):
                if len(self._failed) < LIMIT:
                    self._failed.add(size)
                raise
        finally:
            self.is_busy = False
        self._failed.discard(size)
        if len(self._warm) >= LIMIT:
            del self._warm[next(iter(self._warm))]  # if it comes again, all that is lost is the time of a warm frame
        self._warm[size] = None
        self.count += 1
        return self._clock_s() - start_s
