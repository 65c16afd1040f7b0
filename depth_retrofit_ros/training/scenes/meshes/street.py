"""A street: a road between pavements, houses and gardens at both sides, and everything that stands, drives and hangs in it."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.training.scenes.meshes.houses import house
from depth_retrofit_ros.training.scenes.meshes.outdoors import CARS, CYCLES, PEOPLE, STREET, Outdoors
from depth_retrofit_ros.training.scenes.meshes.placing import Floor
from depth_retrofit_ros.training.scenes.meshes.shell import UP
from depth_retrofit_ros.training.scenes.meshes.structures import fence, hang, hedge, lamp_post, power_line, sign

KERB_M = 0.12


def furnish_street(o: Outdoors) -> None:
    """All of a street that runs along z."""
    rng = o.rng
    road, walk, reach = float(rng.uniform(2.6, 5.0)), float(rng.uniform(1.6, 3.6)), float(rng.uniform(35, 80))
    side = road + walk
    o.floor = Floor(2 * side, reach)
    o.walk = (2 * side - 0.8, (0.5, 7.0))
    o.ground(str(rng.choice(["grass", "soil", "paving"])), 0.02, (-250, 250), (-60, 400))
    o.ground("asphalt" if rng.random() < 0.8 else "paving", 0.0, (-road, road), (-30, reach + 60))
    paving, kerb = o.palette.paint("paving", own=True), o.palette.plain(0.4, grey=True)
    for s, turn in ((-1, 0.0), (1, np.pi)):
        o.scatter(CARS, int(rng.integers(0, 6)), (s * (road - 1.15),) * 2, (4, reach * 0.7), (turn, turn + np.pi))
    o.scatter(CARS, int(rng.integers(0, 3)), (-road * 0.3, road * 0.3), (10, reach), (0.0, np.pi))
    o.scatter(CYCLES, int(rng.integers(0, 3)), (-road, road), (3, 25), (0.0, np.pi))
    o.scatter(PEOPLE, int(rng.integers(0, 3)), (-road, road), (4, 25))
    for s in (-1, 1):
        center = np.array([s * (road + walk / 2), KERB_M / 2 - KERB_M, reach / 2])
        o.builder.box(center, (walk / 2, KERB_M / 2, reach / 2 + 30), paving)
        o.builder.box(center * [0, 1, 1] + [s * (road + 0.07), -0.005, 0], (0.08, KERB_M / 2 + 0.005, reach / 2 + 30), kerb)
        _pavement(o, s, road, walk, reach)
    if rng.random() < 0.5:
        _marks(o, reach)
    for s in (-1, 1):
        _houses(o, s, side, reach)
        _trees(o, s, road, side, reach)
    _overhead(o, road, walk, reach)


def _houses(o: Outdoors, s: int, side: float, reach: float) -> None:
    """A row of houses with gaps, where gardens are behind fences and hedges."""
    rng = o.rng
    z = float(rng.uniform(-8, -2))
    while z < reach:
        back, length = float(rng.choice([0.0, rng.uniform(1.5, 5)])), float(rng.uniform(5, 14))
        x = s * (side + back)
        if rng.random() < 0.8:
            corner = np.array([x, 0.0, z if s < 0 else z + length])
            house(o.palette, o.library, corner, np.array([0, 0, -float(s)]), length, float(rng.uniform(6, 10)), o.night)
        if back or rng.random() < 0.4:
            _border(o, s * side, z, z + length)
        gap = float(rng.choice([0.0, rng.uniform(2, 7)], p=[0.45, 0.55]))
        if gap:
            _border(o, s * side, z + length, z + length + gap)
        z += length + gap


def _border(o: Outdoors, x: float, start: float, stop: float) -> None:
    rng = o.rng
    a, b = np.array([x, 0.0, start]), np.array([x, 0.0, stop])
    if rng.random() < 0.25:
        hedge(o.palette, a, b, float(rng.uniform(0.8, 1.8)), float(rng.uniform(0.4, 0.8)))
    elif start < 45:
        fence(o.palette, a, b, float(rng.uniform(0.8, 1.9)))


def _pavement(o: Outdoors, s: int, road: float, walk: float, reach: float) -> None:
    """Lamps, signs, trees, benches, bicycles and people between the road and the houses."""
    rng = o.rng
    edge = s * (road + 0.35)
    inwards = np.array([-float(s), 0, 0])
    for z in np.arange(rng.uniform(4, 12), reach, rng.uniform(12, 25)):
        o.lamps.append(lamp_post(o.palette, np.array([edge, -KERB_M, z]), inwards, 6.0 if o.night else 0.0))
    for _ in range(int(rng.integers(0, 4))):
        sign(o.palette, np.array([edge, -KERB_M, rng.uniform(3, 30)]), float(rng.normal(0, 0.3)))
    ends = s * (road + 0.5), s * (road + walk - 0.35)
    x, z_range = (min(ends), max(ends)), (1.5, 28.0)
    look = (np.pi / 2 * s, -np.pi / 2 * s)
    o.scatter(STREET, int(rng.integers(3, 9)), x, z_range, look, KERB_M)
    o.scatter(CYCLES, int(rng.integers(0, 4)), x, z_range, (0.0, np.pi), KERB_M)
    o.scatter(PEOPLE, int(rng.integers(0, 5)), x, z_range, (), KERB_M)
    if rng.random() < 0.2:
        fence(o.palette, np.array([edge, -KERB_M, 2.0]), np.array([edge, -KERB_M, rng.uniform(8, 20)]), 1.0, "bars")


def _trees(o: Outdoors, s: int, road: float, side: float, reach: float) -> None:
    """An avenue of them, or some before the houses; the near ones first, which may be the most detailed."""
    rng = o.rng
    if rng.random() < 0.5:
        for z in np.arange(rng.uniform(3, 9), min(reach, 45), rng.uniform(7, 15)):
            o.tree(s * (road + 0.6), float(z), KERB_M)
    else:
        for z in np.sort(rng.uniform(3, min(reach, 40), int(rng.integers(0, 5)))):
            o.tree(s * (side - 0.5), float(z), KERB_M)


def _marks(o: Outdoors, reach: float) -> None:
    """The dashed line in the middle."""
    white = o.palette.plain(0.6, grey=True)
    for z in np.arange(-10, reach + 30, 6.0):
        o.builder.quad(np.array([-0.07, -0.004, z]), np.array([0.14, 0, 0]), np.array([0, 0, 3.0]), white)


def _overhead(o: Outdoors, road: float, walk: float, reach: float) -> None:
    """A power line along the street, wires and garlands across it."""
    rng = o.rng
    if rng.random() < 0.6:
        s = int(rng.choice([-1, 1]))
        poles = [np.array([s * (road + 0.45), 0.0, z]) for z in np.arange(rng.uniform(2, 9), reach + 30, rng.uniform(16, 28))]
        power_line(o.palette, poles, np.array([1.0, 0, 0]))
    wire = o.palette.plain(0.03, grey=True)
    for _ in range(int(rng.integers(0, 6))):
        z, high = rng.uniform(3, 40), rng.uniform(4, 8)
        a = np.array([-road - walk, 0, z]) + high * UP
        b = np.array([road + walk, 0, z + rng.normal(0, 4)]) + (high + rng.normal(0, 0.6)) * UP
        hang(o.palette, a, b, float(rng.uniform(0.1, 0.8)), float(rng.uniform(0.004, 0.015)), wire)
