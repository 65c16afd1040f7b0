"""Depth comes back in metres from whatever form it was recorded in, or is refused in one line."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.bag import COMPRESSED_TYPE, Bag
from depth_retrofit_ros.evaluation.data.depth_messages import depth_image
from test.evaluation.bags import header, image_message, message

QUANTIZATION, DEPTH_MAX = 100.0, 10.0  # the transport's defaults
A = QUANTIZATION * (QUANTIZATION + 1)
B = 1 - A / DEPTH_MAX


def compressed(format_name: str, data: bytes) -> bytes:
    content = np.frombuffer(data, np.uint8)
    return message(COMPRESSED_TYPE, header=header(0), format=format_name, data=content)


def png(values: np.ndarray) -> bytes:
    ok, data = cv2.imencode(".png", values)
    assert ok
    return data.tobytes()


def rvl(values: np.ndarray) -> bytes:
    """Pixel by pixel, as Wilson's paper lists it."""
    words, nibbles = [], []

    def put(number: int) -> None:
        while True:
            nibbles.append((number & 7) | (8 if number >> 3 else 0))
            number >>= 3
            if not number:
                return

    flat, at, previous = [int(v) for v in values.ravel()], 0, 0
    while at < len(flat):
        begin = at
        while at < len(flat) and flat[at] == 0:
            at += 1
        put(at - begin)
        begin = at
        while at < len(flat) and flat[at] != 0:
            at += 1
        put(at - begin)
        for current in flat[begin:at]:
            delta = current - previous
            put((delta << 1) ^ (delta >> 31))
            previous = current
    nibbles += [0] * (-len(nibbles) % 8)
    for first in range(0, len(nibbles), 8):
        word = 0
        for nibble in nibbles[first : first + 8]:
            word = word << 4 | nibble
        words.append(word)
    return struct.pack(f"<II{len(words)}I", values.shape[1], values.shape[0], *words)


def some_depth() -> np.ndarray:
    """``float32 [H, W]`` m with a hole, steps and both ends of the range."""
    depth = np.linspace(0.3, 9.5, 12 * 17, dtype=np.float32).reshape(12, 17)
    depth[3:6, 2:9] = np.nan
    depth[8, 4:] = 0.4
    depth[0, 0] = depth[-1, -1] = np.nan
    return depth


CODECS = {"png": png, "rvl": rvl}


@pytest.mark.parametrize("codec", CODECS)
def test_compressed_depth_in_millimetres(codec: str) -> None:
    expected = some_depth()
    counts = np.nan_to_num(np.round(1000 * expected)).astype(np.uint16)
    data = struct.pack("<iff", 0, 0.0, 0.0) + CODECS[codec](counts)
    np.testing.assert_allclose(
        depth_image(compressed(f"16UC1; compressedDepth {codec}", data), COMPRESSED_TYPE), expected, atol=6e-4
    )


@pytest.mark.parametrize("codec", CODECS)
def test_compressed_depth_as_quantized_inverse_depth(codec: str) -> None:
    expected = some_depth()
    values = np.zeros(expected.shape, np.uint16)
    for place, depth in np.ndenumerate(expected):
        values[place] = int(A / depth + B) if depth < DEPTH_MAX else 0
    data = struct.pack("<iff", 0, A, B) + CODECS[codec](values)
    read = depth_image(compressed(f"32FC1; compressedDepth {codec}", data), COMPRESSED_TYPE)
    np.testing.assert_allclose(read, expected, rtol=2e-3)


@pytest.mark.parametrize("told", ["16UC1", "16UC1; compressedDepth", "16UC1;compressedDepth png"])
def test_older_drivers_leave_the_codec_away(told: str) -> None:
    counts = np.array([[0, 1500]], np.uint16)
    data = struct.pack("<iff", 0, 0.0, 0.0) + png(counts)
    np.testing.assert_allclose(depth_image(compressed(told, data), COMPRESSED_TYPE), [[np.nan, 1.5]], rtol=1e-6)


def test_a_16_bit_png_is_depth_and_a_jpeg_is_not() -> None:
    counts = np.array([[0, 1500]], np.uint16)
    np.testing.assert_allclose(depth_image(compressed("16UC1; png compressed ", png(counts)), COMPRESSED_TYPE), [[np.nan, 1.5]])
    with pytest.raises(BagError, match="has lost its values: give a raw or a compressedDepth topic"):
        depth_image(compressed("16UC1; jpeg compressed bgr8", b"\xff\xd8"), COMPRESSED_TYPE)
    with pytest.raises(BagError, match="'rgb8' is not known"):
        depth_image(compressed("rgb8; jpeg compressed bgr8", b"\xff\xd8"), COMPRESSED_TYPE)
    with pytest.raises(BagError, match="16-bit grey"):
        depth_image(compressed("16UC1; compressedDepth png", bytes(12) + png(np.zeros((2, 2), np.uint8))), COMPRESSED_TYPE)


@given(st.data())
def test_any_damage_is_depth_or_one_line(data: st.DataObject) -> None:
    codec = data.draw(st.sampled_from(sorted(CODECS)))
    raw = bytearray(struct.pack("<iff", 0, A, B) + CODECS[codec](np.arange(48, dtype=np.uint16).reshape(6, 8)))
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        raw[place : place + 1] = data.draw(st.sampled_from([b"\0", b"\xff", b"\x88"]))
    cut = data.draw(st.integers(0, len(raw)))
    try:
        depth = depth_image(compressed(f"32FC1; compressedDepth {codec}", bytes(raw[:cut])), COMPRESSED_TYPE)
    except BagError as error:
        assert "\n" not in str(error)
    else:
        assert depth.dtype == np.float32 and depth.ndim == 2 and not (depth <= 0).any()


def test_depth_in_millimetres_and_metres() -> None:
    mm = np.array([[0, 1500, 65535]], np.uint16)
    np.testing.assert_allclose(depth_image(image_message(0, mm, "16UC1")), [[np.nan, 1.5, 65.535]], rtol=1e-6)
    meters = np.array([[np.nan, np.inf, -1.0, 0.0, 2.5]], np.float32)
    np.testing.assert_allclose(depth_image(image_message(0, meters, "32FC1")), [[np.nan, np.nan, np.nan, np.nan, 2.5]])


def test_padded_rows_are_cut() -> None:
    padded = np.array([[1000, 2000, 9], [3000, 4000, 9]], np.uint16)
    raw = image_message(0, padded, "16UC1")
    narrow = image_message(0, padded[:, :2], "16UC1", step=6)
    assert depth_image(raw).shape == (2, 3)
    with pytest.raises(BagError, match="does not fit"):  # the narrow message claims six bytes a row but holds four
        depth_image(narrow)


@pytest.mark.parametrize(
    ("encoding", "step", "height"), [("rgb8", None, None), ("16UC1", 3, None), ("16UC1", None, 5000), ("16UC1", None, 0)]
)
def test_depth_that_cannot_be_is_refused(encoding: str, step: int | None, height: int | None) -> None:
    with pytest.raises(BagError):
        depth_image(image_message(0, np.ones((3, 4), np.uint16), encoding, step=step, height=height))


def test_d435_bag(shared_data: Path) -> None:
    with Bag(shared_data / "bags" / "d435_tabletop") as bag:
        depth = depth_image(next(bag.messages(["/camera/aligned_depth_to_color/image_raw"])).data)
    assert depth.shape == (720, 1280)
    assert 0.2 < float(np.nanmedian(depth)) < 3.0
