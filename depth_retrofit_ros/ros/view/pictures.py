"""Messages as a viewer wants them: small, and pictures for people where numbers are of no use to it."""

from __future__ import annotations

import cv2
import numpy as np
from sensor_msgs.msg import Image, PointCloud2

from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.pointcloud.organized import POINT_STEP

MARK_RGB = (255, 0, 128)
_MARK = np.array(MARK_RGB, np.float32)
_MARK_WEIGHT = 0.6


def step_for(columns: int, width: int) -> int:
    """Every how many pixels are kept in both directions, so that at most ``width`` columns remain."""
    return max(1, -(-columns // width))


def shrunk(image: np.ndarray, width: int) -> np.ndarray:
    """``[H, W]`` or ``[H, W, 3]`` → at most ``width`` columns, by averaging; a new array in any case."""
    step = step_for(image.shape[1], width)
    size = (-(-image.shape[1] // step), -(-image.shape[0] // step))
    return image.copy() if step == 1 else np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def marked(image: np.ndarray | None, selection: np.ndarray, width: int) -> np.ndarray:
    """The refined pixels in colour on the image.

    image: ``uint8 [h, w, 3]`` RGB, already ``shrunk`` to ``width``; None for black. selection: ``uint8 [H, W]``, 255 where refined.
    Raises ImageError where the two are of different shapes.
    """
    share = shrunk(selection, width).astype(np.float32)[..., None] * np.float32(_MARK_WEIGHT / 255)
    if image is None:
        image = np.zeros((*share.shape[:2], 3), np.uint8)
    if image.shape[:2] != share.shape[:2]:
        raise ImageError(f"the selection's size {selection.shape[1]}x{selection.shape[0]} is not the image's")
    return np.asarray(image + share * (_MARK - image)).round().astype(np.uint8)


def shaded(share: np.ndarray) -> np.ndarray:
    """``float32 [H, W]`` from 0, black, to 1, white; NaN is black as well, as in the node's 8-bit picture. Returns RGB."""
    with np.errstate(invalid="ignore"):
        gray = np.clip(np.nan_to_num(share, nan=0.0), 0.0, 1.0) * np.float32(255) + np.float32(0.5)
    return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2)


def mono8(message: Image) -> np.ndarray:
    """``uint8 [H, W]``, a view of the message's memory. Raises ImageError."""
    if message.encoding != "mono8" or len(message.data) != message.height * message.step or message.step < message.width:
        raise ImageError(
            f"a selection of encoding {message.encoding[:40]!r}, {message.width}x{message.height}, does not fit its data"
        )
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)[:, : message.width]


def smaller_cloud(cloud: PointCloud2, width: int) -> PointCloud2:
    """Every n-th point of an organised cloud in both directions, at most ``width`` columns. Raises ImageError."""
    if cloud.point_step != POINT_STEP or len(cloud.data) != cloud.height * cloud.width * POINT_STEP:
        raise ImageError(f"a cloud of {cloud.width}x{cloud.height} points of {cloud.point_step} bytes does not fit its data")
    step = step_for(cloud.width, width)
    points = np.frombuffer(cloud.data, np.uint8).reshape(cloud.height, cloud.width, POINT_STEP)[::step, ::step]
    smaller = PointCloud2(header=cloud.header, fields=cloud.fields, point_step=POINT_STEP, is_bigendian=cloud.is_bigendian)
    smaller.height, smaller.width = points.shape[0], points.shape[1]
    smaller.row_step = smaller.width * POINT_STEP
    smaller.is_dense = cloud.is_dense
    smaller.data.frombytes(points.tobytes())
    return smaller
