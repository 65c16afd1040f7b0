"""Settled pixels: the compiled pass against a plain one, their age, and what they leave of the budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.temporal import settled_cpu
from depth_retrofit_ros.temporal.settled import AGAIN, AGREES, COLOR, LIFE_S, MOST_FRAMES, Cells, SettledPixels, compile_settled
from depth_retrofit_ros.temporal.steadiness import Steadiness
from depth_retrofit_ros.upsampling.interpolation import cell_table
from test.temporal.videos import answers, jittering, noisy, picture, shot

SIZE, LOW, STEP_S = (26, 37), (5, 8), 0.11
ROW, COLUMN = (cell_table(low, high)[0] for high, low in zip(SIZE, LOW, strict=True))


class Plain:
    """One pixel after the other."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, int], tuple[int, float, float, np.ndarray, float]] = {}

    def apply(
        self, image: np.ndarray, cells: Cells, base: np.ndarray, fused: np.ndarray, gates: dict[Any, Any], now: float
    ) -> None:
        """As ``SettledPixels.apply``; gates: of the refined pixels."""
        for (y, x), (count, depth, level, color, born) in list(self.known.items()):
            cell = ROW[y], COLUMN[x]
            factor = np.exp(cells.change[cell])
            same = np.abs(image[y, x].astype(int) - color).sum() <= COLOR and now - born < LIFE_S
            if same and cells.still[cell] and cells.lowest[cell] <= level * factor <= cells.highest[cell]:
                self.known[y, x] = count, depth * factor, level * factor, color, born
            else:
                del self.known[y, x]
        for (y, x), gate in gates.items():
            if gate >= 1:
                continue
            count, held, *_ = self.known.pop((y, x), (0, 0.0))
            found = fused[y, x]
            if count and abs(found - held) <= AGREES * held:
                count = min(count + 1, MOST_FRAMES)
                found = held + (found - held) / count
            elif count > 1:
                count, found = count // 2, held
            else:
                count = 1
            fused[y, x] = found
            self.known[y, x] = count, found, base[y, x], image[y, x].astype(int), now
        for (y, x), (_, depth, *_) in self.known.items():
            fused[y, x] = depth

    def claim(self, still: np.ndarray, now: float, seconds: float) -> np.ndarray:
        """As ``SettledPixels.claim``; now: of the frame before."""
        left = np.zeros(LOW)
        for (y, x), (count, *_, born) in self.known.items():
            left[ROW[y], COLUMN[x]] += (1 - (now - born) / LIFE_S) * (1 - seconds / LIFE_S) * count / (count + 1)
        return np.asarray(1 - AGAIN * np.where(still, left, 0) / np.outer(np.bincount(ROW), np.bincount(COLUMN)))


