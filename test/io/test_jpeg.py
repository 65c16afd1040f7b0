"""Strict JPEG decoding: all that is legal is accepted, all that would be guessed is refused, and nobody's stderr is touched."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.io.jpeg import decode_jpeg, exif_block
from test.io.jpegs import HEIGHT, WIDTH, before, damaged, entropy_coded, jpeg, segment, sound

SOUND, DAMAGED = sound(), damaged()


def any_size(height: int, width: int) -> None:
    """Accepts every size."""


def decoded(data: bytes) -> np.ndarray:
    return decode_jpeg(data, any_size)


@pytest.mark.parametrize("name", SOUND)
def test_what_is_legal_or_beside_the_pixels_is_accepted(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    data, plain = SOUND[name]
    pixels = decoded(data)
    assert pixels.shape == (HEIGHT, WIDTH, 3) and pixels.dtype == np.uint8 and pixels.flags.c_contiguous and pixels.flags.writeable
    reference = cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert reference is not None
    np.testing.assert_array_equal(pixels, reference[..., ::-1])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", DAMAGED)
def test_what_would_be_guessed_is_refused_in_one_line(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImageError) as error:
        decode_jpeg(DAMAGED[name], any_nonempty_size)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
    assert capfd.readouterr() == ("", "")


def any_nonempty_size(height: int, width: int) -> None:
    if height == 0 or width == 0:
        raise ImageError("it is empty")


@pytest.mark.parametrize("progressive", [False, True])
def test_every_truncation_is_refused(progressive: bool) -> None:
    whole = jpeg(progressive=progressive)
    start, end = entropy_coded(whole)  # of the last scan: one that ends with an earlier scan is coarse, but whole
    for cut in range(0, end, 7):
        with pytest.raises(ImageError):
            decoded(whole[:cut])
        if cut < 300 or start < cut:
            with pytest.raises(ImageError):  # as from drivers that end each frame whatever came
                decoded(whole[:cut] + b"\xff\xd9")


def test_a_flipped_bit_gives_other_pixels_or_one_line() -> None:
    """Not every flip can be told: a code may become another that is as long. What is told must not be so by chance alone."""
    whole = jpeg(restart_marker_blocks=2)
    start, end = entropy_coded(whole)
    refused = 0
    for at in range(start, end, 5):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << (at % 8)
        try:
            assert decoded(bytes(flipped)).shape == (HEIGHT, WIDTH, 3)
        except ImageError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 0


def test_grey_is_the_luma_and_grey_of_a_grey_file_its_samples() -> None:
    gray = decode_jpeg(jpeg("L"), any_size, gray=True)
    assert gray.shape == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(decoded(jpeg("L")), np.repeat(gray[..., None], 3, axis=2))
    luma = cv2.imdecode(np.frombuffer(jpeg(), np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(decode_jpeg(jpeg(), any_size, gray=True), luma)


def test_the_size_is_judged_before_anything_of_it_is_allocated() -> None:
    asked = []

    def refuse(height: int, width: int) -> None:
        asked.append((height, width))
        raise ImageError("too large")

    with pytest.raises(ImageError, match="too large"):
        decode_jpeg(jpeg(progressive=True).replace(b"\x00\x30\x00\x40", b"\xff\xff\xff\xff"), refuse)
    assert asked == [(65535, 65535)]


def test_markers_without_end_end() -> None:
    with pytest.raises(ImageError, match="damaged"):
        decoded(b"\xff\xd8" + b"\xff\xd0" * 1_000_000)
    with pytest.raises(ImageError, match="damaged"):
        decoded(b"\xff\xd8" + b"\xff" * 2_000_000)


def test_exif_is_found_behind_other_segments_and_joined() -> None:
    data = before(jpeg(), 0xC0, segment(0xE1, b"Exif\0\0second"))
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
    data = data[:2] + xmp + b"\xff\xff" + segment(0xE1, b"Exif\0\0first,") + data[2:]
    assert exif_block(data) == b"first,second"
    assert exif_block(jpeg()) == b"" and exif_block(b"\xff\xd8") == b""


def test_a_child_that_is_started_while_frames_are_decoded_can_speak(capfd: pytest.CaptureFixture[str]) -> None:
    """File descriptor 2 belongs to the process and whatever it starts: the decoder must leave it alone."""
    stop, rounds, bad = threading.Event(), threading.Semaphore(0), DAMAGED["bytes lost"]

    def decode() -> None:
        while not stop.is_set():
            try:
                decoded(bad)
            except ImageError:
                pass
            finally:
                rounds.release()

    inode, identities = os.fstat(2).st_ino, set()
    thread = threading.Thread(target=decode)
    thread.start()
    try:
        for _ in range(200):
            rounds.acquire()
            identities.add(os.fstat(2).st_ino)
        subprocess.run([sys.executable, "-S", "-c", "import os; os.write(2, b'a child speaks')"], check=True)
    finally:
        stop.set()
        thread.join()
    assert identities == {inode}
    assert capfd.readouterr().err == "a child speaks"
