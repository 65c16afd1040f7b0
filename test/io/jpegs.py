"""JPEG files of every kind for tests: sound ones in all their legal variety, and ones that are damaged in all the ways we know."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 64
APP0, APP1, APP14, COM, DHT, EOI, SOF0, SOF2, SOS = 0xE0, 0xE1, 0xEE, 0xFE, 0xC4, 0xD9, 0xC0, 0xC2, 0xDA


def picture() -> np.ndarray:
    """``uint8 [48, 64, 3]``, smooth with some noise: no part of its entropy-coded data is empty."""
    rng = np.random.default_rng(5)
    coarse = np.asarray(cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
    return np.clip(coarse + rng.normal(0, 4, coarse.shape), 0, 255).astype(np.uint8)


def jpeg(mode: str = "RGB", **options: object) -> bytes:
    """The picture as Pillow writes it; options: of its JPEG writer."""
    file = io.BytesIO()
    Image.fromarray(picture()).convert(mode).save(file, "JPEG", **{"quality": 90, **options})
    return file.getvalue()


def split(data: bytes) -> list[bytes]:
    """A well-formed JPEG in parts: the start mark, segments with their markers, entropy-coded data, and the end mark."""
    parts, at = [data[:2]], 2
    while data[at + 1] != EOI:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        parts.append(data[at:end])
        if data[at + 1] == SOS:
            at = end
            while data[end] != 0xFF or data[end + 1] == 0 or 0xD0 <= data[end + 1] <= 0xD7:
                end += 1
            parts.append(data[at:end])
        at = end
    return [*parts, data[at:]]


def segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def before(data: bytes, marker: int, inserted: bytes) -> bytes:
    """``inserted`` before each segment of that marker."""
    return b"".join(inserted + part if part[:2] == bytes((0xFF, marker)) else part for part in split(data))


def between_all(data: bytes, inserted: bytes) -> bytes:
    """``inserted`` before each marker but the start mark; not before the end mark, where it would be padding."""
    start, *rest = split(data)
    return start + b"".join(inserted + part if part[:1] == b"\xff" and part[1] not in (0, EOI) else part for part in rest)


def junk_before_scan(data: bytes) -> list[bytes]:
    """The parts, with junk between each scan's tables and the scan; behind entropy-coded data it would be left over of damage."""
    parts = split(data)
    tables = [False, *(part[:2] == b"\xff\xc4" for part in parts)]
    return [b"junk" + part if part[:2] == b"\xff\xda" and tables[i] else part for i, part in enumerate(parts)]


def sized(data: bytes, height: int, width: int = WIDTH) -> bytes:
    """With another size in the frame header."""
    return data.replace(struct.pack(">HH", HEIGHT, WIDTH), struct.pack(">HH", height, width))


def entropy_coded(data: bytes) -> tuple[int, int]:
    """Where the last part of entropy-coded data begins and ends."""
    return len(b"".join(split(data)[:-2])), len(data) - 2


def thumbnail() -> bytes:
    """A whole JPEG, end mark and all, as cameras put it inside of EXIF."""
    ok, data = cv2.imencode(".jpg", picture()[::4, ::4])
    assert ok
    return data.tobytes()


def scans(data: bytes) -> tuple[bytes, list[bytes]]:
    """What comes before the first scan, and each scan with its tables and its data."""
    parts, found, current = split(data), [], b""
    begin = next(place for place, part in enumerate(parts) if part[:2] == bytes((0xFF, SOS)))
    while parts[begin - 1][:2] == bytes((0xFF, DHT)):
        begin -= 1
    for part in parts[begin:-1]:
        current += part
        if part[0] != 0xFF or part[1] == 0:  # the data
            found.append(current)
            current = b""
    return b"".join(parts[:begin]), found


def with_scans(data: bytes, kept: Callable[[bytes], bool]) -> bytes:
    """With those scans alone of which ``kept`` says so, given the payload of their header."""
    head, found = scans(data)
    return head + b"".join(scan for scan in found if kept(scan[scan.index(bytes((0xFF, SOS))) + 4 :])) + b"\xff\xd9"


def one_component_a_scan() -> bytes:
    """A baseline file with a scan for each of its components: what a grey file of each plane has, under one header."""
    planes = []
    for plane in Image.fromarray(picture()).convert("YCbCr").split():
        file = io.BytesIO()
        plane.save(file, "JPEG", quality=90)
        planes.append(split(file.getvalue()))
    tables = b"".join(part for part in planes[0] if part[:2] in (b"\xff\xdb", b"\xff\xc4"))
    frame = segment(SOF0, struct.pack(">BHHB", 8, HEIGHT, WIDTH, 3) + b"".join(bytes((n, 0x11, 0)) for n in (1, 2, 3)))
    data = b"".join(segment(SOS, bytes((1, n, 0, 0, 63, 0))) + plane[-2] for n, plane in enumerate(planes, start=1))
    return planes[0][0] + planes[0][1] + tables + frame + data + b"\xff\xd9"


