"""``sensor_msgs/CameraInfo`` → how its images are rectified, and whether they are to be."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import CameraError
from depth_retrofit_ros.lens import EQUIDISTANT, IDENTITY, Lens, Optics, RayTable, Rectification
from depth_retrofit_ros.ros.messages.calibration import camera_from_info, has_focal_length, raw_intrinsics

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo

CHOICES = ("auto", "true", "false", "points")
RECTIFIED, RAW = "rectified", "raw"  # kinds of images
_KEPT = 4  # maps, the last ones used: a camera has one, and another for each size that it changes to
_WORDS_RECTIFIED = {"rect", "rectified", "undistorted"}  # words of topics that tell what their images are
_WORDS_RAW = {"raw", "distorted", "unrectified"}
_RAW_NAMES = {"image_color", "image_mono"}  # image_proc's names of images that it has not rectified


@dataclass(frozen=True, slots=True)
class Rectified:
    """What is done to an image. optics: None where it is used as it comes. told: in words, for the diagnostics; doubt: why that may
    be wrong, and what to do; None where it is not."""

    optics: Optics | None
    told: str
    doubt: str | None = None

    @property
    def camera(self) -> Camera | None:
        """Of the image that is made; None where it is used as it comes."""
        return None if self.optics is None else self.optics.camera

    def image(self, image: np.ndarray) -> np.ndarray:
        """The image ``uint8 [H, W, 3]`` that depth is made of."""
        return self.optics.image(image) if isinstance(self.optics, Rectification) else image

    def info(self, info: CameraInfo | None) -> CameraInfo | None:
        """Its camera_info, for the calibrated size still."""
        return rectified_info(info) if info is not None and isinstance(self.optics, Rectification) else info


NOTHING = Rectified(None, "")
"""Of an image without calibration."""


class Rectifier:
    """Knows of each image what is to be done, and keeps what was made for it.

    mode: ``auto`` rectifies where D is not zero and the topic's name says that images are raw; ``true`` always, ``false`` never;
    ``points`` leaves the image as it is and gives the cloud's points their true rays.
    """

    def __init__(self) -> None:
        self.is_busy = False
        """Whether a map is made at this moment, which may take seconds and is no hang. To be read by any thread."""
        self._made: dict[str, Optics | str] = {}  # or why there is none; the one used longest ago first

    def of(self, info: CameraInfo, width: int, height: int, mode: str, topic: str) -> Rectified:
        """For an image of ``width x height`` that is calibrated; mode: one of ``CHOICES``; topic: of the images. Raises CameraError
        where it is to be rectified and cannot be."""
        if mode == "false":
            return Rectified(None, "off: the images are taken for rectified")
        bent = any(info.d)
        if mode == "auto" and not bent:
            return Rectified(None, "none needed: D is zero")
        if mode == "auto" and (named := named_kind(topic)) != RAW:
            return Rectified(None, *((f"none needed: {topic} is", None) if named else _doubtful(topic)))
        if not bent and not _differs(info):
            return Rectified(None, "none needed: D is zero, R the identity and K the same as P")
        optics = self._optics(info, width, height, mode == "points")
        model = f"{optics.lens.model}, {len(optics.lens.coefficients)} coefficients"
        return Rectified(optics, f"{'of the points alone' if mode == 'points' else 'on board'}: {model}")

    def _optics(self, info: CameraInfo, width: int, height: int, stays_bent: bool) -> Optics:
        roi = info.roi
        region = info.width, info.height, roi.x_offset, roi.y_offset, roi.width, roi.height, width, height
        numbers = info.distortion_model, *map(tuple, (info.d, info.k, info.r, info.p)), *region
        key = repr((stays_bent, numbers))  # of NaN, too, one text
        made = self._made.pop(key, None)
        self._made[key] = made = self._make(info, width, height, stays_bent) if made is None else made
        if len(self._made) > _KEPT:
            del self._made[next(iter(self._made))]
        if isinstance(made, str):
            raise CameraError(made)
        return made

    def _make(self, info: CameraInfo, width: int, height: int, stays_bent: bool) -> Optics | str:
        self.is_busy = True
        try:
            return _optics(info, width, height, stays_bent)
        except CameraError as error:
            return str(error)  # found out once, not with every image
        finally:
            self.is_busy = False


def _optics(info: CameraInfo, width: int, height: int, stays_bent: bool) -> Optics:
    try:
        lens = lens_from_info(info, width, height)
        if stays_bent:
            return RayTable(lens)
        camera = camera_from_info(info, width, height)
        assert camera is not None  # there is K
        return Rectification(lens, camera, _rotation(info))
    except CameraError as error:
        raise CameraError(f"{error}; rectify: false takes the images as they are") from error


def lens_from_info(info: CameraInfo, width: int, height: int) -> Lens:
    """Of an image of ``width x height`` as the sensor takes it. Raises CameraError."""
    return Lens(info.distortion_model, tuple(map(float, info.d)), raw_intrinsics(info, width, height))


def rectified_info(info: CameraInfo) -> CameraInfo:
    """Of the rectified images of this camera: no distortion, R the identity and K the camera of P, whose Tx and Ty stay. For the
    calibrated size still; see ``info_for_image``."""
    rectified = copy.deepcopy(info)
    rectified.distortion_model, rectified.d, rectified.r = "plumb_bob", [0.0] * 5, list(IDENTITY)
    p = np.array(info.p).reshape(3, 4)
    if has_focal_length(p):
        rectified.k = p[:, :3].ravel()
    return rectified


def named_kind(topic: str) -> str | None:
    """What a topic's name says of its images: ``rectified``, ``raw``, or nothing, None."""
    name = topic.removesuffix("/compressed")
    words = set(re.split(r"[/_]", name.lower()))
    if words & _WORDS_RECTIFIED:
        return RECTIFIED
    return RAW if words & _WORDS_RAW or name.rsplit("/", 1)[-1] in _RAW_NAMES else None


def _doubtful(topic: str) -> tuple[str, str]:
    return "none: nothing says that the images are raw", (
        f"camera_info has distortion, and the name {topic} does not say whether its images are rectified; they are taken for "
        "rectified: set rectify to true if they are not, to false if they are"
    )


def _rotation(info: CameraInfo) -> tuple[float, ...]:
    """R, which is zero where nobody set it."""
    return tuple(map(float, info.r)) if np.any(info.r) else IDENTITY


def _differs(info: CameraInfo) -> bool:
    """Whether a rectified image differs from the raw one although D is zero."""
    if info.distortion_model == EQUIDISTANT or _rotation(info) != IDENTITY:
        return True
    p = np.array(info.p).reshape(3, 4)
    return has_focal_length(p) and not np.array_equal(p[:, :3].ravel(), np.array(info.k))
