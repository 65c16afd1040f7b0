"""The page: controls and a scene in viser's client. Knows nothing of ROS.

Pictures are each browser's own; budget and cloud are the same for all. viser calls back in threads of its own, where only a wish is
noted; everything else happens in the one thread that calls ``sync``.
"""

from __future__ import annotations

import html
import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from depth_retrofit_ros.ros.view.points import Extent, Points, extent

PICTURES = {"image": "Image", "depth": "Depth", "selection": "Refined pixels", "confidence": "Confidence"}
"""Picture → what the page calls it."""
SHOWN_FIRST = ("image", "depth")
POINTS_MOST = 200_000
POINTS_STEP = 5_000
_NOTHING = np.zeros((1, 1, 3), np.uint8)  # before the first picture, which shows it
_COLORS = {"ok": "#2f9e44", "warn": "#f08c00", "lost": "#e03131"}
_JPEG_QUALITY = 85
_CLOUD, _CAMERA = "/cloud", "/camera"
_PICTURES_WIDTH = 430.0  # of the panel with the pictures [px]
_FOV_DEG = 50.0
_BEHIND, _ASIDE, _ABOVE = 0.3, 0.2, 0.18  # the first look at the cloud, in its distances from the camera


@dataclass(slots=True)
class _Browser:
    """What one browser has of its own. boxes, images: by picture; seen: the pictures that it was sent; placed: whether it looks at
    the cloud already."""

    client: Any
    boxes: dict[str, Any] = field(default_factory=dict)
    images: dict[str, Any] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    placed: bool = False

    def wants(self, picture: str) -> bool:
        """Whether it shows it."""
        box = self.boxes[picture]
        return bool(box.visible and box.value is True)


