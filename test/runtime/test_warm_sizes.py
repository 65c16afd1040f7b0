"""Each kind of image is prepared for once, and never as part of the image."""

from __future__ import annotations

from contextlib import suppress
from typing import cast

import pytest

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.runtime.warm_sizes import LIMIT, WarmSizes


class Compiling:
    """A method that takes two seconds to get ready for a size."""

    def __init__(self, compiles: bool = True) -> None:
        self.compiles_for_size = compiles
        self.asked: list[tuple[int, int, Camera | None]] = []
        self.now_s = 100.0
        self.error: Exception | None = None
        self.sizes = WarmSizes(cast(Retrofit, self), lambda: self.now_s)

    def warm_up(self, height: int, width: int, camera: Camera | None) -> None:
        assert self.sizes.is_busy
        self.asked.append((height, width, camera))
        self.now_s += 2.0
        if self.error is not None:
            raise self.error


def camera(f_px: float) -> Camera:
    return Camera(6, 4, f_px, f_px, 3.0, 2.0)


def test_each_size_is_prepared_for_once_with_and_without_a_camera() -> None:
    method = Compiling()
    sizes = ((4, 6, None), (4, 6, None), (4, 6, camera(5.0)), (4, 6, camera(7.0)), (8, 6, None))
    took_s = [method.sizes.prepare(*each) for each in sizes]
    assert took_s == [2.0, None, 2.0, None, 2.0] and method.sizes.count == 3 and not method.sizes.is_busy
    assert method.asked == [(4, 6, None), (4, 6, camera(5.0)), (8, 6, None)]
    assert method.sizes.is_warm(4, 6, True) and not method.sizes.is_warm(8, 6, True)


def test_where_kernels_serve_all_sizes_nothing_is_done() -> None:
    method = Compiling(compiles=False)
    assert method.sizes.prepare(4, 6, None) is None and method.asked == [] and method.sizes.is_warm(4, 6, False)


def test_short_memory_is_left_to_the_image_and_not_tried_again() -> None:
    method = Compiling()
    method.error = MemoryError("no more")
    assert method.sizes.prepare(4, 6, None) == 2.0 and method.sizes.prepare(4, 6, None) is None


def test_what_fails_is_raised_and_tried_again() -> None:
    method = Compiling()
    method.error = RuntimeError("Failed to find C compiler")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="C compiler"):
            method.sizes.prepare(4, 6, None)
        assert not method.sizes.is_busy
    method.error = None
    assert method.sizes.prepare(4, 6, None) == 2.0 and len(method.asked) == 3


def test_what_fails_is_left_to_whoever_asks_for_an_answer() -> None:
    method = Compiling()
    method.error = RuntimeError("no kernel for one pixel")
    assert method.sizes.is_wanted(1, 1, False)
    with pytest.raises(RuntimeError, match="one pixel"):
        method.sizes.prepare(1, 1, None)
    assert not method.sizes.is_wanted(1, 1, False) and method.sizes.is_wanted(1, 1, True) and method.sizes.is_wanted(4, 6, False)
    assert not method.sizes.is_warm(1, 1, False), "who asks has it tried again"
    method.error = None
    assert method.sizes.prepare(1, 1, None) == 2.0 and method.sizes.is_warm(1, 1, False)


@pytest.mark.parametrize("fails", [False, True])
def test_of_any_number_of_sizes_few_are_prepared_for_unasked_and_few_remembered(fails: bool) -> None:
    method = Compiling()
    method.error = RuntimeError("not this one") if fails else None
    unasked = 0
    for height in range(1, 4 * LIMIT):
        if method.sizes.is_wanted(height, 6, False):
            unasked += 1
            with suppress(RuntimeError):
                method.sizes.prepare(height, 6, None)
    assert unasked == LIMIT
    method.error = None
    for height in range(1000, 1000 + 4 * LIMIT):
        assert method.sizes.prepare(height, 6, None) == 2.0
        assert method.sizes.prepare(height, 6, None) is None
    assert sum(method.sizes.is_warm(height, 6, False) for height in range(2000)) == LIMIT
    assert method.sizes.count == 4 * LIMIT + (0 if fails else LIMIT)
