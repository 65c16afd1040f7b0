"""Pairs of image and truth: what is found, read and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depth_retrofit_ros.errors import CameraError, DatasetError, DepthRetrofitError
from depth_retrofit_ros.evaluation.data.dataset import find_pairs, read_pair
from test.evaluation.scenes import CAMERA, HEIGHT, WIDTH, write_scene


def test_pairs_are_found_and_read(tmp_path: Path) -> None:
    depth = write_scene(tmp_path, "b")
    write_scene(tmp_path, "a.1", seed=1)
    (tmp_path / "without_truth.jpg").write_bytes(b"not read")
    (tmp_path / "notes.txt").write_text("not read")
    pairs = find_pairs(tmp_path)
    assert [pair.name for pair in pairs] == ["a.1", "b"]
    got = read_pair(pairs[1])
    assert got.frame.camera == CAMERA and got.frame.image.shape == (HEIGHT, WIDTH, 3)
    assert np.isposinf(depth).any() and np.array_equal(got.depth, depth)  # inf, which is sky, is kept


def test_depth_of_zero_or_less_is_unknown(tmp_path: Path) -> None:
    depth = write_scene(tmp_path, "a")
    depth[20, :4] = 0, -1, np.nan, -np.inf
    np.savez(tmp_path / "a.npz", depth=depth, fx=60, fy=60, cx=30, cy=20)
    assert np.isnan(read_pair(find_pairs(tmp_path)[0]).depth[20, :4]).all()


def turn(folder: Path, orientation: int) -> None:
    """Gives a.png an EXIF orientation; its pixels stay."""
    image = Image.open(folder / "a.png")
    tags = Image.Exif()
    tags[0x0112] = orientation
    image.save(folder / "a.png", exif=tags)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_image_whose_truth_is_not_turned_is_told(tmp_path: Path, orientation: int) -> None:
    write_scene(tmp_path, "a")
    turn(tmp_path, orientation)
    with pytest.raises(DatasetError, match=f"a.png is turned .*by its EXIF orientation {orientation}") as error:
        read_pair(find_pairs(tmp_path)[0])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_turned_image_with_its_truth_turned_is_taken(tmp_path: Path, orientation: int) -> None:
    depth = write_scene(tmp_path, "a")
    turn(tmp_path, orientation)
    shown = depth if orientation == 1 else np.rot90(depth, -1)
    np.savez(tmp_path / "a.npz", depth=shown, fx=60, fy=60, cx=30, cy=20)
    assert read_pair(find_pairs(tmp_path)[0]).depth.shape == shown.shape


def test_folders_that_are_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no folder"):
        find_pairs(tmp_path / "absent")
    with pytest.raises(DatasetError, match="has no pairs"):
        find_pairs(tmp_path)
    write_scene(tmp_path, "a")
    (tmp_path / "a.jpg").write_bytes(b"another")
    with pytest.raises(DatasetError, match="2 images"):
        find_pairs(tmp_path)
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "a.png").unlink()
    with pytest.raises(DatasetError, match="no image"):
        find_pairs(tmp_path)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"depth": np.ones((HEIGHT, WIDTH - 1), np.float32)}, DatasetError, f"depth is {WIDTH - 1}x{HEIGHT}"),
        ({"depth": np.ones((HEIGHT, WIDTH), np.uint16)}, DatasetError, "floating-point"),
        ({"fx": np.nan}, CameraError, "a.npz"),
        ({"fx": 0.8, "fy": 0.8}, CameraError, "a.npz: fx, fy = 0.8, 0.8 px mean a field of view"),
        ({"cx": 0.5}, CameraError, "a.npz: cx = 0.5 px"),
        ({"fx": None}, DatasetError, "has no 'fx'"),
        ({"cy": np.ones(2)}, DatasetError, "one number"),
    ],
)
def test_truth_that_does_not_fit_is_told_in_one_line(
    tmp_path: Path, change: dict[str, object], error: type[DepthRetrofitError], words: str
) -> None:
    depth = write_scene(tmp_path, "a")
    arrays = {"depth": depth, "fx": 60.0, "fy": 60.0, "cx": 30.0, "cy": 20.0} | change
    np.savez(tmp_path / "a.npz", **{name: v for name, v in arrays.items() if v is not None})  # type: ignore[arg-type]
    with pytest.raises(error, match=words) as caught:
        read_pair(find_pairs(tmp_path)[0])
    assert "\n" not in str(caught.value)