class WebPage:
    """server: a ``viser.ViserServer``. points: of the cloud at first, at most ``POINTS_MOST``.

    browsers: how many are there, as of the last ``sync``. budget_wish: of a slider, until ``take_budget_wish``.
    """

    def __init__(self, server: Any, points: int) -> None:
        self._server = server
        self._browsers: dict[int, _Browser] = {}
        self._budget_wish: float | None = None
        self._offered: Collection[str] = tuple(PICTURES)
        self._cloud: Any = None
        self._camera: Any = None
        self._extent: Extent | None = None
        gui = server.gui
        gui.configure_theme(show_logo=False, show_share_button=False, control_width="medium", dark_mode=True)
        server.scene.set_up_direction("-y")  # of an optical frame: x to the right, y down, z forward
        server.initial_camera.fov = math.radians(_FOV_DEG)
        self._status = gui.add_html(status_html("lost", "starting"))
        self._budget = gui.add_slider("Budget", 0.0, 1.0, 0.01, 0.0, disabled=True, hint="share of the pixels that are refined")
        self._answer = gui.add_html("")
        self._points = gui.add_slider(
            "Points", 0, POINTS_MOST, POINTS_STEP, min(points, POINTS_MOST), hint="of the cloud at most; 0: no cloud"
        )
        self._size = gui.add_slider("Point size", 0.2, 4.0, 0.1, 1.5, hint="1: points at the cloud's median distance touch")
        self._budget.on_update(self._on_budget)

    @property
    def browsers(self) -> int:
        """How many are connected."""
        return len(self._browsers)

    @property
    def points(self) -> int:
        """How many the cloud may have."""
        return min(max(int(self._points.value), 0), POINTS_MOST)

    def sync(self) -> None:
        """Meet the browsers that came, forget those that went, and do what their controls say. To be called now and then."""
        clients = self._server.get_clients()
        for number in self._browsers.keys() - clients.keys():
            del self._browsers[number]
        for number in clients.keys() - self._browsers.keys():
            self._browsers[number] = self._meet(clients[number])
        for browser in self._browsers.values():
            for name, image in browser.images.items():
                image.visible = name in browser.seen and browser.wants(name)
        if self._cloud is not None:
            self._cloud.visible = self.points > 0
            self._cloud.point_size = self._point_size()

    def wants(self, name: str) -> bool:
        """Whether any browser shows this of ``PICTURES``, or ``points``."""
        if name == "points":
            return self.browsers > 0 and self.points > 0
        return any(browser.wants(name) for browser in self._browsers.values())

    def offer(self, pictures: Collection[str]) -> None:
        """Let these be chosen, and no others."""
        if set(pictures) != set(self._offered):
            self._offered = tuple(pictures)
            for browser in self._browsers.values():
                for name, box in browser.boxes.items():
                    box.visible = name in self._offered

    def show_picture(self, name: str, picture: np.ndarray) -> None:
        """picture: ``uint8 [h, w, 3]`` RGB, to the browsers that show it."""
        for browser in self._browsers.values():
            if browser.wants(name):
                browser.images[name].image = picture
                browser.images[name].visible = True
                browser.seen.add(name)

    def show_cloud(self, points: Points) -> None:
        """In place of the one before. A slow browser misses some."""
        found = extent(points)
        if found is not None and (self._extent is None or _differ(found, self._extent)):
            self._extent = found
            self._mark_camera(found)
        with self._server.atomic():
            if self._cloud is None:
                self._cloud = self._server.scene.add_point_cloud(
                    _CLOUD,
                    points.positions,
                    points.colors,
                    point_size=self._point_size(),
                    point_shape="circle",
                    point_shading="flat",
                    precision="float32",
                    visible=self.points > 0,
                )
            else:
                self._cloud.points, self._cloud.colors = points.positions, points.colors
        if found is not None:
            self._place(found)

    def tell(self, level: str, headline: str, lines: Collection[str] = ()) -> None:
        """The state of the node; any text is taken literally."""
        self._status.content = status_html(level, headline, lines)

    def tell_budget(self, value: float | None, answer: str, settled: bool) -> None:
        """value: what the node has, None where that is not known. settled: nobody is moving the slider."""
        self._budget.disabled = value is None
        if value is not None and settled and self._budget_wish is None and self._budget.value != value:
            self._budget.value = value
        self._answer.content = answer_html(answer)

    def take_budget_wish(self) -> float | None:
        """The newest since the last call, None where there is none."""
        wish, self._budget_wish = self._budget_wish, None
        return wish

    def _on_budget(self, event: Any) -> None:
        """In a thread of viser's. What the page itself sets has no client."""
        if event.client_id is not None:
            self._budget_wish = float(self._budget.value)

    def _meet(self, client: Any) -> _Browser:
        browser, gui = _Browser(client), client.gui
        panel = gui.add_panel()
        with panel.add_tab("Pictures"):
            for name, title in PICTURES.items():
                browser.boxes[name] = gui.add_checkbox(title, name in SHOWN_FIRST, visible=name in self._offered)
                browser.images[name] = gui.add_image(_NOTHING, format="jpeg", jpeg_quality=_JPEG_QUALITY, visible=False)
        panel.dock_left()
        panel.set_width(_PICTURES_WIDTH)
        browser.placed = self._extent is not None  # the initial camera looks at it
        return browser

    def _place(self, found: Extent) -> None:
        """Let the browsers that have seen no cloud yet look at this one."""
        for browser in self._browsers.values():
            if not browser.placed:
                browser.placed = True
                with browser.client.atomic():
                    browser.client.camera.position, browser.client.camera.look_at = first_look(found)

    def _mark_camera(self, found: Extent) -> None:
        """Where the camera is, what it sees, and from where the next browser looks at that."""
        self._server.initial_camera.position, self._server.initial_camera.look_at = first_look(found)
        self._camera = self._server.scene.add_camera_frustum(
            _CAMERA,
            fov=2 * math.atan(found.slopes[1]),
            aspect=found.slopes[0] / max(found.slopes[1], 1e-3),
            scale=0.04 * found.distance,
            thickness=1.5,
            thickness_units="screen",
            cast_shadow=False,
            color=(255, 0, 128),
        )

    def _point_size(self) -> float:
        size = float(self._size.value)
        spacing = self._extent.spacing if self._extent is not None else 0.01
        return spacing * (min(max(size, 0.2), 4.0) if math.isfinite(size) else 1.0)


def first_look(found: Extent) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """(position, what is looked at): from behind the camera, above it and to the side, so that depth is seen as depth."""
    distance = found.distance
    return (_ASIDE * distance, -_ABOVE * distance, -_BEHIND * distance), (0.0, 0.0, distance)


def status_html(level: str, headline: str, lines: Collection[str] = ()) -> str:
    """A dot in the level's color, a line, and small ones below it. Every text is escaped: it comes from the ROS graph."""
    dot = f'<span style="color:{_COLORS[level]}">●</span>'
    small = "".join(f'<div style="opacity:.75">{html.escape(line)}</div>' for line in lines)
    return f'<div style="font-size:.8em;padding:.4em .8em;overflow-wrap:anywhere">{dot} <b>{html.escape(headline)}</b>{small}</div>'


def answer_html(answer: str) -> str:
    """What became of the slider's wish, escaped as well."""
    return f'<div style="font-size:.75em;padding:0 1em .4em;opacity:.75">{html.escape(answer)}</div>' if answer else ""


def _differ(one: Extent, other: Extent) -> bool:
    """Whether a cloud is of another size or another lens: twice as far, or a tenth wider."""
    wider = max(abs(a - b) / max(a, b, 1e-6) for a, b in zip(one.slopes, other.slopes, strict=True))
    return wider > 0.1 or not 0.5 < one.distance / other.distance < 2.0