def sound() -> dict[str, tuple[bytes, bytes]]:
    """Name → (file, the plain file whose pixels it has)."""
    plain, progressive, restarts = jpeg(), jpeg(progressive=True), jpeg(restart_marker_blocks=1)
    of_plain = {
        "fill bytes before every marker": between_all(plain, b"\xff\xff\xff"),
        "fill bytes before the end": plain[:-2] + b"\xff\xff" + plain[-2:],
        "a stray FF after the start": plain[:2] + b"\xff" + plain[2:],
        "junk after the start": plain[:2] + b"junk" + plain[2:],
        "junk between all segments": between_all(plain, b"\x00junk\xff\x00"),
        "a restart marker in the header": plain[:2] + b"\xff\xd3" + plain[2:],
        "several application segments": before(plain, SOF0, b"".join(segment(0xE0 + n, bytes(1000)) for n in range(1, 14))),
        "comments": before(plain, SOF0, segment(COM, b"\xff\xd9\xff\xd8 words") * 9),
        "a thumbnail": before(plain, APP0, segment(APP1, b"Exif\0\0II*\0" + thumbnail())),
        "EXIF of no length": before(plain, SOF0, b"\xff\xe1\x00\x00"),
        "EXIF longer than it tells": before(plain, SOF0, segment(APP1, b"Exif\0\0II*\0\x08\0\0\0")[:-1] + b"\0more of it"),
        "unknown JFIF revision": plain.replace(b"JFIF\0\x01", b"JFIF\0\x09"),
        "unknown Adobe transform": before(plain, SOF0, segment(APP14, b"Adobe\0\x64\0\0\0\0\x07")),
        "odd scan parameters": b"".join(p[:-2] + b"\x05\x11" if p[:2] == b"\xff\xda" else p for p in split(plain)),
        "no Huffman tables, as in motion JPEG": b"".join(p for p in split(jpeg()) if p[:2] != b"\xff\xc4"),
        "padding": plain[:-2] + bytes(8) + plain[-2:],
        "much padding": plain[:-2] + bytes(60) + plain[-2:],
        "zeros behind the end": plain + bytes(5000),
        "a second picture behind the end": plain + jpeg("L"),
    }
    of_progressive = {
        "progressive with fill bytes": between_all(progressive, b"\xff\xff"),
        "progressive with junk between scans": b"".join(junk_before_scan(progressive)),
        "progressive with padding": progressive[:-2] + bytes(20) + progressive[-2:],
    }
    of_themselves = {
        "plain": plain,
        "progressive": progressive,
        "restart markers": restarts,
        "a scan for each component": one_component_a_scan(),
        "grey progressive": jpeg("L", progressive=True),
        "CMYK progressive": jpeg("CMYK", progressive=True),
        "4:2:0 progressive": jpeg(progressive=True, subsampling="4:2:0"),
        "grey": jpeg("L"),
        "CMYK": jpeg("CMYK"),
        "RGB": jpeg(keep_rgb=True),
        **{f"4:{sampling}": jpeg(subsampling=f"4:{sampling}") for sampling in ("4:4", "2:2", "2:0")},
    }
    return (
        {name: (data, plain) for name, data in of_plain.items()}
        | {name: (data, progressive) for name, data in of_progressive.items()}
        | {name: (data, data) for name, data in of_themselves.items()}
    )


def damaged() -> dict[str, bytes]:
    """Name → a file whose pixels are not all there, though most decoders paint something."""
    plain, progressive, restarts = jpeg(), jpeg(progressive=True), jpeg(restart_marker_blocks=1)
    start, end = entropy_coded(plain)
    middle = (start + end) // 2
    first_restart = restarts.index(b"\xff\xd0", entropy_coded(restarts)[0])
    return {
        "nothing": b"",
        "the start mark alone": plain[:2],
        "start and end": plain[:2] + plain[-2:],
        "no end mark": plain[:-2],
        "half an end mark": plain[:-1],
        "cut in the data": plain[:middle],
        "cut in the data, with an end mark": plain[:middle] + plain[-2:],
        "cut in the header": plain[: plain.index(b"\xff\xc0") + 6],
        "cut in the scan's header": plain[: plain.index(b"\xff\xda") + 5] + plain[-2:],
        "a thumbnail's end mark and no more": before(plain, APP0, segment(APP1, b"Exif\0\0" + thumbnail()))[: -len(plain) // 2],
        "bytes lost": plain[: start + 100] + plain[start + 400 :],
        "bytes lost of a progressive one": progressive[:900] + progressive[960:],
        "a progressive one's last scans lost": progressive[: len(progressive) * 2 // 3] + progressive[-2:],
        "no scan but that of luma": with_scans(one_component_a_scan(), lambda header: header[1] == 1),
        "no scan of the last component": with_scans(one_component_a_scan(), lambda header: header[1] != 3),
        "the scan of luma twice": one_component_a_scan().replace(b"\x01\x02\x00\x00\x3f", b"\x01\x01\x00\x00\x3f"),
        "progressive, DC alone": with_scans(progressive, lambda header: header[1 + 2 * header[0]] == 0),
        "progressive, chroma by DC alone": with_scans(progressive, lambda header: header[0] == 3 or header[1] == 1),
        "progressive, without the last bits": with_scans(progressive, lambda header: header[3 + 2 * header[0]] & 15 != 0),
        "progressive, without the first half of AC": with_scans(progressive, lambda header: header[1 + 2 * header[0]] != 1),
        "a restart marker lost": restarts[:first_restart] + restarts[first_restart + 2 :],
        "a foreign marker in the data": plain[:middle] + b"\xff\x34" + plain[middle:],
        "taller than its data": sized(plain, 3 * HEIGHT),
        "wider than its data": sized(plain, HEIGHT, 2 * WIDTH),
        "lower than its data": sized(plain, HEIGHT // 2),
        "of no height, told behind the scan (DNL)": sized(plain, 0)[:-2] + segment(0xDC, struct.pack(">H", HEIGHT)) + plain[-2:],
        "arithmetic by name, Huffman by data": plain.replace(b"\xff\xc0", b"\xff\xc9"),
        "12 bit": plain.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc1\x00\x11\x0c"),
        "no quantization table": b"".join(part for part in split(plain) if part[:2] != b"\xff\xdb"),
        "no scan": b"".join(split(plain)[:-3]) + plain[-2:],
        "leading junk": b"\0" + plain,
    }
