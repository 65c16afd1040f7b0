"""A recorded bag as a source: images, camera_info, and a depth topic as reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from sensor_msgs.msg import CameraInfo

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import CameraError, ImageError
from depth_retrofit_ros.evaluation.data.bag import (
    COMPRESSED_TYPE,
    IMAGE_TYPE,
    INFO_TYPE,
    Bag,
    BagMessage,
    depth_image,
    deserialize,
)
from depth_retrofit_ros.evaluation.data.registration import match_stamps, require_same_view
from depth_retrofit_ros.evaluation.data.topics import COMPRESSED, find_image_topic, find_info_topic
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.ros.messages.calibration import camera_from_info
from depth_retrofit_ros.ros.messages.images import decode
from depth_retrofit_ros.ros.replay.player import TimedMessage
from depth_retrofit_ros.ros.replay.sources import Pair

NO_TOPIC = "none"


class BagSource:
    """A bag's image topic (raw or compressed), its camera_info and, as reference, a depth topic aligned to it. Raises BagError.

    image_topic: None for the only one. info_topic: None for the one beside the images, ``none`` for none. tolerance_s: how far the
    stamp of a reference may be from its image's. limit: take only so many images, from the first on.
    """

    def __init__(
        self,
        path: Path,
        image_topic: str | None = None,
        info_topic: str | None = None,
        depth_topic: str | None = None,
        tolerance_s: float = 0.02,
        limit: int | None = None,
    ) -> None:
        self._path = path
        self._limit = limit
        self._tolerance_ns = round(1e9 * tolerance_s)
        with Bag(path) as bag:
            self._depth_topic = depth_topic
            if depth_topic is not None:
                bag.msgtype(depth_topic, (IMAGE_TYPE,))
            self._recorded_topic = image_topic or find_image_topic(bag)
            image_type = bag.msgtype(self._recorded_topic, (IMAGE_TYPE, COMPRESSED_TYPE))
            self.info_topic = find_info_topic(bag, self._recorded_topic) if info_topic is None else info_topic
            if self.info_topic == NO_TOPIC:
                self.info_topic = None
            if self.info_topic is not None:
                bag.msgtype(self.info_topic, (INFO_TYPE,))
            if depth_topic is not None:
                _require_reference(bag, self._recorded_topic, depth_topic)
            self.duration_s = bag.duration_s
            self._frame_ids = {topic: _frame_id(bag, topic) for topic in (self._recorded_topic, depth_topic) if topic}
        # The node adds the transport's suffix to the image topic, as image_transport does; a recorder may have left it out.
        compressed = image_type == COMPRESSED_TYPE
        self.image_topic = f"{self._recorded_topic.removesuffix(COMPRESSED)}{COMPRESSED}" if compressed else self._recorded_topic
        self.types = {self.image_topic: image_type} | ({} if self.info_topic is None else {self.info_topic: INFO_TYPE})

    @property
    def described(self) -> str:
        """See ``Source``."""
        count = "" if self._limit is None else f", the first {self._limit} images"
        return f"{self._path.name}, {self._recorded_topic}, camera_info: {self.info_topic or 'none'}{count}"

    @property
    def reference(self) -> str | None:
        """See ``Source``."""
        if self._depth_topic is None:
            return None
        text = f"{self._depth_topic}, nearest stamp within {1e-6 * self._tolerance_ns:g} ms"
        image_frame, depth_frame = (self._frame_ids[topic] for topic in (self._recorded_topic, self._depth_topic))
        if image_frame != depth_frame:
            text += f"; its frame_id is {depth_frame!r}, the images' {image_frame!r}: right only if it is registered to the images"
        return text

    def stream(self) -> Iterator[TimedMessage]:
        """See ``Source``; the time is that of recording. The first camera_info goes ahead of everything, because a recorder may
        have written it just after the first image, and a camera that runs had sent many before.
        """
        with Bag(self._path) as bag:
            start_ns: int | None = None
            images = 0
            if (first := self._first_info(bag)) is not None:
                yield TimedMessage(0.0, first.topic, first.data)
            for message in bag.messages(self._inputs):
                start_ns = message.time_ns if start_ns is None else start_ns
                is_image = message.topic == self._recorded_topic
                if is_image and images == self._limit:
                    return
                images += is_image
                yield TimedMessage(
                    1e-9 * (message.time_ns - start_ns), self.image_topic if is_image else message.topic, message.data
                )

    def frames(self, stamps_ns: Collection[int]) -> Iterator[Frame]:
        """See ``Source``."""
        for pair in self._read(stamps_ns, {}):
            yield pair.frame

    def pairs(self, stamps_ns: Collection[int]) -> Iterator[Pair]:
        """See ``Source``."""
        matches: dict[int, int] = {}
        if self._depth_topic is not None:
            with Bag(self._path) as bag:
                references = [message.stamp_ns for message in bag.messages([self._depth_topic])]
            matches = match_stamps(stamps_ns, references, self._tolerance_ns)
        return self._read(stamps_ns, matches)

    @property
    def _inputs(self) -> list[str]:
        return [topic for topic in (self._recorded_topic, self.info_topic) if topic is not None]

    def _first_info(self, bag: Bag) -> BagMessage | None:
        return None if self.info_topic is None else next(bag.messages([self.info_topic]), None)

    def _read(self, stamps_ns: Collection[int], matches: dict[int, int]) -> Iterator[Pair]:
        """One pass through the bag; an image waits for a reference that was recorded after it, and a reference for its images."""
        waiting: list[Frame] = []
        references: dict[int, np.ndarray] = {}
        users = Counter(matches.values())

        def complete() -> Iterator[Pair]:
            while waiting and (stamp := matches.get(waiting[0].stamp_ns)) in (None, *references):
                frame = waiting.pop(0)
                yield Pair(frame) if stamp is None else Pair(frame, references[stamp], stamp)
                if stamp is not None:
                    users[stamp] -= 1
                    if not users[stamp]:
                        del references[stamp]

        with Bag(self._path) as bag:
            first = self._first_info(bag)
            info = None if first is None else deserialize(first.data, INFO_TYPE)
            image_type = bag.msgtype(self._recorded_topic, (IMAGE_TYPE, COMPRESSED_TYPE))
            for message in bag.messages([*self._inputs, *([self._depth_topic] if matches and self._depth_topic else [])]):
                if message.topic == self.info_topic:
                    info = deserialize(message.data, INFO_TYPE)
                elif message.topic == self._depth_topic:
                    if users[message.stamp_ns]:
                        references[message.stamp_ns] = depth_image(message.data)
                elif message.stamp_ns in stamps_ns:
                    image = decode(deserialize(message.data, image_type))
                    camera = _camera(info, image.shape[1], image.shape[0])
                    waiting.append(Frame(image, message.stamp_ns, camera=camera))
                yield from complete()


def _frame_id(bag: Bag, topic: str) -> str:
    first = next(bag.messages([topic]))
    return str(deserialize(first.data, bag.topics[topic].msgtype).header.frame_id)


def _require_reference(bag: Bag, image_topic: str, depth_topic: str) -> None:
    """Raises BagError where the first messages show that the one is no depth of the other: before the run rather than after it."""
    reference = depth_image(next(bag.messages([depth_topic])).data)
    try:
        image = decode(deserialize(next(bag.messages([image_topic])).data, bag.topics[image_topic].msgtype))
    except ImageError:  # the node will count it, and others may be sound
        return
    require_same_view((image.shape[0], image.shape[1]), (reference.shape[0], reference.shape[1]))


def _camera(info: CameraInfo | None, width: int, height: int) -> Camera | None:
    """None where there is no usable calibration: the node says so in its log, and goes on without."""
    try:
        return None if info is None else camera_from_info(info, width, height)
    except CameraError:
        return None
