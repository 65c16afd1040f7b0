"""The film that comes with the package: views of a furnished room with their exact depth, as the demo's camera.

A folder holds ``film.json`` (the camera) and of every view ``view_N.jpg`` and ``view_N.png``, its depth in 16 bits on a logarithmic
scale: depth = NEAREST_M * exp((value - 1) * STEP), and 0 where the sky is. ``benchmarks/make_demo_film.py`` makes one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import DatasetError, OutputError, UsageError
from depth_retrofit_ros.io.depth_files import make_folder, write_text, writing
from depth_retrofit_ros.training.scenes.scene import Pose, rotation_ypr
from depth_retrofit_ros.training.scenes.video import VideoFrame

FOLDER = Path(__file__).resolve().parents[2] / "film"
NEAREST_M = 0.1
STEP = 1 / 2048  # of ln depth: rounding moves depth by at most 0.025 %
JPEG_QUALITY = 92
CAMERA = "film.json"


def pose_along(share: float) -> Pose:
    """Where the camera is after that share (0…1) of its path, in the frame of its first view: as one held in the hand moves."""
    offset = np.array([-0.18 * share, 0.02 * np.sin(np.pi * share), 0.08 * share])
    return Pose(rotation_ypr(0.03 * share, 0.01 * np.sin(np.pi * share), 0.006 * share), offset)


class Film:
    """The film of a folder, by default the bundled one. Raises DatasetError where it is missing or damaged."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder = folder or FOLDER
        try:
            self.camera = Camera(**json.loads((folder / CAMERA).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            raise DatasetError(f"no film in {folder} ({CAMERA} is missing or damaged): install the package again") from None
        self._names = [f"view_{number}" for number in _numbers(folder)]
        if not self._names:
            raise DatasetError(f"no views in {folder}: install the package again")

    def __len__(self) -> int:
        """How many views there are."""
        return len(self._names)

    def views(self, width: int, height: int) -> Iterator[VideoFrame]:
        """The views along the camera's path, as a camera of this size gives them.

        Of another aspect, the middle is cut out. Pixels are averaged over their area; depth is that at the pixel of the film that
        has the new pixel's centre.
        Raises UsageError where the film is smaller.
        """
        whole = self.camera
        if width > whole.width or height > whole.height:
            raise UsageError(
                f"the film is {whole.width}x{whole.height}, smaller than {width}x{height}: "
                f"choose --width up to {whole.width} and --height up to {whole.height}"
            )
        return self._views(width, height)

    def poses(self) -> list[Pose]:
        """Of the bundled film's views, in the frame of the first one's camera."""
        return [pose_along(i / max(1, len(self) - 1)) for i in range(len(self))]

    def _views(self, width: int, height: int) -> Iterator[VideoFrame]:
        whole = self.camera
        zoom = min(whole.width / width, whole.height / height)
        cut_w, cut_h = min(whole.width, round(width * zoom)), min(whole.height, round(height * zoom))
        x0, y0 = (whole.width - cut_w) // 2, (whole.height - cut_h) // 2
        camera = Camera(cut_w, cut_h, whole.fx, whole.fy, whole.cx - x0, whole.cy - y0).resized(width, height)
        rows = y0 + ((np.arange(height) + 0.5) * cut_h / height).astype(np.intp)
        columns = x0 + ((np.arange(width) + 0.5) * cut_w / width).astype(np.intp)
        for name in self._names:
            image = self._read(f"{name}.jpg", cv2.IMREAD_COLOR, np.uint8)[y0 : y0 + cut_h, x0 : x0 + cut_w]
            values = self._read(f"{name}.png", cv2.IMREAD_UNCHANGED, np.uint16)[np.ix_(rows, columns)]
            small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            yield VideoFrame(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), decode_depth(values), camera)

    def _read(self, name: str, flags: int, kind: type) -> np.ndarray:
        """A picture of the film's size."""
        picture = cv2.imread(str(self.folder / name), flags)
        if picture is None or picture.dtype != kind or picture.shape[:2] != (self.camera.height, self.camera.width):
            raise DatasetError(f"{self.folder / name} is missing or damaged: install the package again")
        return picture


def write_film(folder: Path, views: Iterable[VideoFrame]) -> None:
    """Write views of one camera, in the place of the film that was there.

    Raises OutputError, and ValueError for no views, for a second camera, and for depth outside of what 16 bits hold.
    """
    make_folder(folder)
    camera, count = None, 0
    for view in views:
        if camera is None:
            camera = view.camera
            write_text(folder / CAMERA, json.dumps(asdict(camera), indent=2) + "\n")
        elif view.camera != camera:
            raise ValueError(f"view {count} is of another camera than those before it")
        _write(folder / f"view_{count}.jpg", view.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        _write(folder / f"view_{count}.png", encode_depth(view.depth), [cv2.IMWRITE_PNG_COMPRESSION, 9])
        count += 1
    if camera is None:
        raise ValueError("a film of no views")
    for number in _numbers(folder):
        if number >= count:
            for path in (folder / f"view_{number}.jpg", folder / f"view_{number}.png"):
                with writing(path):
                    path.unlink(missing_ok=True)


def _numbers(folder: Path) -> list[int]:
    """Of the views in a folder, in order."""
    names = (re.fullmatch(r"view_(0|[1-9]\d*)\.jpg", path.name) for path in folder.glob("view_*.jpg"))
    return sorted(int(name[1]) for name in names if name)


def _write(path: Path, pixels: np.ndarray, options: list[int]) -> None:
    try:
        ok, data = cv2.imencode(path.suffix, pixels, options)
    except cv2.error:
        ok = False
    if not ok:
        raise OutputError(f"cannot encode {path} of {pixels.shape[1]}x{pixels.shape[0]}: choose a smaller width or height")
    with writing(path):
        path.write_bytes(data.tobytes())


def encode_depth(depth: np.ndarray) -> np.ndarray:
    """``float32 [H, W]`` m, inf where the sky is, as uint16 values. Raises ValueError for depth below ``NEAREST_M``."""
    known = np.isfinite(depth)
    if not (depth >= NEAREST_M).all():
        raise ValueError(f"depth nearer than {NEAREST_M} m, or unknown")
    values = 1 + np.rint(np.log(np.where(known, depth, NEAREST_M) / NEAREST_M) / STEP)
    return np.where(known, values, 0).astype(np.uint16)


def decode_depth(values: np.ndarray) -> np.ndarray:
    """The inverse: ``float32 [H, W]`` m."""
    table = NEAREST_M * np.exp((np.arange(1 << 16) - 1) * STEP)
    table[0] = np.inf
    return table.astype(np.float32)[values]