@pytest.mark.parametrize("begun_s", [0.0, 65.3, 8e6])
def test_the_compiled_pass_does_as_the_plain_one(begun_s: float) -> None:
    """At the start, where the count of ticks begins anew, and after three months."""
    rng, plain, memory = np.random.default_rng(0), Plain(), SettledPixels(SIZE, LOW)
    image, base = rng.integers(0, 256, (*SIZE, 3), np.uint8), rng.uniform(2, 4, SIZE).astype(np.float32)
    for frame in range(24):
        now, still = begun_s + STEP_S * frame, rng.random(LOW) < 0.9
        change = rng.normal(0, 0.01, LOW).astype(np.float32)
        cells = Cells(still, change, *(np.full(LOW, bound, np.float32) for bound in (2.1, 3.9)))
        image = np.where(rng.random((*SIZE, 1)) < 0.03, rng.integers(0, 256, (*SIZE, 3), np.uint8), image)
        pixels = PixelSet.from_mask(torch.from_numpy(rng.random(SIZE) < 0.3))
        gate = np.where(rng.random(pixels.count) < 0.2, 1.0, 0.5).astype(np.float32)
        fused = base.copy()
        fused.ravel()[pixels.indices.numpy()] *= rng.uniform(0.9, 1.1, pixels.count).astype(np.float32)
        expected = fused.copy()
        if frame:
            np.testing.assert_allclose(memory.claim(still, STEP_S).numpy(), plain.claim(still, now - STEP_S, STEP_S), atol=2e-3)
        places = ((int(k) // SIZE[1], int(k) % SIZE[1]) for k in pixels.indices)
        plain.apply(image, cells, base, expected, dict(zip(places, gate, strict=True)), now)
        given = torch.from_numpy(base), torch.from_numpy(fused), pixels, torch.from_numpy(gate)
        memory.apply(torch.from_numpy(image), cells, *given, now)
        np.testing.assert_allclose(fused, expected, rtol=1e-5)
        counts = np.zeros(SIZE, int)
        for place, (count, *_) in plain.known.items():
            counts[place] = count
        np.testing.assert_array_equal(memory.count, counts)
    assert memory.count.max() > 2


def test_a_frame_waits_for_no_compilation() -> None:
    compile_settled()
    ready = list(settled_cpu.settle_rows.signatures)
    answers([shot(noisy(picture(), i), i) for i in range(3)], jittering(), memory := Steadiness())
    assert memory.settled is not None
    assert settled_cpu.settle_rows.signatures == ready


def test_no_claim_is_negative_and_none_is_left_of_what_is_released() -> None:
    memory, one, small = SettledPixels(SIZE, LOW), torch.ones(SIZE), np.ones(LOW, np.float32)
    pixels, yes = PixelSet.from_mask(one > 0), np.ones(LOW, bool)
    cells, gate = Cells.of(small, yes, 0 * small), torch.zeros(pixels.count)
    left = []
    for look in range(MOST_FRAMES):
        memory.apply(torch.zeros(*SIZE, 3, dtype=torch.uint8), cells, one, 1.1 * one, pixels, gate, 0.1 * look)
        left.append(float(memory.claim(yes, 1e-9).mean()))
    assert left == pytest.approx([1 - AGAIN * n / (n + 1) for n in range(1, MOST_FRAMES + 1)], abs=1e-4)
    assert (memory.claim(yes, 1e-9) >= 0).all()
    assert (memory.claim(yes, 3 * LIFE_S) == 1).all()
    assert (memory.claim(~yes, 0.1) == 1).all()
    memory.release()
    assert (memory.claim(yes, 0.1) == 1).all()
    assert memory.share == 0


def seen(values: list[float], coarse: Callable[[int], np.ndarray], image: Callable[[int], np.ndarray] | None = None) -> list[float]:
    """What a pixel is shown as that is refined to each of ``values`` in turn, and that nobody looks at where that is NaN. coarse:
    the depth of the cells in each frame; image: ``uint8 [H, W, 3]`` of each."""
    memory, yes, shown = SettledPixels(SIZE, LOW), np.ones(LOW, bool), []
    for frame, value in enumerate(values):
        looked, base = bool(np.isfinite(value)), torch.full(SIZE, 2.0)
        pixels, fused = PixelSet.from_mask(torch.full(SIZE, looked)), torch.full(SIZE, value) if looked else base.clone()
        cells = Cells.of(coarse(frame), yes, np.zeros(LOW, np.float32))
        picture = torch.from_numpy(np.zeros((*SIZE, 3), np.uint8) if image is None else image(frame))
        memory.apply(picture, cells, base, fused, pixels, torch.zeros(pixels.count), STEP_S * frame)
        shown.append(float(fused[13, 20]))
    return shown


NAN = float("nan")


def flat(_: int) -> np.ndarray:
    return np.full(LOW, 2.0, np.float32)


def test_one_refinement_that_disagrees_with_many_is_outvoted_and_two_that_agree_are_not() -> None:
    assert seen([2.2, 2.2, 2.2, 3.0, 2.2], flat) == pytest.approx([2.2] * 5)
    assert seen([2.2, 3.0], flat) == pytest.approx([2.2, 3.0])
    assert seen([2.2, 2.2, 3.0, 3.0, 3.0], flat)[-1] == pytest.approx(3.0)


def test_an_edge_that_the_coarse_model_moves_by_a_cell_takes_no_pixel_away() -> None:
    def moved(frame: int) -> np.ndarray:
        depth = flat(frame)
        depth[:, 5 - frame % 2 :] = 6.0
        return depth

    assert seen([2.2, NAN, NAN, NAN], moved) == pytest.approx([2.2] * 4)


@pytest.mark.parametrize("change", [NAN, 3.0])
def test_a_change_that_is_unknown_or_adds_up_lets_go_and_leaves_nothing(change: float) -> None:
    memory, yes, base = SettledPixels(SIZE, LOW), np.ones(LOW, bool), torch.full(SIZE, 2.0)
    image, none = torch.zeros(*SIZE, 3, dtype=torch.uint8), PixelSet.from_mask(torch.zeros(SIZE, dtype=torch.bool))
    everywhere = np.full(LOW, 0.0, np.float32), np.full(LOW, np.inf, np.float32)
    shown = []
    for frame, changed in enumerate([0.0, 0.0, change, change, 0.0, 0.0]):
        refined = frame in (0, 4)
        pixels, fused = PixelSet.from_mask(torch.ones(SIZE) > 0) if refined else none, torch.full(SIZE, 2.2 if refined else 2.0)
        cells = Cells(yes, np.full(LOW, changed, np.float32), *everywhere)
        memory.apply(image, cells, base, fused, pixels, torch.zeros(pixels.count), STEP_S * frame)
        shown.append(float(fused[0, 0]))
    assert shown[:2] + shown[3:] == pytest.approx([2.2, 2.2, 2.0, 2.2, 2.2])


def test_a_pixel_whose_depth_the_coarse_model_has_nowhere_around_any_more_is_let_go() -> None:
    assert seen([2.2, NAN, NAN], lambda frame: flat(frame) * (2 if frame > 1 else 1)) == pytest.approx([2.2, 2.2, 2.0])
