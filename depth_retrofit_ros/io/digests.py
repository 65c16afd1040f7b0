"""What a file's bytes are told by."""

from __future__ import annotations

import hashlib
from pathlib import Path

from depth_retrofit_ros.errors import WeightsError


def digest_of(checkpoint: Path) -> str:
    """SHA-256 of a checkpoint, hex, read a block at a time. Raises WeightsError."""
    digest = hashlib.sha256()
    try:
        with checkpoint.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise unreadable(checkpoint, error) from None
    return digest.hexdigest()


def unreadable(checkpoint: Path, error: OSError) -> WeightsError:
    """What to say of a file that cannot be read."""
    return WeightsError(f"cannot read checkpoint {checkpoint} ({error.strerror}): check the path")
