"""Houses from outside: façades with windows, doors, pipes and balconies, under gabled or flat roofs."""

from __future__ import annotations

import itertools

import numpy as np

from depth_retrofit_ros.training.scenes.meshes.library import ModelLibrary
from depth_retrofit_ros.training.scenes.meshes.palette import Palette, place
from depth_retrofit_ros.training.scenes.meshes.shell import UP, Span, Wall, pierced, reveals
from depth_retrofit_ros.training.scenes.meshes.soup import Paint
from depth_retrofit_ros.training.scenes.meshes.structures import stairs

STOREY_M = 2.9


def house(
    palette: Palette, library: ModelLibrary, corner: np.ndarray, along: np.ndarray, width: float, deep: float, night: bool
) -> Wall:
    """corner [3]: lower left of the front as seen from the street; along: unit, to its right. Returns the front."""
    rng, builder = palette.rng, palette.builder
    storeys = int(rng.integers(1, 5))
    height = storeys * STOREY_M + rng.uniform(0.2, 0.8)
    outward = np.cross(along, UP)
    paint = palette.paint(str(rng.choice(["plaster", "brick", "wood"], p=[0.55, 0.35, 0.1])))
    wall = Wall(corner, along, outward, width, height)
    middle = corner + along * width / 2 - outward * (deep / 2 + 0.3) + height / 2 * UP
    yaw = float(np.arctan2(-along[2], along[0]))
    builder.box(middle, (width / 2, height / 2, deep / 2), paint, yaw)
    for side in (0.0, width):  # between the front and the block behind its openings
        builder.quad(wall.point(side, 0), height * UP, -0.3 * outward, paint)
    builder.quad(wall.point(0, height), width * along, -0.3 * outward, paint)
    _windows(palette, library, wall, storeys, night)
    pierced(palette, wall, [s for s in wall.spans if s.hole], paint)
    _roof(palette, middle + height / 2 * UP, along, outward, width, deep, paint)
    if rng.random() < 0.6:
        pipe = wall.point(rng.choice([0.15, width - 0.15]), 0.1, 0.07)
        builder.tube(np.stack([pipe, pipe + (height - 0.1) * UP]), 0.045, palette.plain(0.2, shine=0.2, grey=True))
    return wall


def _windows(palette: Palette, library: ModelLibrary, wall: Wall, storeys: int, night: bool) -> None:
    rng = palette.rng
    columns = max(1, int(wall.length / rng.uniform(1.8, 3.2)))
    width, height = rng.uniform(0.7, 1.2), rng.uniform(1.0, 1.6)
    width = min(width, wall.length / columns - 0.25)
    frame, stone = palette.plain(float(rng.choice([0.7, 0.1, 0.3]))), palette.plain(0.55, grey=True)
    door = int(rng.integers(columns))
    doors = library.matching("(Exterior door|Door)", "Doors and windows", high=(1.3, 2.4, 0.4))
    balcony = storeys > 1 and rng.random() < 0.35
    for storey in range(storeys):
        for column in range(columns):
            at = (column + 0.5) * wall.length / columns
            base = storey * STOREY_M
            if storey == 0 and column == door and doors:
                _door(palette, library, wall, at, doors[rng.integers(len(doors))])
                continue
            span = Span(at - width / 2, at + width / 2, base + 0.9, base + 0.9 + height, hole=True)
            wall.spans.append(span)
            lit = night and rng.random() < 0.4
            _pane(palette, wall, span, frame, lit)
            reveals(palette, wall, span, stone)
            if balcony and storey and rng.random() < 0.6:
                _balcony(palette, wall, at, base + 0.05, stone)


