"""zstd and lz4 as bags have them, and what is left of a stream that was cut off."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from depth_retrofit_ros.errors import BagError

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
LARGEST = 1 << 32  # bytes of one chunk or message: a small file cannot make us allocate more
_PIECE = 1 << 16  # what was decompressed before an error is lost with its piece


def expand(data: bytes, compression: str, limit: int = LARGEST) -> tuple[bytes, str | None]:
    """The decompressed bytes, at most ``limit`` of them, and why they are not all of them (None where they are).

    compression: as in MCAP: ``zstd``, ``lz4``, or empty for none. Raises BagError for another one.
    """
    if not compression:
        return data, None
    parts: list[bytes] = []
    try:
        for part in _pieces((data[at : at + _PIECE] for at in range(0, len(data), _PIECE)), compression, limit):
            parts.append(part)
    except _CutOff as error:
        return b"".join(parts), str(error)
    return b"".join(parts), None


def expand_file(source: Path, target: Path) -> str | None:
    """Write what ``source`` (zstd) holds to ``target``; returns why that is not all of it. Raises OSError."""
    with source.open("rb") as packed, target.open("wb") as unpacked:
        try:
            for part in _pieces(iter(lambda: packed.read(_PIECE), b""), "zstd", sys.maxsize - 1):
                unpacked.write(part)
        except _CutOff as error:
            return str(error)
    return None


class _CutOff(Exception):
    """The stream ends early, or is damaged; what came before is sound."""


def _pieces(packed: Iterator[bytes], compression: str, limit: int) -> Iterator[bytes]:
    decompressor, size = _decompressor(compression), 0
    for piece in packed:
        while piece:
            if decompressor.eof:  # frames may follow one another
                decompressor = _decompressor(compression)
            try:
                part = decompressor.decompress(piece, limit - size + 1)
            except Exception as error:  # each library has its own
                raise _CutOff(f"{compression} data is damaged") from error
            size += len(part)
            if size > limit:
                raise _CutOff(f"{compression} data is larger than stated")
            yield part
            piece = decompressor.unused_data if decompressor.eof else b""
    if not decompressor.eof:
        raise _CutOff(f"{compression} data ends early")


def _decompressor(compression: str) -> Any:
    """Both kinds have the interface of ``bz2.BZ2Decompressor``."""
    try:
        if compression == "lz4":
            from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

            return LZ4FrameDecompressor()
        if compression == "zstd":
            if sys.version_info >= (3, 14):
                from compression import zstd
            else:
                from backports import zstd
            return zstd.ZstdDecompressor()
    except ImportError as error:
        raise BagError(f"reading compressed bags needs more: pip install lz4 backports.zstd ({error})") from error
    raise BagError(f"compression {compression[:20]!r} is not known: recompress the bag with zstd or lz4")
