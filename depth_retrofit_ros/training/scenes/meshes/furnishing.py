"""Furniture in a room: what belongs to which kind of room, along walls, in groups, on tables, on walls, at the ceiling."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.training.scenes.meshes.catalogue import Model
from depth_retrofit_ros.training.scenes.meshes.inventory import (
    CEILING,
    FLOOR,
    KINDS,
    ON_WALLS,
    SEATS,
    SMALL,
    TABLES,
    USUAL_AREA,
)
from depth_retrofit_ros.training.scenes.meshes.library import ModelLibrary
from depth_retrofit_ros.training.scenes.meshes.obj import Mesh
from depth_retrofit_ros.training.scenes.meshes.palette import Palette, place
from depth_retrofit_ros.training.scenes.meshes.placing import Floor, Footprint, facing, rests
from depth_retrofit_ros.training.scenes.meshes.shell import Span, Wall
from depth_retrofit_ros.training.scenes.scene import rotation_ypr

MOST_TRIANGLES = 700_000  # triangles of a scene: beyond them no more things are added


class Furnisher:
    """Places models in one room; nothing overlaps."""

    def __init__(self, palette: Palette, library: ModelLibrary, walls: list[Wall], floor: Floor, height: float) -> None:
        self.palette = palette
        self.library = library
        self.walls = walls
        self.floor = floor
        self.height = height
        self.rng = palette.rng
        self.builder = palette.builder

    def furnish(self, kind: str) -> None:
        """All of a kind of room."""
        rng = self.rng
        if kind in ("dining", "kitchen") or rng.random() < 0.35:
            self.table_and_chairs()
        share = self.floor.width * self.floor.depth / USUAL_AREA
        for group in KINDS[kind]:
            models = self.library.matching(group.pattern)
            for _ in range(round(rng.integers(group.least, group.most + 1) * max(1.0, share)) if models else 0):
                self.along_wall(models[rng.integers(len(models))], group.load)
        if kind == "living":
            self.coffee_table()
        for _ in range(round(rng.integers(2, 6) * max(1.0, share))):
            self.somewhere(FLOOR)
        if rng.random() < 0.3:
            self.somewhere("(Male|Female|Boy|Girl|Holding .*|Mannequin.*|Chicken)")
        self.rug()
        for _ in range(rng.integers(3, 12)):
            self.on_wall()

    def pick(self, pattern: str, low: tuple[float, ...] = (), high: tuple[float, ...] = ()) -> Model | None:
        """A model whose name fits, if there is one and the scene has room for its triangles."""
        models = self.library.matching(pattern, low=low, high=high)
        return models[self.rng.integers(len(models))] if models else None

    def along_wall(self, model: Model, load: str = "") -> bool:
        """With its back to a wall, not before a window that it would cover."""
        rng = self.rng
        width, height, depth = model.size
        bottom = model.elevation
        if bottom + height > self.height - 0.02:
            return False
        for _ in range(14):
            wall = self.walls[rng.integers(4)]
            if wall.length < width + 0.1:
                continue
            start = float(rng.uniform(0.03, wall.length - width - 0.03))
            start = self._beside(wall, start, width)
            span = Span(start, start + width, bottom, bottom + height)
            if not wall.free(span):
                continue
            at = wall.point(start + width / 2, bottom, depth / 2 + 0.02 + rng.exponential(0.02))
            if self._put(model, at, wall.yaw, load):
                wall.spans.append(span)
                return True
        return False

    def _beside(self, wall: Wall, start: float, width: float) -> float:
        """Often flush with something that already stands there: rows of cabinets, a table beside a bed."""
        low = [s for s in wall.spans if s.bottom < 0.3 and not s.hole]
        if not low or self.rng.random() < 0.4:
            return start
        span = low[self.rng.integers(len(low))]
        return span.stop + 0.06 if self.rng.random() < 0.5 else span.start - width - 0.06

    def somewhere(self, pattern: str) -> bool:
        """Free on the floor, at any angle."""
        model = self.pick(pattern)
        if model is None or model.size[1] > self.height - 0.1:
            return False
        for _ in range(10):
            at = np.array([self.rng.uniform(-0.5, 0.5) * self.floor.width, 0, self.rng.uniform(0.05, 1) * self.floor.depth])
            if self._put(model, at, float(self.rng.uniform(0, 2 * np.pi)), ""):
                return True
        return False

    def coffee_table(self) -> None:
        """Before something to sit on, if there is room."""
        model = self.pick("(Coffee table|Glass table|Table|Black table|Puff)", high=(1.6, 0.6, 1.2))
        if model:
            for _ in range(12):
                wall = self.walls[self.rng.integers(4)]
                seats = [s for s in wall.spans if s.stop - s.start > 1.3 and s.bottom < 0.05 and s.top < 1.1]
                if seats:
                    middle = (seats[0].start + seats[0].stop) / 2
                    at = wall.point(middle, 0, 1.1 + self.rng.uniform(0.1, 0.5) + model.size[2] / 2)
                    if self._put(model, at, wall.yaw + self.rng.normal(0, 0.04), "table"):
                        return

    def table_and_chairs(self) -> None:
        """A table with chairs drawn up to it."""
        rng = self.rng
        table = self.pick(TABLES, low=(0.6, 0.6, 0.5), high=(2.6, 0.95, 1.6))
        chair = self.pick(SEATS, low=(0.3, 0.6, 0.3), high=(0.75, 1.3, 0.75))
        if table is None:
            return
        for _ in range(12):
            room = np.array([self.floor.width / 2 - 1.0, self.floor.depth / 2 - 1.0])
            if (room < 0).any():
                return
            at = np.array([rng.uniform(-room[0], room[0]), 0, self.floor.depth / 2 + rng.uniform(-room[1], room[1])])
            yaw = float(rng.choice([0, np.pi / 2])) + float(rng.normal(0, 0.03))
            if self._put(table, at, yaw, "table", more=3):
                break
        else:
            return
        if chair is None:
            return
        turn = rotation_ypr(yaw, 0, 0)
        for side in (np.array([0, 0, -1.0]), np.array([0, 0, 1.0]), np.array([1.0, 0, 0]), np.array([-1.0, 0, 0])):
            along = np.array([side[2], 0, side[0]])
            reach = table.size[0] if abs(side[2]) else table.size[2]
            out = (table.size[2] if abs(side[2]) else table.size[0]) / 2
            count = int(reach // (chair.size[0] + 0.12))
            for i in range(count):
                if rng.random() < 0.85:
                    away = out + chair.size[2] / 2 + rng.uniform(0.01, 0.2)
                    spot = at + turn @ (away * side + ((i + 0.5) / count - 0.5) * reach * along)
                    look = -(turn @ side)
                    self._put(chair, spot, facing(look[[0, 2]]) + float(rng.normal(0, 0.12)), "seat" if rng.random() < 0.1 else "")

    def rug(self) -> None:
        """Up to two, under whatever stands there."""
        rng = self.rng
        for _ in range(int(rng.choice([0, 1, 2], p=[0.35, 0.5, 0.15]))):
            paint = self.palette.paint("rug", own=True)
            half = np.array([rng.uniform(0.4, 1.3), rng.uniform(0.35, 1.0)])
            half = np.minimum(half, [self.floor.width / 2 - 0.1, self.floor.depth / 2 - 0.1])
            x, z = rng.uniform(-1, 1) * (self.floor.width / 2 - half[0]), rng.uniform(half[1], self.floor.depth - half[1])
            y = -0.006 - 0.002 * rng.random()
            corner = np.array([x - half[0], y, z - half[1]])
            self.builder.quad(corner, np.array([2 * half[0], 0, 0]), np.array([0, 0, 2 * half[1]]), paint, fit=True)

    def on_wall(self) -> None:
        """A picture in a frame, or a model that hangs on walls."""
        rng = self.rng
        wall = self.walls[rng.integers(4)]
        model = self.pick(ON_WALLS, high=(1.4, 1.2, 0.6)) if rng.random() < 0.45 else None
        size = (model.size[0], model.size[1]) if model else (rng.uniform(0.2, 0.9), rng.uniform(0.2, 0.8))
        low = model.elevation if model and model.elevation > 0.2 else rng.uniform(1.2, 1.7)
        if low + size[1] > self.height - 0.1 or wall.length < size[0] + 0.3:
            return
        start = float(rng.uniform(0.1, wall.length - size[0] - 0.1))
        span = Span(start, start + size[0], low, low + size[1])
        if not wall.free(span):
            return
        wall.spans.append(span)
        middle = (span.start + span.stop) / 2
        if model:
            at = wall.point(middle, low, model.size[2] / 2 + 0.003)
            self.floor.taken.append(Footprint(at[0], at[2], size[0] / 2, model.size[2] / 2, wall.yaw, low, span.top))
            place(self.palette, self.library, model, at, wall.yaw)
            return
        self._picture(wall, span)

    def _picture(self, wall: Wall, span: Span) -> None:
        rng, frame = self.rng, self.palette.paint("wood" if self.rng.random() < 0.6 else "metal")
        half, thick, edge = (span.stop - span.start) / 2, rng.uniform(0.008, 0.02), rng.uniform(0.012, 0.04)
        high, middle = (span.top - span.bottom) / 2, (span.start + span.stop) / 2
        center = (span.bottom + span.top) / 2
        for side in (-1, 1):
            self.builder.box(wall.point(middle, center + side * (high - edge), thick), (half, edge, thick), frame, wall.yaw)
            upright = (edge, high - 2 * edge, thick)
            self.builder.box(wall.point(middle + side * (half - edge), center, thick), upright, frame, wall.yaw)
        corner = wall.point(span.start + edge, span.bottom + edge, thick * 0.8)
        inner = (2 * (half - edge) * wall.along, 2 * (high - edge) * np.array([0, -1.0, 0]))
        self.builder.quad(corner, *inner, self.palette.paint("picture", own=True), fit=True)

    def lamps(self) -> list[np.ndarray]:
        """Hang lamps from the ceiling; returns where their light is."""
        rng, found = self.rng, []
        model = self.pick(CEILING, high=(2.0, min(1.7, self.height - 1.9), 2.0))
        if model is None:
            return []
        for _ in range(int(rng.integers(1, 4))):
            half = np.array([model.size[0], model.size[2]]) / 2
            x = rng.uniform(-0.35, 0.35) * self.floor.width
            z = rng.uniform(0.2, 0.85) * self.floor.depth
            box = Footprint(x, z, half[0], half[1], 0.0, self.height - model.size[1], self.height)
            if self.floor.take(box):
                place(self.palette, self.library, model, np.array([x, -self.height + model.size[1] + 0.002, z]), 0.0)
                found.append(np.array([x, -self.height + model.size[1] + 0.2, z]))  # below its shade
        return found

    def _put(self, model: Model, at: np.ndarray, yaw: float, load: str, more: int = 0) -> bool:
        if self.builder.triangles > MOST_TRIANGLES:
            return False
        bottom = float(-at[1])
        box = Footprint(at[0], at[2], model.size[0] / 2, model.size[2] / 2, yaw, bottom, bottom + model.size[1])
        if not self.floor.take(box):
            return False
        place(self.palette, self.library, model, at, yaw)
        if load:
            self._load(self.library.mesh(model), at, yaw, load, more)
        return True

    def _load(self, host: Mesh, at: np.ndarray, yaw: float, load: str, more: int) -> None:
        """Small things on a model, wherever it has a level face with room above."""
        rng = self.rng
        count = rng.integers(0, 2) if load == "seat" else rng.integers(1, 6) + more
        on: list[Footprint] = []
        turn = rotation_ypr(yaw, 0, 0)
        for _ in range(count):
            model = self.pick(SMALL[load], high=(0.6, 0.75, 0.6))
            if model is None or self.builder.triangles > MOST_TRIANGLES:
                continue
            own = float(rng.normal(0, 0.5))
            reach = abs(np.cos(own)), abs(np.sin(own))
            half = (
                (model.size[0] * reach[0] + model.size[2] * reach[1]) / 2,
                (model.size[0] * reach[1] + model.size[2] * reach[0]) / 2,
            )
            spot = rests(host, rng, half, model.size[1])
            if spot is None:
                continue
            box = Footprint(spot[0], spot[2], half[0], half[1], 0.0, -spot[1], -spot[1] + model.size[1])
            if any(box.overlaps(other) for other in on):
                continue
            on.append(box)
            place(self.palette, self.library, model, at + turn @ spot, yaw + own)
