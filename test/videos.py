"""Small videos, written by the package itself or patched by hand."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from depth_retrofit_ros.io.video_writer import PartWriter, join_parts

FPS = 20.0


def scene(number: int, width: int, height: int) -> np.ndarray:
    """``uint8 [H, W, 3]`` RGB: something smooth that moves, brighter from frame to frame."""
    y, x = np.mgrid[:height, :width]
    waves = 60 + 40 * np.sin((x + 3 * number) / 9.0) + 30 * np.cos(y / 7.0)
    return np.stack([waves, waves[::-1], np.full_like(waves, 10 * number)], -1).clip(0, 255).astype(np.uint8)


def write_video(path: Path, frames: int = 8, width: int = 96, height: int = 72, times_ms: Sequence[float] | None = None) -> Path:
    """VP9, constant rate unless there are times."""
    part = path.with_suffix(".part.mp4")
    writer = PartWriter(part, (width, height), FPS)
    for number in range(frames):
        writer.write(scene(number, width, height))
    writer.finish()
    times = [1000.0 * number / FPS for number in range(frames)] if times_ms is None else times_ms
    join_parts([part], times, path, (width, height), FPS)
    part.unlink()
    return path


def packets(path: Path) -> list[bytes]:
    """The frames as they are encoded."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    found: list[bytes] = []
    while True:
        ok, data = capture.read()
        if not ok:
            return found
        found.append(data.tobytes())


def damage(path: Path, numbers: Sequence[int]) -> Path:
    """These frames are zeros from now on; the list of frames is as it was."""
    encoded, data = packets(path), path.read_bytes()
    for number in numbers:
        assert data.count(encoded[number]) == 1
        data = data.replace(encoded[number], bytes(len(encoded[number])))
    path.write_bytes(data)
    return path


def quarter_turn(path: Path) -> Path:
    """To be shown turned by 90 degrees clockwise, as telephones tell it."""
    data, one = bytearray(path.read_bytes()), 1 << 16
    upright = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    at = data.index(upright, data.index(b"tkhd"))
    data[at : at + len(upright)] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def cut_off(path: Path, keep: int) -> Path:
    """An MP4 that lists its frames first and ends after ``keep`` of them."""
    encoded, data = packets(path), path.read_bytes()
    listing = data.index(b"moov") - 4
    size = int.from_bytes(data[listing : listing + 4], "big")
    start = data.index(b"ftyp") - 4
    after = start + int.from_bytes(data[start : start + 4], "big")
    moov, rest = bytearray(data[listing : listing + size]), data[after:listing] + data[listing + size :]
    at = moov.index(b"stco") + 8
    for number in range(int.from_bytes(moov[at : at + 4], "big")):
        place = at + 4 + 4 * number
        moved = int.from_bytes(moov[place : place + 4], "big") + size
        moov[place : place + 4] = moved.to_bytes(4, "big")
    whole = data[start:after] + bytes(moov) + rest
    path.write_bytes(whole[: whole.index(encoded[keep])])
    return path
