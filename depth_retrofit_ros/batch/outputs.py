"""The files of one answer: depth, and confidence and normals where they were asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from depth_retrofit_ros.batch.place import Place, Written
from depth_retrofit_ros.batch.settings import BatchSettings
from depth_retrofit_ros.batch.tasks import Row
from depth_retrofit_ros.confidence.estimate import confidence_of, to_8bit
from depth_retrofit_ros.frame import DepthFrame
from depth_retrofit_ros.io.depth_files import write_depth_npz, write_depth_png, write_image, writing
from depth_retrofit_ros.pointcloud.normals import surface_normals

FOLDER = "depth"


class Outputs:
    """Writes into a place; files: what was written so far. Raises OutputError."""

    def __init__(self, place: Place, settings: BatchSettings) -> None:
        self.files: list[Written] = []
        self._place, self._settings = place, settings

    def write(self, name: str, depth: np.ndarray, result: DepthFrame, row: Row) -> None:
        """depth: ``float32 [H, W]``, the answer's; name: of the results, without endings; row: takes what is to be told of them."""
        kind = "depth" if result.metric else "relative"
        if self._settings.depth == "png":
            file = self._staged(f"{kind}.png")
            png = write_depth_png(file, depth, result.metric)
            row |= {"file": f"{FOLDER}/{name}_{kind}.png", "png_unit": png.unit, "png_beyond": png.beyond}
            self._publish(file, row["file"])
        elif self._settings.depth == "npz":
            file = self._staged(f"{kind}.npz")
            write_depth_npz(file, depth, result.stamp_ns or 0, result.metric, result.camera)
            row["file"] = f"{FOLDER}/{name}_{kind}.npz"
            self._publish(file, row["file"])
        if self._settings.confidence and result.score is not None:
            confidence = confidence_of(result).cpu()
            row["confidence"] = _mean(confidence.numpy())
            file = self._staged("confidence.png")
            write_image(file, to_8bit(confidence).numpy()[..., None].repeat(3, -1))
            self._publish(file, f"{FOLDER}/{name}_confidence.png")
        if self._settings.normals and result.camera is not None:
            file = self._staged("normals.npz")
            with writing(file):
                np.savez_compressed(file, normals=surface_normals(result).cpu().numpy())
            self._publish(file, f"{FOLDER}/{name}_normals.npz")

    def publish(self, file: Path, name: str) -> None:
        """A file of the staging folder under a name in ``FOLDER``."""
        self._publish(file, f"{FOLDER}/{name}")

    def _publish(self, file: Path, name: str) -> None:
        self.files.append(self._place.publish(file, name))

    def _staged(self, ending: str) -> Path:
        return self._place.staging / f"answer_{ending}"


def described(result: DepthFrame) -> Row:
    """What the table tells of an answer."""
    height, width = result.depth.shape
    times: dict[str, Any] = {f"{stage}_ms": round(time_ms, 3) for stage, time_ms in result.times_ms.items()}
    return {
        "width": width,
        "height": height,
        "metric": result.metric,
        "scale_source": result.scale_source,
        "refined_pixels": result.refined_pixels,
        **times,
    }


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean(dtype=np.float64)) if known.size else None
