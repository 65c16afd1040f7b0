"""Photos: pixels upright, focal length from EXIF, damage told."""

from __future__ import annotations

import io
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, features

from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.io import photos
from depth_retrofit_ros.io.photos import read_photo
from test.io.exifs import FOCAL_35MM, exif
from test.io.jpegs import HEIGHT, WIDTH, picture, segment
from test.io.jpegs import sound as sound_jpegs
from test.io.test_png import chunk


def jpeg(height: int = 20, width: int = 30) -> bytes:
    return coded(".jpg", height, width)


def coded(suffix: str, height: int = 20, width: int = 30) -> bytes:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, :, 2] = 255  # red above (BGR), black below
    ok, data = cv2.imencode(suffix, pixels)
    assert ok
    return data.tobytes()


def with_exif(data: bytes, order: str, focal_35mm: int, orientation: int = 1) -> bytes:
    """``data``, a JPEG, with an EXIF segment."""
    return data[:2] + segment(0xE1, b"Exif\0\0" + exif({FOCAL_35MM: focal_35mm}, orientation, order)) + data[2:]


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


def test_pixels_are_rgb_and_upright(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(with_exif(jpeg(), "<", focal_35mm=26, orientation=6))  # stored sideways: turn right by 90 degrees
    image = read_photo(file).image
    assert image.shape == (30, 20, 3)
    assert image[15, 15, 0] > 200 and image[15, 15, 2] < 60  # the stored top, red, is now on the right
    assert image[15, 4].max() < 60


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is empty"),
        (b"not an image", "not an image"),
        (jpeg()[:-40], "is damaged"),
        (with_exif(jpeg(), "<", 26)[:-40], "is damaged"),
        (b"\xff\xd8\xff", "is damaged"),
        (coded(".png")[:-20], "is damaged"),
        (coded(".bmp")[:-40], "is damaged"),
        (coded(".tiff")[:-40], "is damaged|not an image"),
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


def saved(kind: str, orientation: int, prefix: bytes = b"") -> bytes:
    """The picture as a file of that kind, with EXIF that says how to turn it and 26 mm."""
    file, block = io.BytesIO(), prefix + exif({FOCAL_35MM: 26}, orientation)
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": "4:4:4"} if kind in ("JPEG", "AVIF") else {}
    Image.fromarray(picture()).save(file, kind, exif=block, **options)
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "prefix"),
    [("JPEG", b"Exif\0\0"), ("PNG", b""), ("PNG", b"Exif\0\0"), ("TIFF", b""), ("WEBP", b""), ("WEBP", b"Exif\0\0"), ("AVIF", b"")],
)
def test_exif_is_read_from_every_kind_of_file(tmp_path: Path, kind: str, prefix: bytes, orientation: int) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF: 11.3 or newer has")
    file = tmp_path / "photo"
    file.write_bytes(saved(kind, orientation, prefix))
    photo = read_photo(file)
    assert (photo.focal_35mm, photo.orientation) == (26.0, orientation)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(saved("PNG", orientation))))
    error = np.abs(photo.image.astype(int) - np.asarray(turned))
    assert photo.image.shape == ((HEIGHT, WIDTH, 3) if orientation < 5 else (WIDTH, HEIGHT, 3))
    assert error.mean() <= (3 if kind in ("JPEG", "AVIF") else 0)


def test_exif_in_a_text_chunk_of_a_png(tmp_path: Path) -> None:
    """As older ImageMagick writes it: a name, a length, and the block in hexadecimal."""
    block = b"Exif\0\0" + exif({FOCAL_35MM: 26}, 6)
    text = b"Raw profile type exif\0\nexif\n%8d\n%s\n" % (len(block), block.hex().encode())
    data = coded(".png")
    file = tmp_path / "photo.png"
    file.write_bytes(data[:33] + chunk(b"tEXt", text) + data[33:])
    photo = read_photo(file)
    assert (photo.focal_35mm, photo.orientation, photo.image.shape) == (26.0, 6, (30, 20, 3))


@pytest.mark.parametrize("name", sound_jpegs())
def test_photos_are_as_tolerant_as_messages(tmp_path: Path, name: str) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(sound_jpegs()[name][0])
    assert read_photo(file).image.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff"])
def test_a_photo_above_the_limit_is_one_line(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / f"large{suffix}"
    file.write_bytes(coded(suffix, 100, 100))
    assert read_photo(file).image.shape == (100, 100, 3)
    monkeypatch.setattr(photos, "MAX_PIXELS", 9_999)
    with pytest.raises(ImageError, match="scale it first") as error:
        read_photo(file)
    assert "\n" not in str(error.value)


def test_pillow_is_left_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(coded(".png"))
    before = Image.MAX_IMAGE_PIXELS
    read_photo(file)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_grey_is_rounded_whatever_the_file(tmp_path: Path, suffix: str) -> None:
    deep = np.linspace(0, 65535, 600, dtype=np.uint16).reshape(20, 30)
    file = tmp_path / f"deep{suffix}"
    assert cv2.imwrite(str(file), deep)
    np.testing.assert_array_equal(read_photo(file).image[..., 1], np.rint(deep / 257))


@pytest.mark.parametrize("kind", ["EPS", "TGA", "PCX", "ICO"])
def test_other_formats_reach_no_parser(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "photo"
    Image.fromarray(picture()).save(file, kind)
    opened = []

    def opening(*arguments: object) -> None:
        opened.append(kind)
        raise SyntaxError

    Image.init()
    monkeypatch.setitem(Image.OPEN, kind, (opening, None))
    with pytest.raises(ImageError, match="it is not an image: give a JPEG"):
        read_photo(file)
    assert opened == []


@pytest.mark.parametrize(
    ("suffix", "place"), [(".tiff", "PIL.TiffImagePlugin.TiffImageFile.load"), (".png", "PIL.ImageFile.ImageFile.load")]
)
def test_a_lack_of_memory_is_no_damage(tmp_path: Path, suffix: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*arguments: object) -> None:
        raise MemoryError

    file = tmp_path / f"photo{suffix}"
    file.write_bytes(coded(suffix))
    monkeypatch.setattr(place, short)
    with pytest.raises(MemoryError):
        read_photo(file)
