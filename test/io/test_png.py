"""Strict PNG decoding: each file is whole, or refused in one line, and nothing is written to stderr."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.io.encodings import TABLE
from depth_retrofit_ros.io.png import SIGNATURE, decode_png
from test.io.jpegs import HEIGHT, WIDTH, picture

ROWS = b"".join(b"\0" + row.tobytes() for row in picture())
STREAM = zlib.compress(ROWS)


def chunk(kind: bytes, payload: bytes, wrong: int = 0) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload) ^ wrong)


def png(stream: bytes = STREAM, extra: bytes = b"", end: bytes = chunk(b"IEND", b""), color: int = 2, wrong: int = 0) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, color, 0, 0, 0))
    return SIGNATURE + header + extra + chunk(b"IDAT", stream, wrong) + end


def any_size(height: int, width: int) -> None:
    """Accepts every size."""


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


TALLER = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, 2 * HEIGHT, 8, 2, 0, 0, 0))
SOUND = {
    "plain": png(),
    "behind the end": png() + bytes(100),
    "a color profile that is none": png(extra=chunk(b"iCCP", b"x\0\0" + zlib.compress(b"rubbish"))),
    "text whose check sum is wrong": png(extra=chunk(b"tEXt", b"a\0b", wrong=1)),
    "text that expands to a gigabyte": png(extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000), 9))),
    "animation": png(extra=chunk(b"acTL", struct.pack(">II", 5, 0)) + chunk(b"fcTL", bytes(26))),
    "more data than pixels": png(zlib.compress(ROWS + bytes(500))),
}
DAMAGED = {
    "empty": b"",
    "signature alone": SIGNATURE,
    "no header": SIGNATURE + chunk(b"IDAT", STREAM),
    "no end": png(end=b""),
    "cut": png()[: len(png()) // 2],
    "wrong check sum": png(wrong=1),
    "no data": png(b""),
    "rows missing, all check sums right": png(zlib.compress(ROWS[: len(ROWS) // 2])),
    "stream cut, all check sums right": png(STREAM[: len(STREAM) // 2]),
    "no stream": png(b"rubbish that is no zlib stream"),
    "a filter that does not exist": png(zlib.compress(b"\x09" + ROWS[1:])),
    "a kind of color that does not exist": png(color=5),
    "two headers": png(extra=chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0))),
    "two headers, of which one is not checked": png(zlib.compress(2 * ROWS), extra=TALLER),
    "an unknown critical chunk": png(extra=chunk(b"CgBI", b"\0\0\0\0")),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_is_whole_is_accepted(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    pixels = decode_png(SOUND[name], any_size)
    np.testing.assert_array_equal(pixels, picture())
    assert pixels.flags.c_contiguous and pixels.flags.writeable
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_not_is_refused_in_one_line(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImageError, match="damaged") as error:
        decode_png(DAMAGED[name], any_size)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_the_size_is_judged_first() -> None:
    def refuse(height: int, width: int) -> None:
        raise ImageError(f"{width}x{height}")

    with pytest.raises(ImageError, match="64x48"):
        decode_png(png(), refuse)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("rows", [1, HEIGHT // 2, HEIGHT - 1, HEIGHT])
def test_a_black_picture_is_whole_only_with_all_its_rows(rows: int, interlaced: bool) -> None:
    """In a black picture nothing can be seen of rows that are missing."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, int(interlaced))
    passes = [(-(-(HEIGHT - y) // v), -(-(WIDTH - x) // h)) for x, y, h, v in ADAM7] if interlaced else [(HEIGHT, WIDTH)]
    stream = b"".join(bytes(n * (1 + 3 * columns)) for n, columns in passes)
    stream = stream[: len(stream) * rows // HEIGHT]
    data = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(stream)) + chunk(b"IEND", b"")
    if rows == HEIGHT:
        assert not decode_png(data, any_size).any()
    else:
        with pytest.raises(ImageError, match="damaged"):
            decode_png(data, any_size)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_every_color_type_has_the_pixels_that_opencv_gives(mode: str) -> None:
    file = io.BytesIO()
    Image.fromarray(picture()).convert(mode).save(file, "PNG")
    data = file.getvalue()
    reference = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert reference is not None
    np.testing.assert_array_equal(decode_png(data, any_size), reference[..., ::-1])


def test_transparency_in_a_palette_is_left_out_without_a_word() -> None:
    file = io.BytesIO()
    image = Image.fromarray(picture()).quantize(16)
    image.save(file, "PNG", transparency=bytes(range(0, 256, 16)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(decode_png(file.getvalue(), any_size), np.asarray(image.convert("RGB")))


def deep_png(channels: int) -> tuple[np.ndarray, bytes]:
    """``uint16 [H, W, channels]`` and a PNG of it."""
    deep = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, channels), dtype=np.uint16)
    return deep, cv2.imencode(".png", deep[..., ::-1])[1].tobytes()


def test_16_bit_colors_keep_their_high_byte() -> None:
    deep, data = deep_png(3)
    np.testing.assert_array_equal(decode_png(data, any_size), deep >> 8)


def test_16_bit_grey_is_rounded_as_that_of_a_raw_image() -> None:
    deep, data = deep_png(1)
    convert = TABLE["mono16"].to_rgb
    assert convert is not None
    np.testing.assert_array_equal(decode_png(data, any_size), convert(deep[..., 0]))
    np.testing.assert_array_equal(decode_png(data, any_size)[..., :1], np.rint(deep / 257))
    np.testing.assert_array_equal(decode_png(data, any_size, gray=True), deep[..., 0])
