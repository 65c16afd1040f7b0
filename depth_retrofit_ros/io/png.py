"""PNG → pixels, strictly: every chunk that carries pixels must be whole and have its right check sum, and the end must be there.

Pillow decodes; unlike libpng it raises what is wrong and writes nothing to stderr. It is given the chunks of the picture alone, so
that text, color profiles and animation frames can neither fail nor expand to gigabytes.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL.Image import Exif, Image
from PIL.PngImagePlugin import PngImageFile

from depth_retrofit_ros.io.decoding import CheckSize, damaged
from depth_retrofit_ros.io.encodings import to_8_bit

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PICTURE = (b"IHDR", b"PLTE", b"IDAT", b"IEND")  # without tRNS: alpha is left out, and Pillow warns of that in a palette
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by color type
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # first x, y; steps
_INFLATED_AT_ONCE = 1 << 20
_TEXT = (b"tEXt", b"zTXt", b"iTXt")


class Chunk(NamedTuple):
    """kind: four letters; data: length, kind, payload and check sum, a view of the file."""

    kind: bytes
    data: memoryview

    @property
    def payload(self) -> memoryview:
        """What is inside."""
        return self.data[8:-4]

    def is_whole(self) -> bool:
        """Whether the check sum is right."""
        return zlib.crc32(self.data[4:-4]) == int.from_bytes(self.data[-4:], "big")


def decode_png(data: bytes, check_size: CheckSize, gray: bool = False) -> np.ndarray:
    """``uint8 [H, W, 3]`` RGB without alpha, or with ``gray`` ``[H, W]``, ``uint16`` where the file is 16 bit grey.

    16 bit grey becomes RGB by ``to_8_bit``; of 16 bit colors Pillow keeps the high byte. Nothing of the picture's size is
    allocated before ``check_size`` has accepted the size in the header. Raises ImageError.
    """
    header = next(_chunks(data))
    width, height = struct.unpack_from(">II", header.payload)
    check_size(height, width)
    picture = _picture(data)
    try:
        with PngImageFile(io.BytesIO(picture)) as image:
            if image.size != (width, height):  # what is allocated is what was checked
                raise damaged("its size is not that of its header")
            image.decodermaxblock = len(picture)
            image.load()
            # Pillow leaves rows that are missing at zero, and says nothing where the compressed stream ends properly before them.
            is_whole = image.crop((0, height - 1, width, height)).tobytes().strip(b"\0") and not image.info.get("interlace")
            if not is_whole and not _has_all_rows(picture):
                raise damaged("rows are missing")
            if image.mode in ("I", "I;16"):
                deep = np.array(image).astype(np.uint16, copy=False)
                return deep if gray else np.repeat(to_8_bit(deep)[..., None], 3, axis=2)
            mode = "L" if gray else "RGB"
            return np.array(image if image.mode == mode else image.convert(mode))
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        raise damaged(error) from error


def _has_all_rows(picture: bytes) -> bool:
    """Whether the compressed stream holds as many bytes as the header tells. Takes as long as decoding does."""
    width, height, bits, color, _, _, interlaced = struct.unpack_from(">IIBBBBB", picture, len(SIGNATURE) + 8)
    pixel_bits = bits * _CHANNELS[color]
    missing = 0
    for x, y, step_x, step_y in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - x) // step_x), -(-(height - y) // step_y)
        missing += rows * (1 + -(-columns * pixel_bits // 8)) if columns > 0 and rows > 0 else 0
    inflate = zlib.decompressobj()
    for chunk in _chunks(picture):
        rest = bytes(chunk.payload) if chunk.kind == b"IDAT" else b""
        while rest and missing > 0 and not inflate.eof:
            missing -= len(inflate.decompress(rest, _INFLATED_AT_ONCE))
            rest = inflate.unconsumed_tail
    return missing <= 0


def exif_tags(data: bytes) -> Exif:
    """Pillow's tags of the EXIF chunk, or of the text chunk in which older programs put it. May raise whatever Pillow does."""
    kept = [chunk.data for chunk in _chunks(data) if chunk.kind == b"IHDR" or _is_exif(chunk)]
    with PngImageFile(io.BytesIO(b"".join((SIGNATURE, *kept, _chunk(b"IDAT", b""), _chunk(b"IEND", b""))))) as image:
        return Image.getexif(image)  # not its own method, which would decode pixels to look behind them


def _is_exif(chunk: Chunk) -> bool:
    is_named = chunk.kind == b"eXIf" or (chunk.kind in _TEXT and bytes(chunk.payload[:22]) == b"Raw profile type exif\0")
    return is_named and chunk.is_whole()


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return b"".join((struct.pack(">I4s", len(payload), kind), payload, struct.pack(">I", zlib.crc32(payload, zlib.crc32(kind)))))


def _picture(data: bytes) -> bytes:
    """The file without its ancillary chunks. Raises ImageError where one of the others is missing, cut, doubled or
    has a wrong check sum."""
    parts: list[bytes | memoryview] = [SIGNATURE]
    stream: list[memoryview] = []
    for chunk in _chunks(data):
        if chunk.kind in _PICTURE:
            if not chunk.is_whole():
                raise damaged(f"the check sum of a chunk {chunk.kind.decode('ascii')} is wrong")
            if chunk.kind == b"IHDR" and len(parts) > 1:  # decoders take the last one, whose size nobody has checked
                raise damaged("a PNG with two headers")
            if chunk.kind == b"IDAT":
                stream.append(chunk.payload)
                continue
            if chunk.kind == b"IEND":  # the stream as one chunk: its many small ones take longer
                parts.append(_chunk(b"IDAT", b"".join(stream)))
            parts.append(chunk.data)
        elif not chunk.kind[0] & 0x20:  # an upper-case first letter: nothing can be decoded without knowing it
            raise damaged("an unknown critical chunk")
    return b"".join(parts)


def _chunks(data: bytes) -> Iterator[Chunk]:
    """From the header to the end. Raises ImageError where either is missing."""
    at, kind, view = len(SIGNATURE), b"", memoryview(data)
    while kind != b"IEND":
        if at + 12 > len(data):
            raise damaged("a PNG without its end")
        length, kind = struct.unpack_from(">I4s", data, at)
        if at == len(SIGNATURE) and (length, kind) != (13, b"IHDR"):
            raise damaged("a PNG without its header")
        end = at + 12 + length
        if end > len(data):
            raise damaged("a PNG without its end")
        yield Chunk(kind, view[at:end])
        at = end
