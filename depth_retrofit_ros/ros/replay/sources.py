"""What can be played through the depth node: a protocol, and a camera in a rendered scene. Recorded bags: ``bag_source``."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.evaluation.data.bag import IMAGE_TYPE, INFO_TYPE, deserialize, with_stamp
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.ros.messages.images import decode
from depth_retrofit_ros.ros.messages.jpeg import jpeg
from depth_retrofit_ros.ros.replay.player import TimedMessage
from depth_retrofit_ros.training.scenes.video import VideoFrame


@dataclass(frozen=True, slots=True)
class Pair:
    """An image by its number (see ``Source``) and, where there is one, the reference depth ``float32 [h, w]`` m of the same view,
    not finite where unknown.
    """

    number: int
    frame: Frame
    reference: np.ndarray | None = None
    reference_stamp_ns: int | None = None


class Source(Protocol):
    """types: topic → message type of what is played; image_topic, info_topic: among them; described, reference: in words, for the
    summary; reference is None where there is none. remarks: what is known so far to be missing or doubtful, one line each.

    An image is known by its number, its place among the images of ``stream`` from 0 on: stamps may repeat.
    """

    @property
    def types(self) -> Mapping[str, str]: ...
    @property
    def image_topic(self) -> str: ...
    @property
    def info_topic(self) -> str | None: ...
    @property
    def described(self) -> str: ...
    @property
    def reference(self) -> str | None: ...
    @property
    def remarks(self) -> list[str]: ...

    def stream(self) -> Iterator[TimedMessage]:
        """Everything in the order of time; called once, before the others."""
        ...

    def frames(self, numbers: Collection[int]) -> Iterator[tuple[int, Frame]]:
        """The answered ones of these images with number and camera, in order; called after the run."""
        ...

    def pairs(self, numbers: Collection[int]) -> Iterator[Pair]:
        """The same images, each with its reference."""
        ...


class SceneSource:
    """A camera at ``rate_hz`` that goes through rendered views forth and back for ``seconds``; its stamps are the present."""

    image_topic = "/camera/image_raw"
    info_topic = "/camera/camera_info"
    reference = "rendered depth, exact"
    types: Mapping[str, str] = MappingProxyType({image_topic: IMAGE_TYPE, info_topic: INFO_TYPE})

    def __init__(self, views: Iterable[VideoFrame], rate_hz: float, seconds: float) -> None:
        self._images: list[bytes] = []
        self._depths: list[np.ndarray] = []
        for view in views:
            self._images.append(_image_bytes(view.image))
            self._depths.append(view.depth)
            self._camera = view.camera
        self.described = f"rendered scene, {self._camera.width}x{self._camera.height} at {rate_hz:g} Hz"
        self._rate_hz = rate_hz
        self._count = max(1, round(rate_hz * seconds))
        self.remarks: list[str] = []
        self._shown: list[tuple[int, int]] = []  # stamp and index of the view, by number

    @property
    def views(self) -> int:
        """How many different images the camera shows."""
        return len(self._images)

    def stream(self) -> Iterator[TimedMessage]:
        """See ``Source``. The stamp is the moment at which the player is due to publish, as that of a camera without delay."""
        info = bytes(serialize_message(_info_message(self._camera)))
        start_ns = time.time_ns()
        for number in range(self._count):
            at_s = number / self._rate_hz
            index = _forth_and_back(number, len(self._images))
            stamp_ns = start_ns + round(1e9 * at_s)
            self._shown.append((stamp_ns, index))
            yield TimedMessage(at_s, self.info_topic, with_stamp(info, stamp_ns))
            yield TimedMessage(at_s, self.image_topic, with_stamp(self._images[index], stamp_ns))

    def frames(self, numbers: Collection[int]) -> Iterator[tuple[int, Frame]]:
        """See ``Source``."""
        for number in sorted(numbers):
            stamp_ns, index = self._shown[number]
            yield number, Frame(decode(deserialize(self._images[index], IMAGE_TYPE)), stamp_ns, camera=self._camera)

    def pairs(self, numbers: Collection[int]) -> Iterator[Pair]:
        """See ``Source``; exact."""
        for number, frame in self.frames(numbers):
            yield Pair(number, frame, self._depths[self._shown[number][1]], frame.stamp_ns)

    def one_of_each(self, numbers: Collection[int]) -> list[int]:
        """Of these images, the last one of each view, along the camera's way; called after the run."""
        last = {self._shown[number][1]: number for number in sorted(numbers)}
        return [last[view] for view in sorted(last)]


def _forth_and_back(number: int, count: int) -> int:
    """0, 1, …, count − 1, count − 2, …, 1, 0, 1, …"""
    if count == 1:
        return 0
    place = number % (2 * (count - 1))
    return min(place, 2 * (count - 1) - place)


def _image_bytes(image: np.ndarray) -> bytes:
    return bytes(serialize_message(_image_message(image, _header())))


def _image_message(image: np.ndarray, header: Header) -> Image:
    """``uint8 [H, W, 3]`` RGB as a raw message."""
    message = Image(header=header, height=image.shape[0], width=image.shape[1], encoding="rgb8", step=3 * image.shape[1])
    message.data.frombytes(image.tobytes())
    return message


def sample_messages(image: np.ndarray) -> tuple[Image, CompressedImage]:
    """``uint8 [H, W, 3]`` RGB, raw and as JPEG, as two cameras would send it at time zero."""
    return _image_message(image, _header()), jpeg(image, _header())


def _info_message(camera: Camera) -> CameraInfo:
    k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
    p = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    size = {"height": camera.height, "width": camera.width}
    return CameraInfo(header=_header(), **size, distortion_model="plumb_bob", d=[0.0] * 5, k=k, r=r, p=p)


def _header() -> Header:
    return Header(stamp=Time(), frame_id="camera_optical_frame")
