"""The room itself: walls with openings, floor, ceiling, baseboards, windows, doors, curtains, and what is seen outside."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np

from depth_retrofit_ros.training.scenes.meshes.catalogue import Model
from depth_retrofit_ros.training.scenes.meshes.library import ModelLibrary
from depth_retrofit_ros.training.scenes.meshes.palette import Palette, place
from depth_retrofit_ros.training.scenes.meshes.placing import Floor, Footprint, facing
from depth_retrofit_ros.training.scenes.meshes.soup import Paint

UP = np.array([0.0, -1.0, 0.0])
GAP = 0.05  # m between an opening and its neighbours


@dataclass(slots=True)
class Span:
    """What takes a part of a wall: from, to along it; bottom, top above the floor [m]; hole: whether the wall is open there."""

    start: float
    stop: float
    bottom: float
    top: float
    hole: bool = False


@dataclass(slots=True)
class Wall:
    """origin: [3] of its lower left corner as seen from inside; along: unit; inward: unit normal; length, height m."""

    origin: np.ndarray
    along: np.ndarray
    inward: np.ndarray
    length: float
    height: float
    spans: list[Span] = field(default_factory=list)

    def point(self, along: float, above: float, out: float = 0.0) -> np.ndarray:
        """World [3] of a place on the wall, ``out`` m in front of it."""
        return self.origin + along * self.along + above * UP + out * self.inward

    def free(self, span: Span) -> bool:
        """Whether nothing is there and it is on the wall."""
        inside = span.start >= 0.02 and span.stop <= self.length - 0.02 and span.bottom >= -0.01 and span.top <= self.height - 0.02
        apart = all(
            span.stop + GAP <= o.start or o.stop + GAP <= span.start or span.top <= o.bottom or o.top <= span.bottom
            for o in self.spans
        )
        return inside and apart

    @property
    def yaw(self) -> float:
        """Of a model whose back is to the wall."""
        return facing(self.inward[[0, 2]])


def four_walls(width: float, depth: float, height: float) -> list[Wall]:
    """Those of a room from x = −width/2 to width/2 and z = 0 to depth, its floor at y = 0: back, right, front, left."""
    x = width / 2
    lines = (
        ((-x, depth), (1, 0), (0, -1), width),
        ((x, depth), (0, -1), (-1, 0), depth),
        ((x, 0.0), (-1, 0), (0, 1), width),
        ((-x, 0.0), (0, 1), (1, 0), depth),
    )
    return [
        Wall(np.array([o[0], 0.0, o[1]]), np.array([a[0], 0.0, a[1]]), np.array([n[0], 0.0, n[1]]), length, height)
        for o, a, n, length in lines
    ]


def fit_openings(
    palette: Palette, library: ModelLibrary, walls: list[Wall], floor: Floor, windows: int, doors: int
) -> list[tuple[Wall, Span]]:
    """Doors, and windows in their openings; returns the windows. In front of a door the floor is kept free."""
    rng = palette.rng
    door_models = library.matching("(Door|Exterior door|Double door.*|Glass door)", "Doors and windows", high=(2.2, 2.5, 0.4))
    window_models = library.matching(".*[Ww]indow.*", "Doors and windows", low=(0.5, 0.8, 0), high=(3.2, 2.6, 0.5))
    window_models = [m for m in window_models if "shutter" not in m.name and "blind" not in m.name]
    for _ in range(doors if door_models else 0):
        model, wall = door_models[rng.integers(len(door_models))], walls[rng.integers(4)]
        if span := _opening(rng, wall, model, 0.0):
            place(palette, library, model, wall.point((span.start + span.stop) / 2, 0, 0.0), wall.yaw)
            middle = wall.point((span.start + span.stop) / 2, 0, 0.45)
            floor.taken.append(Footprint(middle[0], middle[2], model.size[0] / 2, 0.45, wall.yaw, 0.0, 2.0))
    found = []
    for _ in range(windows if window_models else 0):
        model, wall = window_models[rng.integers(len(window_models))], walls[rng.integers(4)]
        sill = 0.0 if model.size[1] > 1.9 else float(rng.uniform(0.7, 1.0))
        sill = min(sill, wall.height - model.size[1] - 0.1)
        if sill >= 0 and (span := _opening(rng, wall, model, sill)):
            span.hole = True
            place(palette, library, model, wall.point((span.start + span.stop) / 2, sill, -model.size[2] / 2 + 0.02), wall.yaw)
            found.append((wall, span))
    return found


def _opening(rng: np.random.Generator, wall: Wall, model: Model, sill: float) -> Span | None:
    width, height = model.size[0], model.size[1]
    for _ in range(8):
        if wall.length < width + 0.2:
            return None
        start = float(rng.uniform(0.1, wall.length - width - 0.1))
        span = Span(start, start + width, sill, sill + height)
        if wall.free(span):
            wall.spans.append(span)
            return span
    return None


def build_shell(palette: Palette, walls: list[Wall], width: float, depth: float, height: float) -> None:
    """Floor, ceiling, walls around their holes, reveals, baseboards."""
    builder, rng = palette.builder, palette.rng
    floor = palette.paint(str(rng.choice(["parquet", "tiles", "fleece", "plaster"], p=[0.5, 0.2, 0.22, 0.08])))
    x = width / 2
    builder.quad(np.array([-x, 0, 0]), np.array([width, 0, 0]), np.array([0, 0, depth]), floor)
    builder.quad(np.array([-x, -height, 0]), np.array([width, 0, 0]), np.array([0, 0, depth]), palette.paint("ceiling"))
    common = _wall_paint(palette)
    reveal = palette.plain(0.75)
    base, base_height = palette.plain(float(rng.choice([0.75, 0.15]))), float(rng.uniform(0.05, 0.12))
    for wall in walls:
        paint = _wall_paint(palette) if rng.random() < 0.2 else common
        holes = [s for s in wall.spans if s.hole]
        pierced(palette, wall, holes, paint)
        for hole in holes:
            reveals(palette, wall, hole, reveal)
        edges = sorted([(s.start, s.stop) for s in wall.spans if s.bottom < 0.05])
        at = 0.0
        for start, stop in [*edges, (wall.length, wall.length)]:
            if start - at > 0.05:
                builder.box(
                    wall.point((at + start) / 2, base_height / 2, 0.007), ((start - at) / 2, base_height / 2, 0.007), base, wall.yaw
                )
            at = max(at, stop)
    if rng.random() < 0.25:  # beams
        beam, size = palette.paint("wood"), rng.uniform(0.05, 0.12)
        for z in np.arange(0.4, depth, rng.uniform(0.7, 1.4)):
            builder.box((0, -height + size, z), (x, size, size * 0.8), beam)


def _wall_paint(palette: Palette) -> Paint:
    return palette.paint(str(palette.rng.choice(["plaster", "wallpaper", "brick", "wood"], p=[0.62, 0.25, 0.08, 0.05])))


def pierced(palette: Palette, wall: Wall, holes: list[Span], paint: Paint) -> None:
    """The wall as rectangles between the edges of its holes."""
    columns = sorted({0.0, wall.length, *(v for h in holes for v in (h.start, h.stop))})
    rows = sorted({0.0, wall.height, *(v for h in holes for v in (h.bottom, h.top))})
    for left, right in itertools.pairwise(columns):
        for low, high in itertools.pairwise(rows):
            x, y = (left + right) / 2, (low + high) / 2
            if not any(h.start < x < h.stop and h.bottom < y < h.top for h in holes):
                corner, size = wall.point(left, low), (right - left) * wall.along
                palette.builder.wall_quad(corner, size, (high - low) * UP, paint, (left, low))


def reveals(palette: Palette, wall: Wall, hole: Span, paint: Paint) -> None:
    """The thickness of the wall around a hole, and a sill."""
    out = -0.25 * wall.inward
    along, up = (hole.stop - hole.start) * wall.along, (hole.top - hole.bottom) * UP
    corner = wall.point(hole.start, hole.bottom)
    for at, side in ((corner, along), (corner + up, along), (corner, up), (corner + along, up)):
        palette.builder.quad(at, side, out, paint)
    if hole.bottom > 0.2:
        middle = wall.point((hole.start + hole.stop) / 2, hole.bottom - 0.015, 0.03)
        palette.builder.box(middle, ((hole.stop - hole.start) / 2 + 0.05, 0.015, 0.09), paint, wall.yaw)


def dress_window(palette: Palette, wall: Wall, hole: Span) -> None:
    """Curtains at its sides, or a blind of slats before it, or nothing."""
    rng, builder = palette.rng, palette.builder
    kind = rng.choice(["curtains", "blind", "none"], p=[0.45, 0.25, 0.3])
    if kind == "curtains":
        paint = palette.paint("fabric")
        rail = min(hole.top + 0.12, wall.height - 0.03)
        metal = palette.plain(0.3, shine=0.3)
        ends = (max(hole.start - 0.3, 0.02), min(hole.stop + 0.3, wall.length - 0.02))
        builder.tube(np.stack([wall.point(ends[0], rail, 0.1), wall.point(ends[1], rail, 0.1)]), 0.01, metal)
        width = (hole.stop - hole.start) * rng.uniform(0.12, 0.35)
        foot = 0.03 if rng.random() < 0.6 or hole.bottom < 0.3 else hole.bottom - 0.15
        for side in (0, 1):
            start = ends[0] if side == 0 else ends[1] - width - 0.2
            _curtain(palette, wall, start, start + width + 0.2, foot, rail, paint)
    elif kind == "blind":
        paint = palette.plain(float(rng.uniform(0.4, 0.8)))
        bottom = rng.uniform(hole.bottom, hole.top - 0.2)
        middle, half, tilt = (hole.start + hole.stop) / 2, (hole.stop - hole.start) / 2 - 0.02, rng.uniform(-0.9, 0.9)
        for y in np.arange(bottom, hole.top, rng.uniform(0.025, 0.06)):
            depth, rise = 0.012 * np.cos(tilt), 0.012 * np.sin(tilt)
            corner = wall.point(middle - half, y - rise, 0.03 - depth)
            builder.quad(corner, 2 * half * wall.along, 2 * depth * wall.inward + 2 * rise * UP, paint)
        for at in (-0.7, 0.7):
            cord = np.stack([wall.point(middle + at * half, bottom, 0.03), wall.point(middle + at * half, hole.top, 0.03)])
            builder.tube(cord, 0.0015, paint, sides=4)


def _curtain(palette: Palette, wall: Wall, start: float, stop: float, foot: float, rail: float, paint: Paint) -> None:
    """A sheet in folds."""
    rng = palette.rng
    folds, deep = (stop - start) / rng.uniform(0.09, 0.16), rng.uniform(0.02, 0.045)
    s, t = np.linspace(0, 1, max(12, int(folds * 8))), np.linspace(0, 1, 6)
    wave = deep * np.sin(2 * np.pi * folds * s[None] + 0.6 * np.sin(3 * t[:, None] + rng.uniform(0, 6))) * (0.6 + 0.5 * t[:, None])
    grid = np.stack([wall.point(0, 0)] * len(s))[None] + 0 * wave[..., None]
    grid = grid + (start + s * (stop - start))[None, :, None] * wall.along + (rail + t * (foot - rail))[:, None, None] * UP
    grid = grid + (0.1 + wave)[..., None] * wall.inward
    uv = np.stack(np.broadcast_arrays(s[None] * (stop - start) * 1.6, (1 - t[:, None]) * (rail - foot)), -1) / paint.repeat
    palette.builder.sheet(grid, uv, paint.material)
