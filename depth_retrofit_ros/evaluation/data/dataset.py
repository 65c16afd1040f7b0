"""Images with true depth on disk: NAME.jpg or NAME.png beside NAME.npz."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import CameraError, DatasetError
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.io.npz import open_npz
from depth_retrofit_ros.io.photos import Photo, read_photo

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
INTRINSICS = ("fx", "fy", "cx", "cy")


@dataclass(frozen=True, slots=True)
class Pair:
    """The two files of one sample; ``name`` is their common stem."""

    name: str
    image: Path
    truth: Path


@dataclass(frozen=True, slots=True)
class Sample:
    """frame: image and camera; depth: the truth, ``float32 [H, W]`` m, inf where the file says so (sky), NaN where unknown."""

    name: str
    frame: Frame
    depth: np.ndarray


def find_pairs(folder: Path) -> list[Pair]:
    """All pairs, by name. Images without a truth file are passed over.

    Raises DatasetError: no folder, no pair, a truth without an image or with two.
    """
    if not folder.is_dir():
        raise DatasetError(f"no folder {folder}: give one with pairs NAME.jpg (or .png) and NAME.npz")
    files = sorted(folder.iterdir())
    pairs = []
    for truth in (f for f in files if f.suffix == ".npz"):
        images = [f for f in files if f.stem == truth.stem and f.suffix.lower() in IMAGE_SUFFIXES]
        if len(images) != 1:
            found = "no image" if not images else f"{len(images)} images"
            raise DatasetError(f"{truth} has {found}: put one {truth.stem}.jpg or .png beside it")
        pairs.append(Pair(truth.stem, images[0], truth))
    if not pairs:
        raise DatasetError(f"{folder} has no pairs NAME.jpg (or .png) and NAME.npz: nothing to evaluate")
    return pairs


def read_pair(pair: Pair) -> Sample:
    """Raises ImageError, DatasetError or CameraError, one line that names the file."""
    photo = read_photo(pair.image)
    height, width = photo.image.shape[:2]
    with open_npz(pair.truth) as arrays:
        depth = np.asarray(arrays.array("depth", 2), np.float32)
        intrinsics = [arrays.number(name) for name in INTRINSICS]
    _check_orientation(pair, photo, depth.shape)
    if depth.shape != (height, width):
        raise DatasetError(
            f"{pair.truth}: depth is {depth.shape[1]}x{depth.shape[0]} but the image is {width}x{height}: make them agree"
        )
    try:
        camera = Camera(width, height, *intrinsics)
        camera.require_plausible()
    except CameraError as error:
        raise CameraError(f"{pair.truth}: {error}") from None
    return Sample(pair.name, Frame(photo.image, camera=camera), np.where(depth > 0, depth, np.float32(np.nan)))


def _check_orientation(pair: Pair, photo: Photo, truth_shape: tuple[int, ...]) -> None:
    """The truth of a photo that EXIF turns must be turned too, which only a shape that changes can tell. Raises DatasetError."""
    height, width = photo.image.shape[:2]
    if photo.orientation == 1 or (truth_shape == (height, width) and photo.orientation >= 5 and height != width):
        return
    turned = f"{pair.image} is turned by its EXIF orientation {photo.orientation}"
    cure = "store its pixels as the truth shows the scene, without an EXIF orientation"
    if truth_shape == (height, width):
        raise DatasetError(f"{turned}, and whether {pair.truth.name} is too cannot be told: {cure}")
    if photo.orientation >= 5 and truth_shape == (width, height):
        raise DatasetError(f"{turned} to {width}x{height}, but {pair.truth.name} is not: {cure}")
