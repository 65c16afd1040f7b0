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
from test.io.jpegs import HEIGHT, WIDTH, before, damaged, entropy_coded, jpeg, picture, scans, segment, sound, with_scans

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
    _, end = entropy_coded(whole)
    for cut in range(0, end, 7):
        with pytest.raises(ImageError):
            decoded(whole[:cut])
        with pytest.raises(ImageError):  # as from drivers that end each frame whatever came
            decoded(whole[:cut] + b"\xff\xd9")


def test_of_a_progressive_file_no_scan_can_be_spared() -> None:
    whole = jpeg(progressive=True)
    assert with_scans(whole, lambda header: True) == whole
    head, found = scans(whole)
    assert len(found) > 5
    for left_out in range(len(found)):
        with pytest.raises(ImageError, match="damaged"):
            decoded(head + b"".join(found[:left_out] + found[left_out + 1 :]) + b"\xff\xd9")


@pytest.mark.parametrize("factors", [b"\x42", b"\x13"], ids=["4:1:0", "1x3"])
def test_a_sampling_that_is_not_supported_is_told_with_those_that_are(factors: bytes) -> None:
    """Those of luma in the header, which are judged before any data."""
    data = jpeg(subsampling="4:2:0").replace(b"\x03\x01\x22", b"\x03\x01" + factors)
    with pytest.raises(ImageError, match=r"use 8 bit, grey or 4:4:4, 4:2:2, 4:4:0, 4:2:0 or 4:1:1$"):
        decoded(data)


@pytest.mark.parametrize("sampling", [cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440])
def test_the_other_samplings_that_are_told_are_supported(sampling: int) -> None:
    data = cv2.imencode(".jpg", picture(), [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling])[1].tobytes()
    reference = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert reference is not None
    np.testing.assert_array_equal(decoded(data), reference[..., ::-1])


def test_a_lack_of_memory_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*arguments: object, **options: object) -> None:
        raise ValueError("Insufficient memory (case 4)")

    monkeypatch.setattr("simplejpeg.decode_jpeg", short)
    with pytest.raises(MemoryError):
        decoded(jpeg())


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
