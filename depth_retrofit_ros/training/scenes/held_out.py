"""Which models and textures only validation may use: one rule for every world and for the frames of other renderers."""

from __future__ import annotations

import zlib

ONE_IN = 8


def held_out(name: str) -> bool:
    """Whether the model or texture of this name (of a file, without folder and suffix) is validation's: everywhere and for ever."""
    return zlib.crc32(name.encode()) % ONE_IN == 0
