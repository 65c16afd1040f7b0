"""JPEG → pixels, strictly: a picture that was decoded whole, or ImageError; never one whose missing parts were painted grey.

libjpeg-turbo (through simplejpeg) reports what it had to guess as warnings, and simplejpeg raises the first of them. Two kinds of
warnings say nothing about the pixels: junk in the header, which is taken out before decoding, and padding before the end mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import simplejpeg

from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.io.decoding import CheckSize, damaged

SOI = b"\xff\xd8"

ENTROPY_CODED = -1
_APP0, _APP1, _APP14, _COM = 0xE0, 0xE1, 0xEE, 0xFE
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = 0xD8, 0xD9, 0xDA
_BARE_MARKERS = frozenset((0x01, *range(0xD0, 0xD8)))  # TEM and RST0…RST7 have no payload
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0…SOF15 without DHT, JPG and DAC
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1, 0xC9), (0xC2, 0xCA)
_MARKER_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # what ends entropy-coded data: neither a stuffed FF nor a restart
_JUNK = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_UNSUPPORTED = re.compile(r"data precision|color conversion|ould not determine subsampling|JPEG process")
_SAMPLINGS = "4:4:4, 4:2:2, 4:4:0, 4:2:0 or 4:1:1"  # of libjpeg-turbo's interface; OpenCV takes others, and paints what is lost
_OUT_OF_MEMORY = re.compile(r"[Ii]nsufficient memory|[Mm]emory allocation failure")
_MOST_PADDING = 64  # bytes that some webcams put before the end mark; what is left over of damaged data is more
_MOST_MARKERS = 65_536  # of one file: one of nothing but markers is no picture


class Segment(NamedTuple):
    """marker: its second byte, or ``ENTROPY_CODED`` for what follows a start of scan and has none; payload: without the length;
    junk: bytes before it that belong to nothing, fill bytes (FF) not counted."""

    marker: int
    payload: bytes
    junk: int = 0


def segments(data: bytes) -> Iterator[Segment]:
    """The segments of a JPEG after its start mark, until its end mark or the end of the data.

    They are found as decoders find them (ITU T.81 B.1.1): fill bytes are legal, and bytes that begin no marker are passed over.
    """
    at = end = len(SOI)
    for _ in range(_MOST_MARKERS):
        at = data.find(b"\xff", at)
        if at < 0:
            return
        found = at
        while data[at : at + 1] == b"\xff":
            at += 1
        if at >= len(data):
            return
        marker, at = data[at], at + 1
        if marker == 0x00 or marker in _BARE_MARKERS:
            continue
        if marker in (_START_OF_IMAGE, _END_OF_IMAGE):
            yield Segment(marker, b"", found - end)
            return
        junk, start = found - end, at + 2
        at = end = max(start, at + int.from_bytes(data[at:start], "big"))
        if end > len(data):
            return
        yield Segment(marker, data[start:end], junk)
        if marker == _START_OF_SCAN:  # searched only when asked for: it is most of the file
            after = _MARKER_AFTER_SCAN.search(data, end)
            at = len(data) if after is None else after.start()
            yield Segment(ENTROPY_CODED, data[end:at])
            end = at


def exif_block(data: bytes) -> bytes:
    """The TIFF structure of a JPEG's EXIF, joined where it spans several segments; empty where there is none."""
    blocks = []
    for segment in segments(data):
        if segment.marker == _START_OF_SCAN:
            break
        if segment.marker == _APP1 and segment.payload.startswith(b"Exif\0\0"):
            blocks.append(segment.payload[6:])
    return b"".join(blocks)


def decode_jpeg(data: bytes, check_size: CheckSize, gray: bool = False) -> np.ndarray:
    """``uint8 [H, W, 3]`` RGB, or ``uint8 [H, W]`` with ``gray``; as stored, whatever EXIF says about up.

    Nothing of the picture's size is allocated before ``check_size`` has accepted the size in the header. Raises ImageError.
    """
    height, width, is_clean = _read_header(data, check_size)
    if not _has_all_scans(data):
        raise damaged("scans are missing")
    pixels = np.empty((height, width, 1 if gray else 3), np.uint8)
    reason = _decode_into(pixels, data if is_clean else _cleaned(data), gray)
    if reason is not None and is_clean and _is_between_scans(reason):
        reason = _decode_into(pixels, _cleaned(data), gray)
    if reason is not None and _OUT_OF_MEMORY.search(reason):
        raise MemoryError(reason)
    if reason is not None and _UNSUPPORTED.search(reason):
        raise ImageError(f"its kind of JPEG is not supported, or damaged ({reason[:120]}): use 8 bit, grey or {_SAMPLINGS}")
    if reason is not None:
        raise damaged(reason)
    return pixels[..., 0] if gray else pixels


