"""What the strict decoders of JPEG and PNG share."""

from __future__ import annotations

from collections.abc import Callable

from depth_retrofit_ros.errors import ImageError

CheckSize = Callable[[int, int], None]
"""Raises ImageError for a (height, width) that must not be allocated."""


def damaged(reason: object) -> ImageError:
    """The error for data that do not hold the whole picture, as one line that follows "... cannot be decoded: "."""
    return ImageError(f"it is damaged ({' '.join(str(reason).split())[:120]}): send or copy it again")
