"""Small synthetic bags for the tests, written with rosbags in either storage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_JAZZY)
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000


def message(kind: str, **fields: Any) -> bytes:
    """A serialised message of type ``kind``, e.g. ``sensor_msgs/msg/Image``."""
    return bytes(STORE.serialize_cdr(STORE.types[kind](**fields), kind))


def header(stamp_ns: int, frame_id: str = "camera_optical") -> Any:
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    time = STORE.types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
    return STORE.types["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)


def image_message(
    stamp_ns: int,
    pixels: np.ndarray,
    encoding: str,
    *,
    step: int | None = None,
    height: int | None = None,
    frame_id: str = "camera_optical",
) -> bytes:
    """``sensor_msgs/Image`` of ``pixels`` [H, W(, C)]; ``step`` and ``height`` may be told wrongly."""
    return message(
        "sensor_msgs/msg/Image",
        header=header(stamp_ns, frame_id),
        height=pixels.shape[0] if height is None else height,
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=pixels[0].nbytes if step is None else step,
        data=np.frombuffer(pixels.tobytes(), np.uint8),
    )


def compressed_message(stamp_ns: int, rgb: np.ndarray) -> bytes:
    ok, jpeg = cv2.imencode(".jpg", rgb[..., ::-1])
    assert ok
    return message("sensor_msgs/msg/CompressedImage", header=header(stamp_ns), format="jpeg", data=jpeg)


def info_message(stamp_ns: int, width: int, height: int, f_px: float, distortion: Sequence[float] = (0.0,) * 5) -> bytes:
    k = np.array([f_px, 0, (width - 1) / 2, 0, f_px, (height - 1) / 2, 0, 0, 1], np.float64)
    p = np.insert(k, [3, 6, 9], 0.0)
    roi = STORE.types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return message(
        "sensor_msgs/msg/CameraInfo",
        header=header(stamp_ns),
        height=height,
        width=width,
        distortion_model="plumb_bob",
        d=np.array(distortion),
        k=k,
        r=np.eye(3).ravel(),
        p=p,
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


def scene(index: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """RGB uint8 [H, W, 3] and depth float32 [H, W] m: a textured wall at 3 m with a box at 1.5 m that moves with ``index``."""
    rng = np.random.default_rng(index)
    rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    depth = np.full((height, width), 3.0, np.float32)
    left = (5 * index) % (width // 2)
    depth[height // 4 : height // 2, left : left + width // 4] = 1.5
    return rgb, depth


def write_bag(
    path: Path,
    storage: str,
    *,
    frames: int = 4,
    height: int = 48,
    width: int = 64,
    compressed: bool = False,
    depth_late_ns: int = 0,
    depth_step: int = 1,
    depth_frame: str = "camera_optical",
    info_last: bool = False,
    distortion: Sequence[float] = (0.0,) * 5,
) -> Path:
    """A bag with ``/camera/image``, ``/camera/camera_info``, ``/camera/depth`` (16UC1 mm), one frame every 100 ms.

    depth_late_ns: how much later depth is stamped and recorded; depth_step: its every n-th pixel; depth_frame: its frame_id.
    info_last: camera_info is recorded after its image. distortion: its D.
    """
    plugin = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}[storage]
    image_type = "sensor_msgs/msg/CompressedImage" if compressed else "sensor_msgs/msg/Image"
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        image = writer.add_connection("/camera/image", image_type, typestore=STORE)
        info = writer.add_connection("/camera/camera_info", "sensor_msgs/msg/CameraInfo", typestore=STORE)
        sensor = writer.add_connection("/camera/depth", "sensor_msgs/msg/Image", typestore=STORE)
        for index in range(frames):
            stamp_ns = START_NS + index * PERIOD_NS
            rgb, depth = scene(index, height, width)
            pixels = compressed_message(stamp_ns, rgb) if compressed else image_message(stamp_ns, rgb, "rgb8")
            millimeters = np.round(depth[::depth_step, ::depth_step] * 1000).astype(np.uint16)
            late_ns = stamp_ns + depth_late_ns
            writer.write(info, stamp_ns + 1000 * info_last, info_message(stamp_ns, width, height, 60.0, distortion))
            writer.write(image, stamp_ns, pixels)
            writer.write(sensor, late_ns, image_message(late_ns, millimeters, "16UC1", frame_id=depth_frame))
    return path
