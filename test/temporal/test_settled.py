"""Settled pixels: the compiled pass against a plain one, their age, and what they leave of the budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.temporal import settled_cpu
from depth_retrofit_ros.temporal.settled import COLOR, LEVEL, LIFE_S, MOST_FRAMES, SettledPixels, compile_settled
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
        self, image: np.ndarray, base: np.ndarray, fused: np.ndarray, gates: dict[Any, Any], still: np.ndarray, now: float
    ) -> None:
        """As ``SettledPixels.apply``; gates: of the refined pixels."""
        for (y, x), (_, _, level, color, born) in list(self.known.items()):
            change = np.abs(image[y, x].astype(int) - color).sum()
            same = change <= COLOR and now - born < LIFE_S and abs(base[y, x] - level) <= LEVEL * level
            if not (same and still[ROW[y], COLUMN[x]]):
                del self.known[y, x]
        for (y, x), gate in gates.items():
            count, held, *_ = self.known.pop((y, x), (0, 0.0))
            ratio = fused[y, x] / base[y, x]
            if gate >= 1:
                continue
            count = min(count + 1, MOST_FRAMES) if abs(ratio - held) <= LEVEL * held else 1
            ratio = ratio if count == 1 else held + (ratio - held) / count
            fused[y, x] = base[y, x] * ratio
            self.known[y, x] = count, ratio, base[y, x], image[y, x].astype(int), now
        for (y, x), (_, ratio, *_) in self.known.items():
            fused[y, x] = base[y, x] * ratio

    def claim(self, still: np.ndarray, later: float) -> np.ndarray:
        """As ``SettledPixels.claim``, of a frame at this time."""
        left = np.zeros(LOW)
        for (y, x), (*_, born) in self.known.items():
            left[ROW[y], COLUMN[x]] += 1 - (later - born) / LIFE_S
        return np.asarray(1 - np.where(still, np.maximum(left, 0), 0) / np.outer(np.bincount(ROW), np.bincount(COLUMN)))


@pytest.mark.parametrize("begun_s", [0.0, 65.3, 8e6])
def test_the_compiled_pass_does_as_the_plain_one(begun_s: float) -> None:
    """At the start, where the count of ticks begins anew, and after three months."""
    rng, plain, memory = np.random.default_rng(0), Plain(), SettledPixels(SIZE, LOW)
    image, base = rng.integers(0, 256, (*SIZE, 3), np.uint8), rng.uniform(2, 4, SIZE).astype(np.float32)
    for frame in range(24):
        now, still = begun_s + STEP_S * frame, rng.random(LOW) < 0.9
        image = np.where(rng.random((*SIZE, 1)) < 0.03, rng.integers(0, 256, (*SIZE, 3), np.uint8), image)
        base = (base * np.where(rng.random(SIZE) < 0.03, 1.3, rng.uniform(0.99, 1.01, SIZE))).astype(np.float32)
        pixels = PixelSet.from_mask(torch.from_numpy(rng.random(SIZE) < 0.1))
        gate = np.where(rng.random(pixels.count) < 0.2, 1.0, 0.5).astype(np.float32)
        fused = base.copy()
        fused.ravel()[pixels.indices.numpy()] *= rng.uniform(0.9, 1.1, pixels.count).astype(np.float32)
        expected = fused.copy()
        if frame:
            np.testing.assert_allclose(memory.claim(still, STEP_S).numpy(), plain.claim(still, now), atol=2e-3)
        places = ((int(k) // SIZE[1], int(k) % SIZE[1]) for k in pixels.indices)
        plain.apply(image, base, expected, dict(zip(places, gate, strict=True)), still, now)
        given = torch.from_numpy(image), torch.from_numpy(base), torch.from_numpy(fused), pixels, torch.from_numpy(gate)
        memory.apply(*given, still, now)
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
    memory, one = SettledPixels(SIZE, LOW), torch.ones(SIZE)
    pixels, yes = PixelSet.from_mask(one > 0), np.ones(LOW, bool)
    memory.apply(torch.zeros(*SIZE, 3, dtype=torch.uint8), one, 1.1 * one, pixels, torch.zeros(pixels.count), yes, 0.0)
    assert (memory.claim(yes, 1e-9) >= 0).all()
    assert (memory.claim(yes, 1e-9) < 1e-6).all()
    assert (memory.claim(yes, 3 * LIFE_S) == 1).all()
    assert (memory.claim(~yes, 0.1) == 1).all()
    memory.release()
    assert (memory.claim(yes, 0.1) == 1).all()
    assert memory.share == 0
