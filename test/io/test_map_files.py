"""Maps that other programs wrote: what is read, as it is stored, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.errors import DatasetError
from depth_retrofit_ros.io.map_files import read_map

VALUES = np.linspace(0.25, 8.0, 12, dtype=np.float32).reshape(3, 4)


def save_npy(path: Path, values: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, values)


def save_pfm(path: Path, values: np.ndarray, order: str = "<") -> None:
    header = f"Pf\n{values.shape[1]} {values.shape[0]}\n{'-1.0' if order == '<' else '1.0'}\n"
    path.write_bytes(header.encode() + values[::-1].astype(f"{order}f4").tobytes())


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_pfm_is_read_from_the_bottom_up_in_either_byte_order(tmp_path: Path, order: str) -> None:
    save_pfm(tmp_path / "a.pfm", VALUES, order)
    found = read_map(tmp_path / "a.pfm")
    assert np.array_equal(found.values, VALUES) and found.said is None and not found.whole


def test_opencv_and_we_agree_about_pfm(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.pfm"), VALUES)
    assert np.array_equal(read_map(tmp_path / "a.pfm").values, VALUES)


@pytest.mark.parametrize("shape", [(3, 4), (1, 3, 4), (3, 4, 1), (1, 1, 3, 4)])
@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.uint16, np.int32])
def test_an_npy_of_any_number_and_with_axes_of_one(tmp_path: Path, shape: tuple[int, ...], dtype: type) -> None:
    values: np.ndarray = (VALUES * 4).astype(dtype)
    save_npy(tmp_path / "a.npy", values.reshape(shape))
    found = read_map(tmp_path / "a.npy")
    assert np.array_equal(found.values, values.astype(np.float32)) and found.values.dtype == np.float32
    assert found.whole is (np.dtype(dtype).kind in "iu") and found.said is None


def test_a_map_of_one_row_keeps_it(tmp_path: Path) -> None:
    save_npy(tmp_path / "a.npy", VALUES[:1])
    assert read_map(tmp_path / "a.npy").values.shape == (1, 4)
    save_npy(tmp_path / "a.npy", VALUES[None, :1])
    assert read_map(tmp_path / "a.npy").values.shape == (1, 4)


@pytest.mark.parametrize(("dtype", "highest"), [(np.uint8, 255), (np.uint16, 65535)])
def test_a_grey_png_of_8_and_16_bit(tmp_path: Path, dtype: type, highest: int) -> None:
    values: np.ndarray = np.array([[0, 1, highest], [7, 200, highest - 1]], dtype)
    cv2.imwrite(str(tmp_path / "a.png"), values)
    found = read_map(tmp_path / "a.png")
    assert np.array_equal(found.values, values.astype(np.float32)) and found.whole


def test_a_grey_png_in_three_channels_is_one_and_a_colour_map_is_not(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    cv2.imwrite(str(tmp_path / "a.png"), np.repeat(grey[..., None], 3, 2))
    assert np.array_equal(read_map(tmp_path / "a.png").values, grey)
    cv2.imwrite(str(tmp_path / "b.png"), cv2.applyColorMap(grey, cv2.COLORMAP_TURBO))
    with pytest.raises(DatasetError, match="not through a colour map"):
        read_map(tmp_path / "b.png")
    cv2.imwrite(str(tmp_path / "c.png"), np.repeat((grey.astype(np.uint16) * 5000)[..., None], 3, 2))
    with pytest.raises(DatasetError, match="three channels"):
        read_map(tmp_path / "c.png")


def test_what_an_npz_says_of_its_values(tmp_path: Path) -> None:
    for arrays, said in (
        ({"depth": VALUES}, "depth"),
        ({"depth": VALUES, "metric": True}, "metric"),
        ({"disparity": VALUES}, "disparity"),
        ({"value": VALUES, "model": "some words", "fx": 3.0}, None),
    ):
        np.savez(tmp_path / "a.npz", **arrays)
        found = read_map(tmp_path / "a.npz")
        assert found.said == said and np.array_equal(found.values, VALUES)


def write_two(path: Path) -> None:
    np.savez(path, near=VALUES, far=VALUES)


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("a.exr", lambda path: path.write_bytes(b"v/1\x01"), "numpy.save"),
        ("a.npz", write_two, "has no 'depth' and no 'disparity', only near, far"),
        ("a.npz", lambda path: np.savez(path, depth=np.array(["a"])), "2 dimensions"),
        ("a.npy", lambda path: save_npy(path, np.zeros((3, 4, 3), np.float32)), "2 dimensions"),
        ("a.npy", lambda path: save_npy(path, np.zeros((3, 4), np.complex64)), "complex64"),
        ("a.npy", lambda path: save_npy(path, np.zeros((0, 4), np.float32)), "not empty"),
        ("a.npy", lambda path: path.write_bytes(b"\x93NUMPY"), "damaged"),
        ("a.npy", lambda path: save_npy(path, np.array([{}], object)), "Python objects"),
        ("a.npy", write_two, "no .npy file|name it .npz|is missing"),
        ("a.npy", lambda path: None, "check the path"),
        ("a.pfm", lambda path: None, "check the path"),
        ("a.pfm", lambda path: path.write_bytes(b"Pf\n4 3\n-1\n" + bytes(47)), "takes 48 bytes but it has 47"),
        ("a.pfm", lambda path: path.write_bytes(b"PF\n4 3\n-1\n" + bytes(144)), "colour"),
        ("a.pfm", lambda path: path.write_bytes(b"P5\n4 3\n255\n"), "no PFM"),
        ("a.png", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "a.png"),
        ("a.png", lambda path: path.write_bytes(b"no picture"), "a.png"),
    ],
)
def test_what_is_no_map_is_refused_in_one_line(tmp_path: Path, name: str, write: Callable[[Path], object], words: str) -> None:
    path = tmp_path / name
    write(path)
    if words.startswith("no .npy"):  # numpy.savez adds its own suffix
        path.with_name("a.npy.npz").rename(path)
    with pytest.raises(DatasetError, match=words) as error:
        read_map(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
