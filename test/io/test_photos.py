"""Photos: pixels upright, focal length from EXIF, damage told."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.io.photos import focal_length_35mm, read_photo


def jpeg(height: int = 20, width: int = 30) -> bytes:
    return coded(".jpg", height, width)


def coded(suffix: str, height: int = 20, width: int = 30) -> bytes:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, :, 2] = 255  # red above (BGR), black below
    ok, data = cv2.imencode(suffix, pixels)
    assert ok
    return data.tobytes()


def with_exif(data: bytes, order: str, focal_35mm: int, orientation: int = 1) -> bytes:
    """``data`` with an APP1 segment: IFD0 holds the orientation and points to an EXIF IFD with the focal length."""
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    entry = order + "HHI"

    def short(tag: int, value: int) -> bytes:
        return struct.pack(entry, tag, 3, 1) + struct.pack(order + "HH", value, 0)

    ifd0 = struct.pack(order + "H", 2) + short(0x0112, orientation) + struct.pack(entry + "I", 0x8769, 4, 1, 8 + 2 + 24 + 4)
    exif = struct.pack(order + "H", 1) + short(0xA405, focal_35mm) + struct.pack(order + "I", 0)
    body = b"Exif\0\0" + mark + struct.pack(order + "I", 8) + ifd0 + struct.pack(order + "I", 0) + exif
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


@pytest.mark.parametrize("order", ["<", ">"])
def test_focal_length_gives_the_camera(tmp_path: Path, order: str) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(with_exif(jpeg(), order, focal_35mm=26))
    photo = read_photo(file)
    camera = photo.exif_camera()
    assert photo.focal_35mm == 26.0 and camera is not None
    assert (camera.width, camera.height, camera.cx, camera.cy) == (30, 20, 14.5, 9.5)
    # 26 mm on a full frame: 36 mm wide, so 69.4 degrees across; this image has the same 3:2 shape
    assert camera.hfov_deg == pytest.approx(math.degrees(2 * math.atan(18 / 26)), abs=0.01)


def test_photo_without_exif_has_no_camera(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(jpeg())
    assert read_photo(file).exif_camera() is None


def test_zero_focal_length_means_unknown() -> None:
    assert focal_length_35mm(with_exif(jpeg(), "<", focal_35mm=0)) is None


def test_pixels_are_rgb_and_upright(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(with_exif(jpeg(), "<", focal_35mm=26, orientation=6))  # stored sideways: turn right by 90 degrees
    image = read_photo(file).image
    assert image.shape == (30, 20, 3)
    assert image[15, 15, 0] > 200 and image[15, 15, 2] < 60  # the stored top, red, is now on the right
    assert image[15, 4].max() < 60


@pytest.mark.parametrize("cut", range(2, 60, 3))
def test_cut_exif_block_is_no_focal_length(cut: int) -> None:
    assert focal_length_35mm(with_exif(jpeg(), "<", focal_35mm=26)[:cut]) is None


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is empty"),
        (b"not an image", "not an image"),
        (jpeg()[:-40], "truncated JPEG"),
        (with_exif(jpeg(), "<", 26)[:-40], "truncated JPEG"),
        (b"\xff\xd8\xff", "truncated JPEG"),
        (coded(".png")[:-20], "truncated PNG"),
        (coded(".bmp")[:-40], "not an image"),
        (coded(".tiff")[:-40], "not an image"),
    ],
)
def test_bad_files_are_told_in_one_line(tmp_path: Path, data: bytes, told: str, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.jpg"
    file.write_bytes(data)
    with pytest.raises(ImageError, match=told) as error:
        read_photo(file)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")  # nor do the decoders add lines of their own


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        read_photo(tmp_path / "absent.jpg")
    with pytest.raises(ImageError, match="directory"):
        read_photo(tmp_path)


def test_trailing_data_is_not_truncation(tmp_path: Path) -> None:
    file = tmp_path / "motion.jpg"
    file.write_bytes(jpeg() + b"\0" * 10_000)  # phones append a video or a second picture
    assert read_photo(file).image.shape == (20, 30, 3)
