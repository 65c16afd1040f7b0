#!/usr/bin/env python3
"""What the shows and figures of ``depth-retrofit batch`` are made of: images and bags of the demo's film.

python benchmarks/batch_inputs.py out/inputs --images 200 --bags 10 --frames 12
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from depth_retrofit_ros.coarse.engines.natural_image import natural_image

PERIOD_NS = 100_000_000
START_NS = 1_700_000_000_000_000_000
STORE = get_typestore(Stores.ROS2_JAZZY)


def view(number: int, height: int, width: int) -> np.ndarray:
    """``uint8 [H, W, 3]`` RGB: the film's picture, shifted, so that no two are the same."""
    return np.ascontiguousarray(np.roll(natural_image(height, width).numpy(), 3 * number, axis=1))


def write_images(folder: Path, count: int, height: int, width: int) -> None:
    """JPEGs."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = cv2.cvtColor(view(number, height, width), cv2.COLOR_RGB2BGR)
        if not cv2.imwrite(str(folder / f"image_{number:04d}.jpg"), pixels):
            raise OSError(f"cannot write into {folder}")


def write_bag(path: Path, first: int, frames: int, height: int, width: int, compressed: bool = False) -> None:
    """Images and camera_info at 10 Hz."""
    types = STORE.types
    kind = f"sensor_msgs/msg/{'CompressedImage' if compressed else 'Image'}"
    k = np.array([width, 0, (width - 1) / 2, 0, width, (height - 1) / 2, 0, 0, 1], np.float64)
    roi = types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        images = writer.add_connection("/camera/image", kind, typestore=STORE)
        infos = writer.add_connection("/camera/camera_info", "sensor_msgs/msg/CameraInfo", typestore=STORE)
        for number in range(frames):
            at_ns = START_NS + number * PERIOD_NS
            stamp = types["builtin_interfaces/msg/Time"](*divmod(at_ns, 10**9))
            header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")
            info = types["sensor_msgs/msg/CameraInfo"](
                header=header,
                height=height,
                width=width,
                distortion_model="plumb_bob",
                d=np.zeros(5),
                k=k,
                r=np.eye(3).ravel(),
                p=np.insert(k, [3, 6, 9], 0.0),
                binning_x=0,
                binning_y=0,
                roi=roi,
            )
            pixels = view(first + number, height, width)
            if compressed:
                _, jpeg = cv2.imencode(".jpg", pixels[..., ::-1])
                image = types[kind](header=header, format="jpeg", data=jpeg.ravel())
            else:
                shape = {"height": height, "width": width, "step": 3 * width}
                image = types[kind](header=header, **shape, encoding="rgb8", is_bigendian=0, data=pixels.ravel())
            writer.write(infos, at_ns, STORE.serialize_cdr(info, "sensor_msgs/msg/CameraInfo"))
            writer.write(images, at_ns, STORE.serialize_cdr(image, kind))


def make(folder: Path, images: int, bags: int, frames: int, height: int, width: int) -> None:
    """All of them, into ``folder``."""
    write_images(folder / "images", images, height, width)
    for number in range(bags):
        write_bag(folder / f"bag_{number:02d}", 1000 + 100 * number, frames, height, width)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--bags", type=int, default=10)
    parser.add_argument("--frames", type=int, default=12, help="of each bag")
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--width", type=int, default=320)
    args = parser.parse_args()
    make(args.folder, args.images, args.bags, args.frames, args.height, args.width)


if __name__ == "__main__":
    main()
