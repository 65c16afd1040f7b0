"""A long bag in parts that may be answered apart from each other, by several workers."""

from __future__ import annotations

import struct
import zlib
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from depth_retrofit_ros.evaluation.data.bag import BagMessage
from depth_retrofit_ros.ros.node.camera_infos import REMEMBERED

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class BagPart:
    """Some of a bag's images in a row.

    first: the number (see ``Source``) of its first image; count: how many. since_ns: time of recording from which the bag is read
    for it; skipped: images from there on that are passed over; warm: images between these and the first that are answered for what
    is remembered of them alone. packed_infos: camera_info (CDR) that came before, as many as the node remembers, compressed.
    """

    first: int
    count: int
    since_ns: int
    skipped: int
    warm: int
    packed_infos: bytes

    def infos(self) -> Iterator[bytes]:
        """In the order in which they came."""
        raw, at = zlib.decompress(self.packed_infos), 0
        while at < len(raw):
            (length,) = _LENGTH.unpack_from(raw, at)
            at += _LENGTH.size + length
            yield raw[at - length : at]


def divided(messages: Iterable[tuple[BagMessage, bool]], seconds: float, warm: int) -> list[BagPart]:
    """messages: each image, and each camera_info that can be read, of a bag in the order of recording, and whether it is an image.

    A part ends before the first image that was recorded ``seconds`` after its own first one. warm: see ``BagPart``.
    """
    parts: list[BagPart] = []
    infos: OrderedDict[int, bytes] = OrderedDict()
    recent: deque[tuple[int, int]] = deque(maxlen=warm + 1)  # time, and number of the first image of that time
    number, same_from, begun_ns = -1, 0, 0
    for message, is_image in messages:
        if not is_image:
            infos.pop(message.stamp_ns, None)
            infos[message.stamp_ns] = message.data
            if len(infos) > REMEMBERED:
                infos.popitem(last=False)
            continue
        number += 1
        if not recent or message.time_ns != recent[-1][0]:
            same_from = number
        recent.append((message.time_ns, same_from))
        if not parts or message.time_ns - begun_ns >= 1e9 * seconds:
            begun_ns = message.time_ns
            since_ns, read_from = recent[0]
            kept = len(recent) - 1
            parts.append(BagPart(number, 0, since_ns, number - kept - read_from, kept, _packed(infos.values())))
    ends = [*(part.first for part in parts[1:]), number + 1]
    return [replace(part, count=end - part.first) for part, end in zip(parts, ends, strict=True)] if parts else []


def _packed(infos: Iterable[bytes]) -> bytes:
    return zlib.compress(b"".join(_LENGTH.pack(len(data)) + data for data in infos))
