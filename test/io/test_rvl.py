"""RVL against a reader that is written from the paper, digit by digit, and against numbers encoded by hand."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from depth_retrofit_ros.io.rvl import encode_rvl, rvl_capacity


def encoded(values: np.ndarray) -> bytes:
    out = np.full(rvl_capacity(*values.shape), 0xA5, np.uint8)
    return out[: encode_rvl(values, out)].tobytes()


def decoded(data: bytes) -> np.ndarray:
    """As the transport's subscriber does it: what is left over is not looked at."""
    width, height = struct.unpack_from("<II", data)
    words = struct.unpack_from(f"<{(len(data) - 8) // 4}I", data, 8)
    nibbles = iter([(word >> shift) & 15 for word in words for shift in range(28, -1, -4)])

    def number() -> int:
        value = shift = 0
        while True:
            nibble = next(nibbles)
            value |= (nibble & 7) << shift
            shift += 3
            if nibble < 8:
                return value

    values: list[int] = []
    previous = 0
    while len(values) < width * height:
        values += [0] * number()
        for _ in range(number()):
            folded = number()
            previous += (folded >> 1) ^ -(folded & 1)
            values.append(previous)
    return np.array(values, np.uint16).reshape(height, width)


def test_the_words_are_as_the_paper_packs_them() -> None:
    # No zeros, 3 others: +1 → 2, +1 → 2, −2 → 3; then 1 zero, 1 other: back up by 8 → 16, which is the digits 0 and 2.
    values = np.array([[1, 2, 0, 10]], np.uint16)
    nibbles = [0, 2, 2, 2, 1, 1, 8, 2]
    word = sum(nibble << shift for nibble, shift in zip(nibbles, range(28, -1, -4), strict=True))
    assert encoded(values) == struct.pack("<III", 4, 1, word)


def pictures() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    noise = random.integers(0, 65536, (37, 53))
    return {
        "noise": noise,
        "largest differences": np.where(noise % 2, 1, 65535),
        "smooth": 3000 + np.cumsum(random.integers(-4, 5, (37, 53)), axis=1),
        "rare": noise * (random.random((37, 53)) < 0.02),
        "holes": noise % 200 * (random.random((37, 53)) < 0.5),
        "nothing": np.zeros((37, 53)),
        "full": np.full((37, 53), 65535),
        "one pixel": np.full((1, 1), 7),
        "one unknown pixel": np.zeros((1, 1)),
        "a long run": np.r_[np.zeros(70_000), 1, np.zeros(9)].reshape(1, -1),
    }


@pytest.mark.parametrize("name", pictures())
def test_nothing_is_lost(name: str) -> None:
    values = pictures()[name].astype(np.uint16)
    data = encoded(values)
    np.testing.assert_array_equal(decoded(data), values)
    assert len(data) <= rvl_capacity(*values.shape) and len(data) % 4 == 0


def test_no_stream_is_so_short_that_a_subscriber_takes_it_for_damaged() -> None:
    """It refuses one of more than five pixels a byte."""
    for shape in ((1, 1), (7, 9), (480, 640)):
        assert 5 * len(encoded(np.zeros(shape, np.uint16))) >= shape[0] * shape[1]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="contiguous uint16"):
        encode_rvl(np.zeros((4, 8), np.uint16)[:, ::2], np.empty(1000, np.uint8))
    with pytest.raises(ValueError, match="contiguous uint16"):
        encode_rvl(np.zeros((0, 4), np.uint16), np.empty(1000, np.uint8))
    with pytest.raises(ValueError, match="out must have"):
        encode_rvl(np.zeros((4, 8), np.uint16), np.empty(20, np.uint8))
