"""A run as a short moving picture: the camera, its coarse and its refined depth, and a flight through the refined cloud.

First the whole frames, one after the other; then the three pictures close in together on the place where refinement gained most,
stay there, and go back. It ends as it begins, so that it can be shown over and over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.evaluation.report.comparison import Window
from depth_retrofit_ros.evaluation.report.fly_through import FlyThrough
from depth_retrofit_ros.io.color_map import colorize, depth_range
from depth_retrofit_ros.pointcloud.organized import make_cloud

FPS = 12
VIEW_S, WHOLE_S = 0.35, 1.5  # how long a frame is seen; how long the whole frames are, at least
ZOOM_S, STAY_S = 1.5, 3.5
PANEL_WIDTH = 478  # two and a gap are 960: small enough for a README, large enough to read
GAP = 4
CLOUD_COLUMNS = 1280  # of the cloud at most
TITLES = ("camera", "flight through the refined cloud", "coarse depth, stretched", "refined depth")


@dataclass(frozen=True, slots=True)
class Shot:
    """One answered frame: image ``uint8 [H, W, 3]`` RGB, coarse depth stretched to its size, refined depth ``float32 [H, W]``."""

    image: np.ndarray
    coarse: np.ndarray
    refined: np.ndarray


class MovingPicture:
    """shots: in the order of the camera's way, all of one size. closest: number of the shot that is looked at from near, at its
    ``window``. camera: the intrinsics at that size; None where they are not known, which leaves the flight out.

    Colors of coarse and refined depth are the same, and span the refined depth of what is seen.
    """

    def __init__(self, shots: Sequence[Shot], closest: int, window: Window, camera: Camera | None) -> None:
        self._shots, self._closest, self._window = shots, closest, window
        shot = shots[closest]
        self._height, self._width = shot.refined.shape
        panel = min(PANEL_WIDTH, self._width)
        self.panel = panel, max(1, round(self._height * panel / self._width))
        """Width and height of each of the four [px]."""
        self._whole_range = depth_range(shot.refined) or (1.0, 2.0)
        self._near_range = depth_range(shot.refined[window]) or self._whole_range
        self._flight: FlyThrough | None = None
        if camera is not None:
            stride = max(1, math.ceil(self._width / CLOUD_COLUMNS))
            self._flight = FlyThrough(make_cloud(shot.refined, shot.image, camera, stride), camera, self.panel)
        self._moments = list(_moments(len(shots), closest))
        self._still: dict[tuple[int, float], list[np.ndarray]] = {}

    def __len__(self) -> int:
        """How many frames it has, ``FPS`` a second."""
        return len(self._moments)

    @property
    def has_flight(self) -> bool:
        """Whether there is a cloud to fly through; without one, three panels are shown."""
        return self._flight is not None

    def __iter__(self) -> Iterator[np.ndarray]:
        """The frames, ``uint8 [h, w, 3]`` RGB of one even size."""
        for number in range(len(self)):
            yield self.frame(number)

    def frame(self, number: int) -> np.ndarray:
        """That of this number, from 0 on."""
        camera, coarse, refined = self.panels(number)
        flight = None if self._flight is None else self._flight.picture(number / len(self))
        shown = [camera, flight, coarse, refined] if flight is not None else [camera, coarse, refined]
        titles = TITLES if flight is not None else (TITLES[0], *TITLES[2:])
        titled = [_titled(panel, title) for panel, title in zip(shown, titles, strict=True)]
        rows = [titled[:2], titled[2:]] if flight is not None else [titled]
        picture = _stacked([_stacked(row, 1) for row in rows], 0)
        return np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), mode="edge")

    def panels(self, number: int) -> list[np.ndarray]:
        """Camera, coarse and refined depth of that frame, each of the size ``panel``, without titles."""
        shot, closeness = self._moments[number]
        key = shot, closeness
        if closeness not in (0.0, 1.0):
            return self._seen(*key)
        if key not in self._still:
            self._still[key] = self._seen(*key)
        return self._still[key]

    def _seen(self, number: int, closeness: float) -> list[np.ndarray]:
        shot, part = self._shots[number], self._part(closeness)
        step = max(1, (part[1].stop - part[1].start) // (2 * self.panel[0]))  # colors are averaged, depth is not
        thin = slice(part[0].start, part[0].stop, step), slice(part[1].start, part[1].stop, step)
        near_far = _between(self._whole_range, self._near_range, closeness)
        pictures = [shot.image[part], *(colorize(depth[thin], near_far) for depth in (shot.coarse, shot.refined))]
        panels = [_resized(picture, self.panel) for picture in pictures]
        if closeness < 1.0:
            for panel in panels:
                self._outline(panel, part)
        return panels

    def _part(self, closeness: float) -> Window:
        """What is seen: all at 0, the window at 1, in between so that nothing moves but towards it."""
        sides = zip(self._window, (self._height, self._width), strict=True)
        (top, bottom), (left, right) = (_closing_in(side, whole, closeness) for side, whole in sides)
        return slice(top, bottom), slice(left, right)

    def _outline(self, panel: np.ndarray, part: Window) -> None:
        """Of the window, as it lies in what is seen."""
        (rows, columns), scale = self._window, self.panel[0] / (part[1].stop - part[1].start)
        corners = [
            (round((x - part[1].start) * scale), round((y - part[0].start) * scale))
            for x, y in ((columns.start, rows.start), (columns.stop, rows.stop))
        ]
        for color, thickness in (((0, 0, 0), 4), ((255, 255, 255), 2)):
            cv2.rectangle(panel, corners[0], corners[1], color, thickness)


def _moments(count: int, closest: int) -> Iterator[tuple[int, float]]:
    """(shot, closeness 0…1) of each frame: the shots forth and back, ending with the closest one; in, there, and out."""
    views = 2 * (count - 1) + 1
    whole = round(FPS * max(WHOLE_S, VIEW_S * views))
    for i in range(whole):
        yield _forth_and_back(closest + (whole - 1 - i) * views // whole, count), 0.0
    zoom, stay = round(FPS * ZOOM_S), round(FPS * STAY_S)
    ways = [(i + 1) / (zoom + 1) for i in range(zoom)]
    for way in (*ways, *([1.0] * stay), *reversed(ways)):
        yield closest, 0.5 - 0.5 * math.cos(math.pi * way)


def _forth_and_back(number: int, count: int) -> int:
    """0, 1, …, count − 1, count − 2, …, 1, 0, 1, …"""
    if count == 1:
        return 0
    place = number % (2 * (count - 1))
    return min(place, 2 * (count - 1) - place)


def _closing_in(side: slice, whole: int, closeness: float) -> tuple[int, int]:
    """From where to where of ``whole`` pixels is seen: the size shrinks by the same factor each moment."""
    share = (side.stop - side.start) / whole
    if share >= 1.0:
        return 0, whole
    seen = share**closeness
    start = round(side.start * (1 - seen) / (1 - share))
    return start, min(whole, start + max(1, round(whole * seen)))


def _between(one: tuple[float, float], other: tuple[float, float], share: float) -> tuple[float, float]:
    """Depths of warmest and coldest color on the way from one range to the other."""
    near, far = (math.exp((1 - share) * math.log(a) + share * math.log(b)) for a, b in zip(one, other, strict=True))
    return near, far


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A copy of this (width, height)."""
    if (picture.shape[1], picture.shape[0]) == size:
        return picture.copy()
    shrinks = picture.shape[1] > size[0]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


def _titled(panel: np.ndarray, title: str) -> np.ndarray:
    """With the title on a dark label in the upper left corner."""
    out, font = panel.copy(), cv2.FONT_HERSHEY_SIMPLEX
    scale = panel.shape[1] / 640
    thickness = max(1, round(2 * scale))
    (width, height), _ = cv2.getTextSize(title, font, scale, thickness)
    margin = round(12 * scale)
    label = out[: height + 3 * margin, : width + 2 * margin]
    label //= 4
    cv2.putText(out, title, (margin, height + margin), font, scale, (255, 255, 255), thickness, cv2.LINE_AA)
    return out


def _stacked(parts: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """One after the other, with a white gap between them."""
    shape = list(parts[0].shape)
    shape[axis] = GAP
    gap = np.full(shape, 255, np.uint8)
    spaced = [part for each in parts for part in (gap, each)]
    return np.concatenate(spaced[1:], axis=axis)
