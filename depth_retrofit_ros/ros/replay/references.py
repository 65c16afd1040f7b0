"""The depth images of a bag that belong to its images."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.bag import Bag, BagMessage
from depth_retrofit_ros.evaluation.data.depth_messages import depth_image
from depth_retrofit_ros.evaluation.data.registration import (
    Times,
    distances_ns,
    match_references,
    require_same_view,
    shared_stamps,
)


class Found(NamedTuple):
    """A reference ``float32 [h, w]`` m and its stamp [ns]."""

    depth: np.ndarray
    stamp_ns: int


class References:
    """Matches and reads them. remarks: what a reader of the figures must know, one line each."""

    def __init__(
        self, path: Path, image_topic: str, depth_topic: str, depth_type: str, tolerance_ns: int, limit: int | None
    ) -> None:
        self.remarks: list[str] = []
        self._path, self._image_topic, self._depth_topic, self._depth_type = path, image_topic, depth_topic, depth_type
        self._tolerance_ns = tolerance_ns
        self._limit = limit

    @contextmanager
    def opened(self, numbers: Collection[int]) -> Iterator[Reader]:
        """To read those of the images with these numbers (see ``Source``)."""
        with Bag(self._path) as bag:
            images = [_times(message) for message in islice(bag.messages([self._image_topic]), self._limit)]
            depths = [_times(message) for message in bag.messages([self._depth_topic])]
            matches = match_references(images, depths, self._tolerance_ns)
            self.remarks = list(self._told(images, depths, matches, numbers))
            reader = Reader(bag, self._depth_topic, self._depth_type, matches)
            yield reader
            if reader.unusable:
                count, reason = len(reader.unusable), reader.unusable[min(reader.unusable)]
                self.remarks.append(f"{count} depth images on {self._depth_topic} are no reference ({reason})")

    def _told(self, images: list[Times], depths: list[Times], matches: dict[int, int], numbers: Collection[int]) -> Iterator[str]:
        if shared := shared_stamps(images):
            yield f"{shared} images have the stamp of another one: their depth on {self._depth_topic} was matched by order and time"
        missing = [number for number in numbers if number not in matches]
        distances = distances_ns([images[number] for number in missing], depths)
        if distances:
            nearest_s = 1e-9 * min(distances)
            within = f"within {1e3 * 1e-9 * self._tolerance_ns:g} ms (--tolerance)"
            remedy = f"the nearest is {1e3 * nearest_s:.3g} ms away"
            if min(distances) > self._tolerance_ns:
                remedy += f": if it belongs to the image all the same, give --tolerance {_a_little_more(nearest_s):g}"
            yield f"{len(missing)} of {len(numbers)} images have no depth on {self._depth_topic} {within}; {remedy}"


class Reader:
    """Goes through the depth topic beside the images. unusable: number of a depth image → why it cannot be compared with."""

    def __init__(self, bag: Bag, topic: str, msgtype: str, matches: dict[int, int]) -> None:
        self.unusable: dict[int, str] = {}
        self._bag, self._topic, self._type, self._matches = bag, topic, msgtype, matches
        self._messages = iter(enumerate(bag.messages([topic])))
        self._at = -1
        self._found: Found | None = None

    def of(self, number: int, size: tuple[int, int]) -> Found | None:
        """The reference of this image of ``size`` (H, W); None where it has none that can be read and shows the same view."""
        place = self._matches.get(number)
        if place is None:
            return None
        if place != self._at:
            self._go_to(place)
        if self._found is None:
            return None
        try:
            require_same_view(size, (self._found.depth.shape[0], self._found.depth.shape[1]))
        except BagError as error:
            self.unusable[place] = str(error)
            return None
        return self._found

    def _go_to(self, place: int) -> None:
        """One pass serves references in the order of their images; one from before begins another."""
        if place < self._at:
            self._messages = iter(enumerate(self._bag.messages([self._topic])))
        message = next(message for at, message in self._messages if at == place)
        self._at, self._found = place, None
        try:
            self._found = Found(depth_image(message.data, self._type), _times(message).stamp_ns)
        except BagError as error:
            self.unusable[place] = str(error)


def _times(message: BagMessage) -> Times:
    """The time of recording twice where there is no stamp to be read: the message keeps its place."""
    try:
        return Times(message.stamp_ns, message.time_ns)
    except BagError:
        return Times(message.time_ns, message.time_ns)


def _a_little_more(seconds: float) -> float:
    """Three digits, rounded up with room for jitter: 0.03 → 0.033."""
    return float(f"{1.1 * seconds:.3g}")
