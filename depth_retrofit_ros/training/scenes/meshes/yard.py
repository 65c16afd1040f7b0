"""A yard: a lawn or a paved court behind a house, fenced, with what stands in gardens."""

from __future__ import annotations

import itertools

import numpy as np

from depth_retrofit_ros.training.scenes.meshes.houses import house
from depth_retrofit_ros.training.scenes.meshes.outdoors import CYCLES, GARDEN, PEOPLE, Outdoors
from depth_retrofit_ros.training.scenes.meshes.placing import Floor, Footprint
from depth_retrofit_ros.training.scenes.meshes.shell import UP
from depth_retrofit_ros.training.scenes.meshes.structures import fence, hang, hedge, ladder, power_line, washing_line


def furnish_yard(o: Outdoors) -> None:
    """All of a yard whose house is at its far end; around it are other houses and trees."""
    rng = o.rng
    width, depth = float(rng.uniform(7, 16)), float(rng.uniform(8, 18))
    o.floor = Floor(width, depth)
    o.walk = (width - 1.0, (0.5, depth * 0.6))
    o.ground(str(rng.choice(["grass", "soil"])), 0.03, (-250, 250), (-250, 250))
    o.ground(
        str(rng.choice(["grass", "paving", "soil", "snow"], p=[0.6, 0.22, 0.13, 0.05])), 0.0, (-width / 2, width / 2), (0, depth)
    )
    if rng.random() < 0.7:
        x = float(rng.uniform(-0.3, 0.3) * width)
        o.ground("paving", -0.015, (x - 0.7, x + 0.7), (0, depth))
    wall = house(o.palette, o.library, np.array([-width / 2, 0, depth]), np.array([1.0, 0, 0]), width, 8.0, o.night)
    if rng.random() < 0.6:
        at = float(rng.uniform(0.1, 0.9) * width)
        lean = rng.uniform(0.7, 1.3)
        ladder(o.palette, wall.point(at, 0, lean), wall.point(at, rng.uniform(2.4, min(5.0, wall.height)), 0.03))
        foot = wall.point(at, 0, lean / 2)
        o.floor.taken.append(Footprint(foot[0], foot[2], 0.35, lean / 2, 0.0, 0.0, 2.4))
    _around(o, width, depth)
    if rng.random() < 0.55:
        _washing(o, width, depth)
    within = ((-width / 2 + 0.4, width / 2 - 0.4), (1.5, depth - 0.6))
    for _ in range(int(rng.integers(0, 4))):
        o.tree(float(rng.uniform(*within[0])), float(rng.uniform(4, depth - 2)))
    o.scatter(GARDEN, int(rng.integers(6, 15)), *within)
    o.scatter(PEOPLE, int(rng.integers(0, 4)), *within)
    o.scatter(CYCLES, int(rng.integers(0, 3)), *within)
    if rng.random() < 0.35:
        z = float(rng.uniform(-3, depth / 2))
        power_line(
            o.palette,
            [np.array([x, 0.0, z + x * 0.2]) for x in (-24.0, -width / 2 - 1, width / 2 + 2, 26.0)],
            np.array([0, 0, 1.0]),
        )
    wire = o.palette.plain(0.03, grey=True)
    for _ in range(int(rng.integers(0, 3))):
        start = np.array([rng.uniform(-12, -width / 2), 0, rng.uniform(0, depth)]) + rng.uniform(3, 6) * UP
        stop = wall.point(float(rng.uniform(0.2, 0.8) * width), float(rng.uniform(2.5, wall.height)), 0.02)
        hang(o.palette, start, stop, float(rng.uniform(0.2, 0.9)), float(rng.uniform(0.004, 0.012)), wire)


def _around(o: Outdoors, width: float, depth: float) -> None:
    """Fences or hedges on the other three sides; neighbours' houses and trees beyond."""
    rng = o.rng
    x = width / 2
    style_height = float(rng.uniform(0.8, 1.9))
    corners = [np.array([-x, 0, depth]), np.array([-x, 0, 0.0]), np.array([x, 0, 0.0]), np.array([x, 0, depth])]
    for a, b in itertools.pairwise(corners):
        kind = rng.random()
        if kind < 0.65:
            fence(o.palette, a, b, style_height)
        elif kind < 0.9:
            hedge(o.palette, a, b, style_height, float(rng.uniform(0.4, 0.8)))
    for s in (-1, 1):
        for z in np.arange(-6, depth + 10, rng.uniform(11, 18)):
            if rng.random() < 0.7:
                length = float(rng.uniform(6, 10))
                corner = np.array([s * (x + rng.uniform(3, 12)), 0, z if s < 0 else z + length])
                house(o.palette, o.library, corner, np.array([0, 0, -float(s)]), length, 7.0, o.night)
    o_floor, o.floor = o.floor, Floor(200.0, 200.0)  # trees of the neighbours need no place in the yard
    for _ in range(int(rng.integers(1, 5))):
        o.tree(float(rng.choice([-1, 1]) * (x + rng.uniform(1.5, 6))), float(rng.uniform(0, depth)))
    o.floor = o_floor


def _washing(o: Outdoors, width: float, depth: float) -> None:
    rng = o.rng
    for _ in range(8):
        length, yaw = float(rng.uniform(2.5, 5)), float(rng.uniform(0, np.pi))
        middle = np.array([rng.uniform(-width / 2, width / 2), 0, rng.uniform(2.5, depth - 1)])
        half = length / 2 * np.array([np.cos(yaw), 0, -np.sin(yaw)])
        if o.floor.take(Footprint(middle[0], middle[2], length / 2, 0.15, yaw, 0.0, 2.2)):
            washing_line(o.palette, middle - half, middle + half)
            return
