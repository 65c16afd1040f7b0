"""RVL (A. D. Wilson, "Fast Lossless Depth Image Compression", ISS 2017): 16-bit depth without loss, at memory's pace.

A picture is runs: how many zeros, how many others, and the others as differences to the one before, folded to 0, −1, 1, −2, …
Numbers are digits of three bits, the lowest first, in nibbles whose highest bit says that another one follows; nibbles fill 32-bit
words from the top. In front stand width and height, as ``compressed_depth_image_transport`` has it.
"""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.device.kernel_cache import cached_njit

_SIZE_WORDS = 2  # width and height
_PIXELS_PER_BYTE = 5  # subscribers of the transport take a stream with more of them for damaged


def rvl_capacity(height: int, width: int) -> int:
    """Bytes that the stream of an image of this size has at most: six digits a pixel, and two run lengths."""
    return 4 * (_SIZE_WORDS + (6 * height * width) // 8 + 4)


def encode_rvl(values: np.ndarray, out: np.ndarray) -> int:
    """Write the stream of ``values``, ``uint16 [H, W]`` contiguous, into ``out``, ``uint8 [rvl_capacity(H, W)]`` at a multiple of
    four bytes, and return its length.

    Where it is shorter than a fifth of a byte for each pixel (an image that is mostly unknown) zeros are appended, which decoders
    do not come to: the transport's subscribers refuse a shorter one.
    """
    height, width = values.shape
    if values.dtype != np.uint16 or not values.flags.c_contiguous or not values.size:
        raise ValueError(f"RVL takes contiguous uint16 [H, W], not {values.dtype} {list(values.shape)}")
    if out.dtype != np.uint8 or out.size < rvl_capacity(height, width):
        raise ValueError(f"out must have {rvl_capacity(height, width)} bytes, not {out.size}")
    words = out[: 4 * (out.size // 4)].view("<u4")
    words[:_SIZE_WORDS] = width, height
    written = _SIZE_WORDS + int(_encode(values.reshape(-1), words[_SIZE_WORDS:]))
    least = -(-values.size // (4 * _PIXELS_PER_BYTE))
    words[written:least] = 0
    return 4 * max(written, least)


@cached_njit(nogil=True)
def _encode(values: np.ndarray, words: np.ndarray) -> int:
    """values: ``uint16 [n]``; words: ``uint32``; returns how many were written."""
    pending, nibbles = np.uint64(0), 0  # the lowest nibbles of `pending` are not written yet, fewer than 8 between two numbers
    at, here, previous, count = 0, 0, np.int32(0), values.size
    while here < count:
        first = here
        while here < count and values[here] == 0:
            here += 1
        end = here
        while end < count and values[end] != 0:
            end += 1
        for number in (here - first, end - here):
            rest = np.uint64(number)
            while True:
                digit = rest & np.uint64(7)
                rest >>= np.uint64(3)
                pending = (pending << np.uint64(4)) | digit | (np.uint64(8) if rest else np.uint64(0))
                nibbles += 1
                if nibbles == 8:
                    words[at] = np.uint32(pending & np.uint64(0xFFFFFFFF))
                    at += 1
                    nibbles = 0
                if not rest:
                    break
        while here < end:
            current = np.int32(values[here])
            delta = current - previous
            previous = current
            here += 1
            folded = np.uint64(np.uint32((delta << np.int32(1)) ^ (delta >> np.int32(31))))
            if folded < np.uint64(8):
                pending = (pending << np.uint64(4)) | folded
                nibbles += 1
            elif folded < np.uint64(64):
                two = ((folded & np.uint64(7)) << np.uint64(4)) | (folded >> np.uint64(3)) | np.uint64(128)
                pending = (pending << np.uint64(8)) | two
                nibbles += 2
            else:
                while folded:  # at most six digits
                    digit = folded & np.uint64(7)
                    folded >>= np.uint64(3)
                    pending = (pending << np.uint64(4)) | digit | (np.uint64(8) if folded else np.uint64(0))
                    nibbles += 1
            if nibbles >= 8:
                nibbles -= 8
                words[at] = np.uint32((pending >> np.uint64(4 * nibbles)) & np.uint64(0xFFFFFFFF))
                at += 1
    if nibbles:
        words[at] = np.uint32((pending << np.uint64(4 * (8 - nibbles))) & np.uint64(0xFFFFFFFF))
        at += 1
    return at


def compile_rvl() -> None:
    """Compile ``encode_rvl`` now instead of with the first image."""
    encode_rvl(np.ones((2, 2), np.uint16), np.empty(rvl_capacity(2, 2), np.uint8))