def _pane(palette: Palette, wall: Wall, span: Span, frame: Paint, lit: bool) -> None:
    """Glass with bars and, behind it, a drawn curtain or the dark."""
    rng, builder = palette.rng, palette.builder
    width, height = span.stop - span.start, span.top - span.bottom
    color = np.array([0.9, 0.7, 0.4]) if lit else np.full(3, float(rng.choice([0.03, 0.06, 0.3])))
    glass = Paint(builder.material(color, shine=0.7, grain=0.0, glow=float(rng.uniform(0.3, 1.2)) if lit else 0.0), 1.0)
    builder.quad(wall.point(span.start, span.bottom, -0.14), width * wall.along, height * UP, glass)
    middle, center = (span.start + span.stop) / 2, (span.bottom + span.top) / 2
    for y in (span.bottom + 0.03, span.top - 0.03, center + height * 0.18):
        builder.box(wall.point(middle, y, -0.12), (width / 2, 0.03, 0.03), frame, wall.yaw)
    for x in (span.start + 0.03, middle, span.stop - 0.03):
        builder.box(wall.point(x, center, -0.12), (0.025, height / 2, 0.028), frame, wall.yaw)


def _door(palette: Palette, library: ModelLibrary, wall: Wall, at: float, model) -> None:  # type: ignore[no-untyped-def]
    half = model.size[0] / 2
    steps = int(palette.rng.integers(0, 4))
    wall.spans.append(Span(at - half, at + half, 0.0, model.size[1] + 0.17 * steps))
    place(palette, library, model, wall.point(at, 0.17 * steps, model.size[2] / 2 - 0.05), wall.yaw)
    if steps:
        stairs(palette, wall.point(at, 0, 0.28 * steps), -wall.inward, steps, model.size[0] + 0.4)


def _balcony(palette: Palette, wall: Wall, at: float, above: float, stone: Paint) -> None:
    """A slab with a railing of thin bars."""
    builder, half, out = palette.builder, 0.75, 0.9
    iron = palette.plain(0.06, shine=0.2, grey=True)
    builder.box(wall.point(at, above, out / 2), (half, 0.06, out / 2), stone, wall.yaw)
    corners = [wall.point(at + side * half, above + 0.06, far) for side, far in ((-1, 0.0), (-1, out), (1, out), (1, 0.0))]
    for a, b in itertools.pairwise(corners):
        builder.tube(np.stack([a + UP, b + UP]), 0.015, iron, sides=6)
        for s in np.arange(0, 1, 0.13 / np.linalg.norm(b - a)):
            foot = a + s * (b - a)
            builder.tube(np.stack([foot, foot + UP]), 0.006, iron, sides=4, closed=False)


def _roof(
    palette: Palette, top: np.ndarray, along: np.ndarray, outward: np.ndarray, width: float, deep: float, paint: Paint
) -> None:
    rng, builder = palette.rng, palette.builder
    if rng.random() < 0.3:
        yaw = float(np.arctan2(-along[2], along[0]))
        builder.box(top + 0.15 * UP + 0.15 * outward, (width / 2 + 0.1, 0.15, deep / 2 + 0.3), palette.plain(0.4, grey=True), yaw)
        return
    tiles, rise, over = palette.paint("roof"), deep * rng.uniform(0.2, 0.45), 0.35
    front, back = deep / 2 + 0.3, -deep / 2
    ridge = top + rise * UP + (front + back) / 2 * outward
    for edge in (front + over, back - over):
        foot = top + edge * outward - (0.35 * rise / deep * 2) * UP
        builder.quad(foot - (width / 2 + over) * along, (width + 2 * over) * along, ridge - foot, tiles)
    for side in (-1, 1):
        ends = top + side * width / 2 * along
        builder.triangle(ends + front * outward, ends + back * outward, ridge + side * width / 2 * along, paint)
    if rng.random() < 0.6:
        chimney = ridge + rng.uniform(-0.35, 0.35) * width * along + 0.2 * UP
        builder.box(chimney, (0.3, 0.8, 0.3), palette.paint("brick"))
    if rng.random() < 0.5:  # an antenna
        foot, iron = ridge + rng.uniform(-0.3, 0.3) * width * along, palette.plain(0.1, grey=True)
        builder.tube(np.stack([foot, foot + 1.8 * UP]), 0.015, iron, sides=5)
        for h in np.arange(1.0, 1.8, 0.13):
            builder.tube(np.stack([foot + h * UP - 0.35 * along, foot + h * UP + 0.35 * along]), 0.005, iron, sides=4)
