"""Compressed depth, read back as ``compressed_depth_image_transport``'s subscriber defines it."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
import torch

from depth_retrofit_ros.io.compressed_depth import (
    DEPTH_CODECS,
    HEADER_SIZE,
    InverseDepth,
    capacity,
    cut_off,
    encode,
    fill_inverse_depth,
    inverse_depth,
)
from test.io.test_rvl import decoded


def surfaces(seed: int = 0) -> np.ndarray:
    """Depth from 0.2 to 150 m, and all that is none."""
    random = np.random.default_rng(seed)
    depth = np.exp(random.uniform(np.log(0.2), np.log(150), (31, 47))).astype(np.float32)
    depth.flat[:6] = np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-3
    return depth


def quantized(depth: np.ndarray, form: InverseDepth) -> np.ndarray:
    out = np.empty(depth.shape, np.uint16)
    fill_inverse_depth(depth, form, out)
    return out


def data_of(values: np.ndarray, form: InverseDepth | None, codec: str) -> bytes:
    height, width = values.shape
    out = np.empty(capacity(height, width, codec), np.uint8)
    return out[: encode(values, form, codec, out)].tobytes()


def values_of(data: bytes, codec: str) -> np.ndarray:
    body = data[12:]
    if codec == "rvl":
        return decoded(body)
    return np.asarray(cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED))


def read_float(data: bytes, codec: str) -> np.ndarray:
    _, a, b = struct.unpack_from("<iff", data)
    values = values_of(data, codec)
    with np.errstate(divide="ignore"):
        return np.where(values == 0, np.float32(np.nan), np.float32(a) / (values.astype(np.float32) - np.float32(b)))


@pytest.mark.parametrize("codec", DEPTH_CODECS)
@pytest.mark.parametrize(("far", "quantization"), [(10.0, 100.0), (100.0, 100.0), (100.0, 50.0), (1000.0, 150.0)])
def test_float_depth_comes_back_within_half_a_step(codec: str, far: float, quantization: float) -> None:
    depth, form = surfaces(), InverseDepth.of(far, quantization)
    read = read_float(data_of(quantized(depth, form), form, codec), codec)
    known = (depth > 0) & (depth < far)
    np.testing.assert_array_equal(np.isnan(read), ~known)
    nearest = float(form.a) / (65535 - float(form.b))
    wanted = np.maximum(depth, nearest)[known].astype(np.float64)
    half_step = 0.5 * wanted**2 / float(form.a)
    assert (np.abs(read[known] - wanted) <= 1.02 * half_step + 2e-5 * wanted).all()


@pytest.mark.parametrize("codec", DEPTH_CODECS)
def test_millimeters_come_back_as_they_are(codec: str) -> None:
    values = np.random.default_rng(1).integers(0, 65536, (31, 47)).astype(np.uint16)
    data = data_of(values, None, codec)
    np.testing.assert_array_equal(values_of(data, codec), values)
    assert data[:4] == bytes(4)


def test_the_header_is_the_transport_s() -> None:
    """An enum of four bytes, of which 0 is inverse depth, and a and b of quantization and far end."""
    form = InverseDepth.of(10.0, 100.0)
    data = data_of(quantized(surfaces(), form), form, "png")
    assert HEADER_SIZE == 12 and data[:12] == struct.pack("<iff", 0, 10100.0, -1009.0)
    assert data[12:20] == b"\x89PNG\r\n\x1a\n"


def test_steps_are_the_transport_s_but_rounded() -> None:
    depth, form = surfaces(), InverseDepth.of(100.0, 100.0)
    known = (depth > 0.2) & (depth < 100)
    cut = (np.float32(10100.0) / depth[known] + np.float32(1 - 101.0)).astype(np.int64)
    assert set((quantized(depth, form)[known] - cut).tolist()) == {0, 1}


def test_the_device_s_steps_are_the_host_s() -> None:
    depth = surfaces()
    for form in (InverseDepth.of(10.0, 100.0), InverseDepth.of(100.0, 150.0)):
        there = inverse_depth(torch.from_numpy(depth), form).numpy().view(np.uint16)
        assert np.abs(there.astype(int) - quantized(depth, form)).max() <= 1
        np.testing.assert_array_equal(there == 0, quantized(depth, form) == 0)


def test_a_small_noise_fits_as_png_too() -> None:
    for shape in ((1, 1), (2, 3), (40, 1), (64, 64)):
        values = np.random.default_rng(2).integers(0, 65536, shape).astype(np.uint16)
        np.testing.assert_array_equal(values_of(data_of(values, None, "png"), "png").reshape(shape), values)


def test_millimeters_beyond_the_end_are_unknown() -> None:
    values = np.array([[0, 1, 9999, 10000, 10001, 65535]], np.uint16)
    cut_off(values, 10.0)
    assert values.tolist() == [[0, 1, 9999, 10000, 0, 0]]
    values = np.array([[65535, 1]], np.uint16)
    cut_off(values, 100.0)
    assert values.tolist() == [[65535, 1]]
