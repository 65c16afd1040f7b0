"""Moving pictures for people: an MP4 for a page, and an animated WebP for where no video plays, such as a README."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from depth_retrofit_ros.io.depth_files import writing

WEBP_MAX_MB = 3.0
QUALITIES = (70, 60, 50, 40, 30, 20)  # of a WebP, tried in turn until it is small enough
_EFFORT = 2  # 0 to 6, of the encoder: what more would save is a few percent


def write_mp4(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Frames ``uint8 [H, W, 3]`` RGB of one even size. Raises SetupError where this OpenCV cannot write it, OutputError."""
    from depth_retrofit_ros.io.video_writer import PartWriter, require_codec

    require_codec(path.parent)
    writer: PartWriter | None = None
    try:
        for frame in frames:
            if writer is None:
                writer = PartWriter(path, (frame.shape[1], frame.shape[0]), fps)
            writer.write(frame)
    except BaseException:
        if writer is not None:
            writer.abandon()
        path.unlink(missing_ok=True)
        raise
    if writer is None:
        raise ValueError("a video of no frames")
    writer.finish()


def write_webp(path: Path, frames: Iterable[np.ndarray], fps: float, largest_mb: float = WEBP_MAX_MB) -> int:
    """Such frames, repeated forever, in the best of ``QUALITIES`` that takes no more than ``largest_mb``, else in the last
    one; returns which. Raises OutputError."""
    pictures = [Image.fromarray(frame) for frame in frames]
    for quality in QUALITIES:
        data = io.BytesIO()
        options = {"duration": round(1000 / fps), "loop": 0, "quality": quality, "method": _EFFORT}
        pictures[0].save(data, "WEBP", save_all=True, append_images=pictures[1:], **options)
        if data.tell() <= 1e6 * largest_mb:
            break
    with writing(path):
        path.write_bytes(data.getvalue())
    return quality
