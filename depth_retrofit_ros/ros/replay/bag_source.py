"""A recorded bag as a source: images, camera_info, and a depth topic as reference."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from sensor_msgs.msg import CameraInfo

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import BagError, CameraError, ImageError
from depth_retrofit_ros.evaluation.data.bag import (
    COMPRESSED_TYPE,
    IMAGE_TYPE,
    INFO_TYPE,
    TF_TYPE,
    Bag,
    BagMessage,
    deserialize,
    relabeled,
)
from depth_retrofit_ros.evaluation.data.depth_messages import DEPTH_TYPES, depth_image
from depth_retrofit_ros.evaluation.data.registration import require_same_view
from depth_retrofit_ros.evaluation.data.storage import FROM_THE_START
from depth_retrofit_ros.evaluation.data.topics import COMPRESSED, IMAGE_TYPES, find_image_topic, find_info_topic
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.lens import Rectification
from depth_retrofit_ros.ros.messages.calibration import camera_from_info
from depth_retrofit_ros.ros.messages.images import decode
from depth_retrofit_ros.ros.messages.rectification import RECTIFIED, Rectifier, named_kind
from depth_retrofit_ros.ros.node.camera_infos import CameraInfos
from depth_retrofit_ros.ros.node.tf_listener import TF, TF_STATIC
from depth_retrofit_ros.ros.replay.bag_parts import BagPart, divided
from depth_retrofit_ros.ros.replay.player import TimedMessage
from depth_retrofit_ros.ros.replay.references import References
from depth_retrofit_ros.ros.replay.sources import Pair

NO_TOPIC = "none"
RAW_COUNTS = "16UC1"  # of thermal and infrared cameras; of most others, depth
LONGEST_GAP_S = 30.0  # between two messages in real time: a recording that was paused, or one wrong clock, is not waited for


class BagSource:
    """A bag's image topic (raw or compressed), its camera_info and, as reference, a depth topic aligned to it. Raises BagError.

    image_topic: None for the only one. info_topic: None for the one beside the images, ``none`` for none. tolerance_s: how far the
    stamp of a reference may be from its image's. limit: take only so many images, from the first on. rectify: as the node does it;
    a reference is then rectified with its image, unless its topic's name says that it is. transforms: whether TF comes along.
    """

    def __init__(
        self,
        path: Path,
        image_topic: str | None = None,
        info_topic: str | None = None,
        depth_topic: str | None = None,
        tolerance_s: float = 0.02,
        limit: int | None = None,
        rectify: str = "auto",
        transforms: bool = False,
    ) -> None:
        self._path = path
        self._limit = limit
        self._rectify, self._rectifier = rectify, Rectifier()
        self._depth_topic = depth_topic
        self._remarks: dict[str, None] = {}  # in order, each once
        with Bag(path) as bag:
            depth_type = None if depth_topic is None else bag.msgtype(depth_topic, DEPTH_TYPES)
            self._recorded_topic = image_topic or find_image_topic(bag)
            self._image_type = bag.msgtype(self._recorded_topic, IMAGE_TYPES)
            self._raw_counts = self._image_type == IMAGE_TYPE and _encoding(bag, self._recorded_topic) == RAW_COUNTS
            if self._raw_counts:
                self._note([f"{RAW_COUNTS} images on {self._recorded_topic} are taken for mono16: the topic was asked for"])
            self.info_topic = self._found_info(bag) if info_topic is None else self._named_info(bag, info_topic)
            self._references: References | None = None
            self._reference_told: str | None = None
            if depth_topic is not None and depth_type is not None:
                self._require_reference(bag, depth_topic, depth_type)
                self._references = References(path, self._recorded_topic, depth_topic, depth_type, round(1e9 * tolerance_s), limit)
                self._reference_told = self._told(bag, depth_topic, tolerance_s)
            self._tf_topics = [name for name in (TF, TF_STATIC) if transforms and name in bag.topics]
            for name in self._tf_topics:
                bag.msgtype(name, (TF_TYPE,))
            if transforms and not self._tf_topics:
                raise BagError(f"{path.name} has neither {TF} nor {TF_STATIC}: leave --motion-frame out, or record them")
            self.duration_s = bag.duration_s
            self._note(bag.problems)
        # The node adds the transport's suffix to the image topic, as image_transport does; a recorder may have left it out.
        compressed = self._image_type == COMPRESSED_TYPE
        self.image_topic = f"{self._recorded_topic.removesuffix(COMPRESSED)}{COMPRESSED}" if compressed else self._recorded_topic
        self.types = {self.image_topic: self._image_type} | ({} if self.info_topic is None else {self.info_topic: INFO_TYPE})
        self.types |= dict.fromkeys(self._tf_topics, TF_TYPE)

    @property
    def described(self) -> str:
        """See ``Source``."""
        count = "" if self._limit is None else f", the first {self._limit} images"
        return f"{self._path.name}, {self._recorded_topic}, camera_info: {self.info_topic or 'none'}{count}"

    @property
    def reference(self) -> str | None:
        """See ``Source``."""
        return self._reference_told

    @property
    def remarks(self) -> list[str]:
        """See ``Source``."""
        return [*self._remarks, *(self._references.remarks if self._references is not None else ())]

    def parts(self, seconds: float, warm: int = 0) -> list[BagPart]:
        """Its images in parts of so many seconds of recording, see ``bag_parts.divided``; reads all of it once, and
        notes what ``stream`` would."""

        def inputs() -> Iterator[tuple[BagMessage, bool]]:
            images, before_ns = 0, None
            with Bag(self._path) as bag:
                if (first := self._first_info(bag)) is not None:
                    yield first, False
                for message in bag.messages(self._inputs):
                    is_image = message.topic == self._recorded_topic
                    if is_image and images == self._limit:
                        break
                    images += is_image
                    if not is_image and self._info(message) is None:
                        continue
                    self._gap_s(0 if before_ns is None else message.time_ns - before_ns)
                    before_ns = message.time_ns
                    yield message, is_image
                self._note(bag.problems)

        return divided(inputs(), seconds, warm)

    def stream(self, part: BagPart | None = None) -> Iterator[TimedMessage]:
        """See ``Source``; the time is that of recording. The first camera_info goes ahead of everything, because a recorder may
        have written it just after the first image, and a camera that runs had sent many before. part: only that of it, and ahead of
        it the camera_info before it.
        """
        limit = self._limit if part is None else part.skipped + part.warm + part.count
        with Bag(self._path) as bag:
            before_ns: int | None = None
            at_s = 0.0
            images = 0
            if part is not None and self.info_topic is not None:
                yield from (TimedMessage(0.0, self.info_topic, data) for data in part.infos())
            elif (first := self._first_info(bag)) is not None:
                yield TimedMessage(0.0, first.topic, first.data)
            since_ns = FROM_THE_START if part is None else part.since_ns
            for message in bag.messages([*self._inputs, *self._tf_topics], since_ns):
                is_image = message.topic == self._recorded_topic
                if is_image and images == limit:
                    break
                if is_image and part is not None and images < part.skipped:
                    images += 1
                    continue
                if message.topic == self.info_topic and self._info(message) is None:
                    continue
                images += is_image
                at_s += 0.0 if before_ns is None else self._gap_s(message.time_ns - before_ns)
                before_ns = message.time_ns
                yield TimedMessage(at_s, *((self.image_topic, self._image(message)) if is_image else (message.topic, message.data)))
            self._note(bag.problems)

    def frames(self, numbers: Collection[int]) -> Iterator[tuple[int, Frame]]:
        """See ``Source``."""
        number = -1
        with Bag(self._path) as bag:
            infos = CameraInfos()
            if (first := self._first_info(bag)) is not None:
                infos.offer(deserialize(first.data, INFO_TYPE))
            for message in bag.messages(self._inputs):
                if message.topic == self.info_topic:
                    if (info := self._info(message)) is not None:
                        infos.offer(info)
                    continue
                number += 1
                if number not in numbers:
                    continue
                sent = deserialize(self._image(message), self._image_type)  # sound, for the node answered it
                yield number, self._frame(decode(sent), message.stamp_ns, infos.of(sent.header).info)

    def pairs(self, numbers: Collection[int]) -> Iterator[Pair]:
        """See ``Source``."""
        if self._references is None:
            for number, frame in self.frames(numbers):
                yield Pair(number, frame)
            return
        with self._references.opened(numbers) as reader:
            for number, frame in self.frames(numbers):
                found = reader.of(number, (frame.image.shape[0], frame.image.shape[1]))
                if (
                    found is not None
                    and isinstance(frame.optics, Rectification)
                    and named_kind(self._depth_topic or "") != RECTIFIED
                ):
                    found = found._replace(depth=frame.optics.depth(found.depth))
                yield Pair(number, frame) if found is None else Pair(number, frame, *found)

    def _frame(self, image: np.ndarray, stamp_ns: int, info: CameraInfo | None) -> Frame:
        """As the node makes it of an image and the camera_info that belongs to it; where it cannot use that, without a camera."""
        camera = _camera(info, image.shape[1], image.shape[0])
        if info is None or camera is None:
            return Frame(image, stamp_ns)
        try:
            how = self._rectifier.of(info, image.shape[1], image.shape[0], self._rectify, self.image_topic)
        except CameraError:
            return Frame(image, stamp_ns)
        return Frame(how.image(image), stamp_ns, camera=how.camera or camera, optics=how.optics)

    @property
    def _inputs(self) -> list[str]:
        return [topic for topic in (self._recorded_topic, self.info_topic) if topic is not None]

    def _found_info(self, bag: Bag) -> str | None:
        """Nobody asked for it: where none of it can be read, the images are used without."""
        topic = find_info_topic(bag, self._recorded_topic)
        if topic is None or _is_info(bag, topic):
            return topic
        self._note([f"camera_info on {topic} cannot be read: depth is relative"])
        return None

    def _named_info(self, bag: Bag, topic: str) -> str | None:
        """Raises BagError."""
        if topic == NO_TOPIC:
            return None
        bag.msgtype(topic, (INFO_TYPE,))
        if not _is_info(bag, topic):
            raise BagError(f"camera_info on {topic} cannot be read: choose another --info-topic, or {NO_TOPIC}")
        return topic

    def _first_info(self, bag: Bag) -> BagMessage | None:
        """The first that can be read."""
        return None if self.info_topic is None else next((m for m in bag.messages([self.info_topic]) if self._info(m)), None)

    def _image(self, message: BagMessage) -> bytes:
        """As it is played: the node takes nothing for an image that may be depth, but here the user asked for it by name."""
        return relabeled(message.data, RAW_COUNTS, "mono16") if self._raw_counts else message.data

    def _info(self, message: BagMessage) -> CameraInfo | None:
        """None where it cannot be read: that costs no image."""
        try:
            return deserialize(message.data, INFO_TYPE)
        except BagError:
            self._note([f"some camera_info on {self.info_topic} cannot be read and is left out"])
            return None

    def _gap_s(self, gap_ns: int) -> float:
        if gap_ns > 1e9 * LONGEST_GAP_S:
            self._note([f"where nothing was recorded for more than {LONGEST_GAP_S:.0f} s, real time waits no longer than that"])
        return max(0.0, min(1e-9 * gap_ns, LONGEST_GAP_S))

    def _note(self, lines: Collection[str]) -> None:
        self._remarks |= dict.fromkeys(lines)

    def _require_reference(self, bag: Bag, depth_topic: str, depth_type: str) -> None:
        """Raises BagError where the first sound messages show that one is no depth of the other: before the run, not after it."""
        reference = bag.first(depth_topic, lambda message: depth_image(message.data, depth_type))

        def sound(message: BagMessage) -> np.ndarray:
            try:
                return decode(deserialize(self._image(message), self._image_type))
            except ImageError as error:  # the node will count it, and others may be sound
                raise BagError(str(error)) from error

        try:
            image = bag.first(self._recorded_topic, sound)
        except BagError:
            return
        if isinstance(reference, np.ndarray) and isinstance(image, np.ndarray):
            require_same_view((image.shape[0], image.shape[1]), (reference.shape[0], reference.shape[1]))

    def _told(self, bag: Bag, depth_topic: str, tolerance_s: float) -> str:
        """The reference in words. Another frame_id makes it doubtful that it belongs to the images' pixels."""
        text = f"{depth_topic}, nearest stamp within {1e3 * tolerance_s:g} ms"
        image_frame, depth_frame = (_frame_id(bag, topic) for topic in (self._recorded_topic, depth_topic))
        if None not in (image_frame, depth_frame) and image_frame != depth_frame:
            text += f"; its frame_id is {depth_frame!r}, the images' {image_frame!r}: right only if it is registered to the images"
        return text


def _encoding(bag: Bag, topic: str) -> str | None:
    """Of the first sound image; None where none is."""
    try:
        return bag.first(topic, lambda message: str(deserialize(message.data, IMAGE_TYPE).encoding))  # type: ignore[return-value]
    except BagError:
        return None


def _is_info(bag: Bag, topic: str) -> bool:
    """Whether any of the first messages is a sound CameraInfo."""
    try:
        return bag.first(topic, lambda message: deserialize(message.data, INFO_TYPE)) is not None
    except BagError:
        return False


def _frame_id(bag: Bag, topic: str) -> str | None:
    """Of the first sound message; None where none is."""
    try:
        return bag.first(topic, lambda message: str(deserialize(message.data, bag.topics[topic].msgtype).header.frame_id))  # type: ignore[return-value]
    except BagError:
        return None


def _camera(info: CameraInfo | None, width: int, height: int) -> Camera | None:
    """None where there is no usable calibration: the node says so in its log, and goes on without."""
    try:
        return None if info is None else camera_from_info(info, width, height)
    except CameraError:
        return None