def _decode_into(pixels: np.ndarray, data: bytes, gray: bool) -> str | None:
    """Fills ``pixels``; why they are not whole, or None."""
    try:
        simplejpeg.decode_jpeg(data, "GRAY" if gray else "RGB", buffer=pixels, strict=True)
    except ValueError as error:
        reason = " ".join(str(error).split())
        junk = _JUNK.search(reason)
        # The first warning is the one that is raised: everything before the end mark was decoded without any.
        if junk and int(junk[2], 16) == _END_OF_IMAGE and int(junk[1]) <= _MOST_PADDING:
            return None
        return reason
    return None


def _is_between_scans(reason: str) -> bool:
    """Whether a warning is of bytes that may be junk between two scans of a progressive JPEG, or left over of damaged data."""
    junk = _JUNK.search(reason)
    return junk is not None and int(junk[2], 16) != _END_OF_IMAGE


def _read_header(data: bytes, check_size: CheckSize) -> tuple[int, int, bool]:
    """(height, width, whether the decoder will find nothing to warn of before the first scan). Raises ImageError."""
    size, frame, is_clean, has_scan = None, 0, True, False
    for segment in segments(data) if data.startswith(SOI) else ():
        is_clean = is_clean and segment.junk == 0 and _repaired(segment, frame) == segment.payload
        if segment.marker in _FRAME_HEADERS and size is None and len(segment.payload) >= 5:
            frame = segment.marker
            size = int.from_bytes(segment.payload[1:3], "big"), int.from_bytes(segment.payload[3:5], "big")
            check_size(*size)
        has_scan = segment.marker == _START_OF_SCAN
        if has_scan:
            break
    if size is None or not has_scan:
        raise damaged("a JPEG without frame header or scan")
    return (*size, is_clean)


def _has_all_scans(data: bytes) -> bool:
    """Whether every coefficient of every component is sent, to its last bit; decoders take those that are not for zeros.

    The standard lets a progressive file leave AC coefficients away, but no encoder does: one without them was cut between scans.
    """
    frame, missing = 0, {}
    for segment in segments(data):
        payload = segment.payload
        if segment.marker in _FRAME_HEADERS and not frame:
            frame = segment.marker
            if frame not in _SEQUENTIAL + _PROGRESSIVE or len(payload) < 6 or len(payload) != 6 + 3 * payload[5]:
                return True  # for the decoder to refuse
            missing = {component: bytearray(b"\xff" * 64) for component in payload[6::3]}  # bits of each coefficient
        elif segment.marker == _START_OF_SCAN and len(payload) >= 4 and len(payload) == 4 + 2 * payload[0]:
            first, last, bits = (0, 63, 0) if frame in _SEQUENTIAL else (payload[-3], min(payload[-2], 63), payload[-1] & 15)
            for component in missing.keys() & set(payload[1:-3:2]):
                missing[component][first : last + 1] = bytes([bits]) * (last + 1 - first)
            if not any(any(coefficients) for coefficients in missing.values()):
                return True  # before the search for the end of the scan, which most files are spared
    return False


def _cleaned(data: bytes) -> bytes:
    """The same pixels without what decoders only warn of. Behind the first scan nothing but junk between segments is taken out."""
    parts, frame, in_scans = [SOI], 0, False
    for segment in segments(data):
        marker, payload = segment.marker, _repaired(segment, frame)
        if marker in _FRAME_HEADERS:
            frame = marker
        in_scans = in_scans or marker == _START_OF_SCAN
        if marker == _END_OF_IMAGE:
            parts.append(b"\xff\xd9")
        elif marker == ENTROPY_CODED:
            parts.append(payload)
        elif in_scans or marker in (_APP0, _APP14) or not (_APP0 <= marker <= 0xEF or marker == _COM):
            parts += (bytes((0xFF, marker)), (len(payload) + 2).to_bytes(2, "big"), payload)
    return b"".join(parts)


def _repaired(segment: Segment, frame: int) -> bytes:
    """The payload with those values that decoders warn of and then replace by the only ones that make sense."""
    payload = segment.payload
    if segment.marker == _APP0 and payload.startswith(b"JFIF\0") and payload[5:6] != b"\x01":
        return payload[:5] + b"\x01" + payload[6:]  # major version
    if segment.marker == _APP14 and payload.startswith(b"Adobe") and len(payload) >= 12 and payload[11] > 2:
        return payload[:11] + b"\x01" + payload[12:]  # color transform
    if segment.marker == _START_OF_SCAN and frame in _SEQUENTIAL and len(payload) >= 3:
        return payload[:-3] + b"\x00\x3f\x00"  # spectral selection and approximation: all of it
    return payload
