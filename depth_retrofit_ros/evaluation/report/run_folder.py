"""The folder that a run leaves behind: one float file per depth image while it runs, pictures afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.io.color_map import colorize
from depth_retrofit_ros.io.depth_files import make_folder, side_by_side, write_depth_npz, write_depth_png, write_image, writing

PREVIEW_WIDTH = 1280
_OURS = re.compile(r"\d{6}(\.npz|_depth\.png|_relative\.png|_preview\.jpg|_strip\.jpg)")


@dataclass(frozen=True, slots=True)
class Inside:
    """coarse: ``float32 [h, w]``, the coarse model's answer; selected: the refined pixels, bool [H, W]."""

    coarse: np.ndarray
    selected: np.ndarray


@dataclass(frozen=True, slots=True)
class StoredDepth:
    """A depth image in the folder: ``frames/NNNNNN.npz``; the pictures' names begin with the same six digits."""

    path: Path
    stamp_ns: int
    metric: bool

    def load(self) -> np.ndarray:
        """Depth ``float32 [H, W]``."""
        with np.load(self.path, allow_pickle=False) as stored:
            return np.asarray(stored["depth"])

    def load_inside(self) -> Inside | None:
        """What it was made from; None where the run did not see that."""
        with np.load(self.path, allow_pickle=False) as stored:
            if "coarse" not in stored:
                return None
            height, width = stored["depth"].shape
            bits = np.unpackbits(stored["selected"], count=height * width)
            return Inside(np.asarray(stored["coarse"]), bits.astype(bool).reshape(height, width))


class RunFolder:
    """``root`` with ``frames/`` in it; what an earlier run left in ``frames/`` is removed. Raises OutputError."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stored: list[StoredDepth] = []
        self.relative_units: dict[str, float] = {}
        self._frames = make_folder(root / "frames")
        with writing(self._frames):
            for path in self._frames.iterdir():
                if _OURS.fullmatch(path.name):
                    path.unlink()

    def store(
        self, index: int, stamp_ns: int, depth: np.ndarray, metric: bool, camera: Camera | None, inside: Inside | None = None
    ) -> None:
        """Write one depth ``float32 [H, W]`` as it is: what must be done while the node works should cost little."""
        path = self._frames / f"{index:06d}.npz"
        more = {} if inside is None else {"coarse": inside.coarse, "selected": np.packbits(inside.selected)}
        write_depth_npz(path, depth, stamp_ns, metric, camera, **more)
        self.stored.append(StoredDepth(path, stamp_ns, metric))

    def adopt(self, path: Path, stamp_ns: int, metric: bool) -> None:
        """A depth that another folder of this file system stored, as the next one of this."""
        target = self._frames / f"{len(self.stored):06d}.npz"
        with writing(target):
            path.replace(target)
        self.stored.append(StoredDepth(target, stamp_ns, metric))

    def write_pictures(self, frames: Iterable[tuple[StoredDepth, Frame | None]]) -> None:
        """16-bit PNG of stored depth and, where its image is known, a preview beside that."""
        for entry, frame in frames:
            depth = entry.load()
            name = f"{entry.path.stem}_{'depth' if entry.metric else 'relative'}.png"
            png = write_depth_png(self._frames / name, depth, entry.metric)
            if not entry.metric:
                self.relative_units[name] = png.unit
            if frame is not None:
                panels = [("input", frame.image), ("depth", colorize(depth))]
                write_image(self._frames / f"{entry.path.stem}_preview.jpg", side_by_side(panels, PREVIEW_WIDTH))
