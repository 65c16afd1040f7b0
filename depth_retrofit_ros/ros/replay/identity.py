"""Which played image an answer belongs to. The node copies the stamp; where images share one, the order has to tell."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple


class Event(NamedTuple):
    """An image that was published, or an answer that arrived: its header stamp [ns], and when that was [ns, monotonic]."""

    stamp_ns: int
    at_ns: int


def tell_apart(images: Sequence[Event], answers: Sequence[Event]) -> list[int | None]:
    """For each answer the place of its image, None where several would do.

    Answers come in the order of their images, though some images have none. So each answer has an earliest possible image, if all
    before it belong to theirs as early as can be, and a latest one, if all behind it belong as late as can be, and none before the
    image was published. Where these are the same it is certain.
    """
    places: dict[int, list[int]] = defaultdict(list)
    for place, image in enumerate(images):
        places[image.stamp_ns].append(place)
    earliest, before = [], -1
    for answer in answers:
        same = places[answer.stamp_ns]
        at = bisect_right(same, before)
        earliest.append(same[at] if at < len(same) else None)
        before = before if at == len(same) else same[at]
    latest, behind = [], len(images)
    for answer in reversed(answers):
        same = places[answer.stamp_ns]
        at = bisect_left(same, behind) - 1
        while at >= 0 and images[same[at]].at_ns > answer.at_ns:
            at -= 1
        latest.append(same[at] if at >= 0 else None)
        behind = behind if at < 0 else same[at]
    return [early if early == late else None for early, late in zip(earliest, reversed(latest), strict=True)]
