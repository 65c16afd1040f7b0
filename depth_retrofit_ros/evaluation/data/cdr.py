"""Whether bytes are an image message at all: told by the lengths in them, without copying megabytes of pixels."""

from __future__ import annotations

import struct

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.bag import COMPRESSED_TYPE

_ENCAPSULATION = 4  # bytes in front of the fields, from whose end alignment counts


def require_image(data: bytes, msgtype: str) -> None:
    """Raises BagError where ``data`` is no CDR of ``msgtype`` (Image or CompressedImage): the middleware would drop it unheard."""
    try:
        fields = _Fields(data)
        fields.skip(4, 2)  # stamp
        fields.text()  # frame_id
        if msgtype == COMPRESSED_TYPE:
            fields.text()  # format
        else:
            fields.skip(4, 2)  # height, width
            fields.text()  # encoding
            fields.skip(1)  # is_bigendian
            fields.skip(4)  # step
        fields.sequence()
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        kind = msgtype.rpartition("/")[2]
        raise BagError(f"a message of {len(data)} bytes is no {kind}: it was cut off or damaged when it was recorded") from error


class _Fields:
    def __init__(self, data: bytes) -> None:
        if data[0] != 0 or data[1] > 1:
            raise IndexError("no plain CDR")
        self._data, self._position = data, _ENCAPSULATION
        self._length = struct.Struct("<I" if data[1] else ">I")

    def skip(self, size: int, count: int = 1) -> None:
        """Numbers of ``size`` bytes."""
        aligned = self._position + -(self._position - _ENCAPSULATION) % size
        self._position = aligned + size * count

    def sequence(self) -> tuple[int, int]:
        """Where the bytes of a sequence begin and end."""
        self.skip(4)
        begin = self._position
        (size,) = self._length.unpack_from(self._data, begin - 4)
        self._position = begin + int(size)
        if self._position > len(self._data):
            raise IndexError("beyond the end")
        return begin, self._position

    def text(self) -> None:
        begin, end = self.sequence()
        self._data[begin:end].decode()
