"""What can be played through the depth node: a recorded bag, or a camera in a rendered scene."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import CameraError
from depth_retrofit_ros.evaluation.bag import (
    COMPRESSED_TYPE,
    IMAGE_TYPE,
    INFO_TYPE,
    Bag,
    depth_image,
    deserialise,
    with_stamp,
)
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.ros.calibration import camera_from_info
from depth_retrofit_ros.ros.images import decode
from depth_retrofit_ros.ros.player import TimedMessage
from depth_retrofit_ros.training.scenes.video import VideoFrame


class Source(Protocol):
    """types: topic → message type of what is played; image_topic, info_topic: among them; described: in words, for the summary."""

    @property
    def types(self) -> Mapping[str, str]: ...
    @property
    def image_topic(self) -> str: ...
    @property
    def info_topic(self) -> str | None: ...
    @property
    def described(self) -> str: ...

    def stream(self) -> Iterator[TimedMessage]:
        """Everything in the order of time; called once, in the player's thread."""
        ...

    def frames(self, stamps_ns: Collection[int]) -> Iterator[Frame]:
        """The played images with these header stamps [ns] and their cameras; called after the run."""
        ...

    def references(self, stamps_ns: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
        """(stamp [ns], depth ``float32 [H, W]`` m, not finite where unknown) at these stamps, as far as there is any."""
        ...


class BagSource:
    """A bag's image topic (raw or compressed), its camera_info and, as reference, a depth topic aligned to it. Raises BagError."""

    def __init__(self, path: Path, image_topic: str, info_topic: str | None, depth_topic: str | None) -> None:
        self.described = f"{path.name}, {image_topic}"
        self.info_topic = info_topic
        self._path = path
        self._recorded_topic = image_topic
        self._depth_topic = depth_topic
        with Bag(path) as bag:
            image_type = bag.msgtype(image_topic, (IMAGE_TYPE, COMPRESSED_TYPE))
            if info_topic is not None:
                bag.msgtype(info_topic, (INFO_TYPE,))
            if depth_topic is not None:
                bag.msgtype(depth_topic, (IMAGE_TYPE,))
            self.duration_s = bag.duration_s
        # The node adds the transport's suffix to the image topic, as image_transport does; a recorder may have left it out.
        compressed = image_type == COMPRESSED_TYPE
        self.image_topic = f"{image_topic.removesuffix('/compressed')}/compressed" if compressed else image_topic
        self.types = {self.image_topic: image_type} | ({} if info_topic is None else {info_topic: INFO_TYPE})

    def stream(self) -> Iterator[TimedMessage]:
        """See ``Source``; the time is that of recording."""
        topics = [topic for topic in (self._recorded_topic, self.info_topic) if topic is not None]
        with Bag(self._path) as bag:
            start_ns: int | None = None
            for message in bag.messages(topics):
                start_ns = message.time_ns if start_ns is None else start_ns
                topic = self.image_topic if message.topic == self._recorded_topic else message.topic
                yield TimedMessage(1e-9 * (message.time_ns - start_ns), topic, message.data)

    def frames(self, stamps_ns: Collection[int]) -> Iterator[Frame]:
        """See ``Source``."""
        topics = [topic for topic in (self._recorded_topic, self.info_topic) if topic is not None]
        info = None
        with Bag(self._path) as bag:
            image_type = bag.msgtype(self._recorded_topic, (IMAGE_TYPE, COMPRESSED_TYPE))
            for message in bag.messages(topics):
                if message.topic == self.info_topic:
                    info = deserialise(message.data, INFO_TYPE)
                elif message.stamp_ns in stamps_ns:
                    image = decode(deserialise(message.data, image_type))
                    yield Frame(image, message.stamp_ns, camera=_camera(info, image.shape[1], image.shape[0]))

    def references(self, stamps_ns: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
        """See ``Source``."""
        if self._depth_topic is None:
            return
        with Bag(self._path) as bag:
            for message in bag.messages([self._depth_topic]):
                if message.stamp_ns in stamps_ns:
                    yield message.stamp_ns, depth_image(message.data)


class SceneSource:
    """A camera at ``rate_hz`` that goes through rendered views forth and back for ``seconds``; its stamps are the present."""

    image_topic = "/camera/image_raw"
    info_topic = "/camera/camera_info"
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
        self._shown: dict[int, int] = {}  # stamp → index of the view

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
            self._shown[stamp_ns] = index
            yield TimedMessage(at_s, self.info_topic, with_stamp(info, stamp_ns))
            yield TimedMessage(at_s, self.image_topic, with_stamp(self._images[index], stamp_ns))

    def frames(self, stamps_ns: Collection[int]) -> Iterator[Frame]:
        """See ``Source``."""
        for stamp_ns, index in self._of(stamps_ns):
            yield Frame(decode(deserialise(self._images[index], IMAGE_TYPE)), stamp_ns, camera=self._camera)

    def references(self, stamps_ns: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
        """See ``Source``; exact."""
        for stamp_ns, index in self._of(stamps_ns):
            yield stamp_ns, self._depths[index]

    def _of(self, stamps_ns: Collection[int]) -> list[tuple[int, int]]:
        return [(stamp_ns, self._shown[stamp_ns]) for stamp_ns in sorted(set(stamps_ns) & self._shown.keys())]


def _camera(info: CameraInfo | None, width: int, height: int) -> Camera | None:
    """None where there is no usable calibration: the node says so in its log, and goes on without."""
    try:
        return None if info is None else camera_from_info(info, width, height)
    except CameraError:
        return None


def _forth_and_back(number: int, count: int) -> int:
    """0, 1, …, count − 1, count − 2, …, 1, 0, 1, …"""
    if count == 1:
        return 0
    place = number % (2 * (count - 1))
    return min(place, 2 * (count - 1) - place)


def _image_bytes(image: np.ndarray) -> bytes:
    message = Image(header=_header(), height=image.shape[0], width=image.shape[1], encoding="rgb8", step=3 * image.shape[1])
    message.data.frombytes(image.tobytes())
    return bytes(serialize_message(message))


def _info_message(camera: Camera) -> CameraInfo:
    k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
    p = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    size = {"height": camera.height, "width": camera.width}
    return CameraInfo(header=_header(), **size, distortion_model="plumb_bob", d=[0.0] * 5, k=k, r=r, p=p)


def _header() -> Header:
    return Header(stamp=Time(), frame_id="camera_optical_frame")
