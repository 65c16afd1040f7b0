"""EXIF blocks for tests, written from the standard: TIFF header, IFD0, and the EXIF IFD behind it."""

from __future__ import annotations

import struct
from collections.abc import Mapping

ORIENTATION, EXIF_IFD = 0x0112, 0x8769
FOCAL_LENGTH, FOCAL_35MM, DIGITAL_ZOOM = 0x920A, 0xA405, 0xA404
WIDTH, HEIGHT, PLANE_RESOLUTION, PLANE_UNIT = 0xA002, 0xA003, 0xA20E, 0xA210

Value = int | tuple[int, int]
"""A SHORT or LONG, or a RATIONAL as (numerator, denominator)."""


def exif(camera: Mapping[int, Value], orientation: int | None = None, order: str = "<") -> bytes:
    """Without the "Exif" prefix; ``camera``: tags of the EXIF IFD; order: "<" little or ">" big endian."""
    picture: dict[int, Value] = {} if orientation is None else {ORIENTATION: orientation}
    size = 2 + 12 * (len(picture) + 1) + 4
    directory, _ = _directory({**picture, EXIF_IFD: 8 + size}, 8, order)
    header = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    return header + directory + b"".join(_directory(camera, 8 + size, order))


def _directory(tags: Mapping[int, Value], offset: int, order: str) -> tuple[bytes, bytes]:
    entries, values = b"", b""
    behind = offset + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        if isinstance(value, tuple):
            entries += struct.pack(order + "HHII", tag, 5, 1, behind + len(values))
            values += struct.pack(order + "II", *value)
        elif tag == EXIF_IFD or value > 0xFFFF:
            entries += struct.pack(order + "HHII", tag, 4, 1, value)
        else:
            entries += struct.pack(order + "HHIHH", tag, 3, 1, value, 0)
    return struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", 0), values
