"""Which reference depth belongs to which image, and both on one grid."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from depth_retrofit_ros.errors import BagError

SAME_VIEW = 0.01  # relative difference of the aspect ratios that rounding a size to whole pixels explains


class Times(NamedTuple):
    """Of a recorded message [ns]: its header stamp, and when the recorder received it."""

    stamp_ns: int
    recorded_ns: int


def match_references(images: Sequence[Times], references: Sequence[Times], tolerance_ns: int) -> dict[int, int]:
    """Place of an image → place of its reference, both in the order of recording; images without one are left out.

    The reference is that of the nearest stamp within the tolerance, the earlier of two that are equally near; one may serve two
    images, where references come at a lower rate. Where several images share a stamp, that cannot tell: their references are taken
    by order if as many share the nearest stamp, else by the times of recording.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for place, image in enumerate(images):
        groups[image.stamp_ns].append(place)
    by_stamp: dict[int, list[int]] = defaultdict(list)
    for place, reference in enumerate(references):
        by_stamp[reference.stamp_ns].append(place)
    stamps, recorded = sorted(by_stamp), sorted((reference.recorded_ns, place) for place, reference in enumerate(references))
    times = [time_ns for time_ns, _ in recorded]
    matches: dict[int, int] = {}
    for stamp, places in groups.items():
        nearest = _nearest(stamps, stamp)
        found = [] if nearest is None or abs(stamps[nearest] - stamp) > tolerance_ns else by_stamp[stamps[nearest]]
        if len(found) == len(places):
            matches |= dict(zip(places, found, strict=True))
        elif len(places) == 1:
            # Several references share this stamp: the one that was recorded with the image.
            matches |= {places[0]: _recorded_nearest(found, references, images[places[0]].recorded_ns)} if found else {}
        else:
            for place in places:
                at = _nearest(times, images[place].recorded_ns)
                if at is not None and abs(times[at] - images[place].recorded_ns) <= tolerance_ns:
                    matches[place] = recorded[at][1]
    return dict(sorted(matches.items()))


def shared_stamps(images: Sequence[Times]) -> int:
    """How many of them have the stamp of an earlier one."""
    return sum(count - 1 for count in Counter(image.stamp_ns for image in images).values())


def distances_ns(images: Sequence[Times], references: Sequence[Times]) -> list[int]:
    """From the stamp of each image to the nearest one of a reference [ns]; empty without any."""
    stamps = sorted({reference.stamp_ns for reference in references})
    return [abs(stamps[nearest] - image.stamp_ns) for image in images if (nearest := _nearest(stamps, image.stamp_ns)) is not None]


def _nearest(ordered: Sequence[int], value: int) -> int | None:
    """Place of the nearest of them, the lower of two; None without any."""
    place = bisect_left(ordered, value)
    near = range(max(0, place - 1), min(len(ordered), place + 1))
    return min(near, key=lambda at: abs(ordered[at] - value), default=None)


def _recorded_nearest(places: Sequence[int], references: Sequence[Times], recorded_ns: int) -> int:
    return min(places, key=lambda place: abs(references[place].recorded_ns - recorded_ns))


def on_grid(depth: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map [H, W] at the pixel centres of a ``height x width`` image of the same view: the pixel that each centre lies in.

    Depth is sampled, never averaged: between two surfaces there is none. Raises BagError where the views differ.
    """
    h, w = depth.shape
    if (h, w) == (height, width):
        return depth
    require_same_view((h, w), (height, width))
    return np.asarray(cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))


def require_same_view(image: tuple[int, int], reference: tuple[int, int]) -> None:
    """Raises BagError where these sizes (H, W) are not of one aspect ratio, so that one cannot be the other's view."""
    (h, w), (height, width) = image, reference
    if abs(width * h - w * height) > SAME_VIEW * width * h:
        raise BagError(f"the reference depth is {width}x{height}, the image {w}x{h}: give a depth topic aligned to the image")
