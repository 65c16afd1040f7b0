"""Decoders' words do not reach stderr; everybody else's do."""

from __future__ import annotations

import array
import os
import subprocess
import threading

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage

from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.ros.messages.decoder_words import damage, decoder_words
from depth_retrofit_ros.ros.messages.images import compressed_to_rgb


def coded(extension: str) -> bytearray:
    noise = np.random.default_rng(3).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    ok, data = cv2.imencode(extension, cv2.resize(noise, (128, 96)))
    assert ok
    return bytearray(data.tobytes())


def message(data: bytes) -> CompressedImage:
    return CompressedImage(format="", data=array.array("B", data))


def damaged(extension: str) -> bytes:
    data = coded(extension)
    del data[-200:-100]  # lost on the way, the end mark is there
    return bytes(data)


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_damage_in_the_middle_is_one_line_of_ours_and_none_of_theirs(extension: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cv2.imdecode(np.frombuffer(damaged(".jpg"), np.uint8), cv2.IMREAD_COLOR) is not None, "OpenCV calls it a success"
    assert "Corrupt JPEG data" in capfd.readouterr().err
    with pytest.raises(ImageError, match="damaged"):
        compressed_to_rgb(message(damaged(extension)))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("bytes_more", "accepted"), [(1, True), (8, True), (500, False)])
def test_the_padding_of_webcams_is_no_damage(bytes_more: int, accepted: bool, capfd: pytest.CaptureFixture[str]) -> None:
    data = coded(".jpg")
    padded = bytes(data[:-2]) + bytes(bytes_more) + bytes(data[-2:])
    if accepted:
        np.testing.assert_array_equal(compressed_to_rgb(message(padded)), compressed_to_rgb(message(bytes(data))))
    else:
        with pytest.raises(ImageError, match="damaged"):
            compressed_to_rgb(message(padded))
    assert capfd.readouterr().err == ""


def test_what_others_say_meanwhile_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with decoder_words() as said:
        os.write(2, b"[WARN] [1.5] [node]: before\nlibpng error: IDAT: CRC error\n")
        subprocess.run(["sh", "-c", "echo of another process >&2"], check=True)
        os.write(2, b"Corrupt JPEG data: bad Huffman code\nafter\n")
    assert said == ["libpng error: IDAT: CRC error", "Corrupt JPEG data: bad Huffman code"]
    assert capfd.readouterr().err == "[WARN] [1.5] [node]: before\nof another process\nafter\n"


def test_stderr_is_restored_whatever_happens(capfd: pytest.CaptureFixture[str]) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyError), decoder_words():
        raise KeyError
    os.write(2, b"still here\n")
    assert capfd.readouterr().err == "still here\n"
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_two_threads_do_not_mix(capfd: pytest.CaptureFixture[str]) -> None:
    heard: dict[int, list[str]] = {}

    def decode(number: int) -> None:
        for _ in range(50):
            with decoder_words() as said:
                os.write(2, f"libpng error: {number}\n".encode())
            heard.setdefault(number, []).extend(said)

    threads = [threading.Thread(target=decode, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {number: [f"libpng error: {number}"] * 50 for number in range(3)}
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("line", "harmful"),
    [
        ("Corrupt JPEG data: premature end of data segment", True),
        ("Corrupt JPEG data: 3 extraneous bytes before marker 0xd9", False),
        ("Corrupt JPEG data: 3 extraneous bytes before marker 0xd2", True),
        ("libpng warning: iCCP: known incorrect sRGB profile", False),
        ("Warning: unknown JFIF revision number 2.17", False),
    ],
)
def test_which_words_mean_guessed_pixels(line: str, harmful: bool) -> None:
    assert (damage(["libpng warning: something else", line]) is not None) == harmful
