"""One photo through the method: what the commands ``image`` and ``batch`` do with a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from depth_retrofit_ros.batch.given_camera import GivenCamera
from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.sparse_file import read_sparse, sparse_path
from depth_retrofit_ros.device.faults import fitting_into_memory
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.io.photos import Photo, read_photo
from depth_retrofit_ros.retrofit import Retrofit


@dataclass(frozen=True, slots=True)
class OpenedPhoto:
    """A photo as a frame; camera_source: where its camera came from, in words."""

    frame: Frame
    camera_source: str


def open_photo(file: Path, given: GivenCamera, sparse: Path | None = None) -> OpenedPhoto:
    """sparse: file or folder of a sensor's depth, see ``coarse.sparse_file``. Raises DepthRetrofitError, one line."""
    with fitting_into_memory(str(file), "scale it down"):
        photo = read_photo(file)
        height, width = photo.image.shape[:2]
        camera, source = choose_camera(photo, given)
        known = None if sparse is None else read_sparse(sparse_path(sparse, file.stem), height, width)
        return OpenedPhoto(Frame(photo.image, camera=camera, sparse=known), source)


def answer_photo(file: Path, opened: OpenedPhoto, retrofit: Retrofit) -> DepthFrame:
    """Raises ImageError where memory runs out."""
    height, width = opened.frame.image.shape[:2]
    with fitting_into_memory(f"{file} ({width}x{height})", "lower --budget or scale it down"):
        return retrofit(opened.frame)


def choose_camera(photo: Photo, given: GivenCamera) -> tuple[Camera | None, str]:
    """The camera by options, else by EXIF, else None; and where it came from, in words."""
    height, width = photo.image.shape[:2]
    camera = given.of(width, height)
    if camera is not None:
        return camera, f"camera as given ({camera.hfov_deg:.1f} deg across)"
    camera = photo.exif_camera()
    if camera is not None:
        return camera, f"EXIF focal length {photo.focal_35mm:.0f} mm (35 mm equivalent, {camera.hfov_deg:.1f} deg across)"
    exif = "no EXIF" if photo.focal_35mm is None else f"no camera has {photo.focal_35mm:g} mm, as EXIF says"
    return None, f"focal length unknown ({exif}; give --hfov or --fx --fy --cx --cy)"
