"""Six kinds of places: three furnished rooms, one of them open to the sky, and three open places."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from path_traced import surroundings, things
from path_traced.stage import Stage


def living_room(stage: Stage) -> None:
    rng, depth, width = stage.rng, stage.rng.uniform(5, 6.5), stage.rng.uniform(5, 6.5)
    surroundings.room(stage, width, depth, 2.7, opening=False)
    surroundings.hang_pictures(stage, depth, width, 3)
    stage.model("couch", (rng.uniform(-1, 0), depth - 0.7, 0), rng.uniform(-0.1, 0.1))
    stage.taken.append((-0.5, depth - 0.7, 1.1))
    things.table(stage, stage.spot(2.6, 3.4, 0.7), rng.uniform(-0.5, 0.5), (1.1, 0.6, 0.45))
    things.shelf(stage, (width / 2 - 0.7, depth - 0.25, 0), 1.1, 1.9)
    for name, radius in (
        ("mid-century-chair", 0.55),
        ("thonet", 0.4),
        ("ella_chair_f", 0.4),
        ("maceta", 0.4),
        ("childChair", 0.35),
    ):
        stage.model(name, stage.spot(2, depth - 0.8, radius))
    stage.model("ceilingFan", (rng.uniform(-0.6, 0.6), 3.2, 0.2))
    things.plant(stage, stage.spot(1.4, 1.9, 0.3), 1.3, 9, 0.12)
    things.plant(stage, stage.spot(3, depth - 0.5, 0.3), 1.7, 14, 0.16)
    foot = np.array(stage.spot(2.2, depth - 0.6, 0.3))
    stage.rods([(foot, foot + [0, 0, 1.5]), things.circle(foot + [0, 0, 0.02], 0.14, (1, 0, 0))], 0.009)
    stage.rods([things.sagging((x, 3.6, 2.7), (x + 0.4, 4, 1.9), 0.05) for x in rng.uniform(-2, 2, 3)], 0.004)
    stage.rods([things.sagging((-width / 2, depth - 0.1, 2.5), (width / 2, depth - 0.1, 2.55), 0.25)], 0.005)


def workshop(stage: Stage) -> None:
    rng, depth, width = stage.rng, stage.rng.uniform(6, 8), stage.rng.uniform(6, 7.5)
    surroundings.room(stage, width, depth, 3.1, opening=False)
    for x in (-1.7, 0.1, 1.9):
        things.shelf(stage, (x, depth - 0.25, 0), 1.3, rng.uniform(1.6, 2.3))
    stage.model("step-ladder-metal", stage.spot(2.6, 4, 0.5))
    things.ladder(stage, (-width / 2 + 0.7, depth - 1.6, 0), rng.uniform(0.9, 1.3), 2.7)
    things.bicycle(stage, stage.spot(2.2, 3.2, 0.6), rng.uniform(-0.7, 0.7))
    stage.model("bike", stage.spot(3.5, depth - 1, 0.7))
    things.table(stage, stage.spot(3.5, depth - 1.2, 0.9), rng.uniform(-0.4, 0.4), (1.5, 0.7, 0.8))
    furniture = ("ella_chair_f", 0.4), ("childChair", 0.35), ("clothes-basket", 0.35), ("fireExtinguisher", 0.3), ("thonet", 0.4)
    for name, radius in furniture:
        stage.model(name, stage.spot(2.4, depth - 0.8, radius))
    for _ in range(5):
        x, y = rng.uniform(-2.4, 2.4), rng.uniform(2.5, depth)
        end = (x + rng.uniform(-2, 2), y + rng.uniform(-1, 1), 3.1)
        stage.rods([things.sagging((x, y, 3.1), end, rng.uniform(0.3, 1.1))], rng.uniform(0.003, 0.009))
    things.mesh_fence(stage, (-width / 2, depth - 2.4, 0), (-width / 2 + 1.6, depth - 2.4, 0), 2.2, 0.07, 0.0016)


def loft(stage: Stage) -> None:
    rng, depth, width = stage.rng, stage.rng.uniform(6, 7.5), stage.rng.uniform(6, 8)
    surroundings.room(stage, width, depth, 3.3, opening=True)
    surroundings.sky(stage, 3)
    surroundings.ground(stage, level=-4)
    for x in np.linspace(-9, 9, 4):
        things.tree(stage, (x, depth + rng.uniform(6, 16), -4), rng.uniform(5, 8), 0.15)
    things.railing(stage, (-width / 2, 2.1, 0), (rng.uniform(-0.4, 0.3), 2.4, 0), 0.95, 0.11)
    stage.taken += [(x, 2.2, 0.4) for x in np.arange(-width / 2, 0.3, 0.5)]
    for name, radius in (
        ("silla_teca", 0.45),
        ("thonet", 0.4),
        ("hanging-clothes2", 0.5),
        ("childChair", 0.35),
        ("ella_chair_f", 0.4),
    ):
        stage.model(name, stage.spot(2.6, depth - 0.7, radius))
    things.table(stage, stage.spot(3.4, depth - 1.4, 0.9), rng.uniform(-0.6, 0.6), (1.6, 0.8, 0.74))
    things.plant(stage, stage.spot(1.5, 2.0, 0.25), 1.2, 8, 0.1)
    things.plant(stage, stage.spot(3.5, depth - 0.6, 0.3), 1.9, 16, 0.15)
    corners = np.array([[(-width / 2, 3, 3.0), (-1.2, 3, 2.9)], [(-width / 2, depth - 1, 3.1), (-1, depth - 1, 3.0)]])
    things.net(stage, corners, 0.12, 0.003, 0.35)
    for x in rng.uniform(0.2, width / 2 - 0.3, 3):
        drop = np.array([x, rng.uniform(2.8, depth - 1), 3.3])
        stage.rods([(drop, drop - [0, 0, 1.2])], 0.003)
        stage.box(drop - [0, 0, 1.3], (0.2, 0.2, 0.2))


def garden(stage: Stage) -> None:
    rng = stage.rng
    surroundings.sky(stage, rng.uniform(3, 8))
    surroundings.ground(stage)
    surroundings.buildings(stage, 30, 45, 3)
    for x in (-3.7, -1.9, -0.1, 1.7, 3.5):
        stage.model("fence", (x, 8 + 0.05 * x, 0), 0.03)
    stage.model("copperBeech", (rng.uniform(-9, -5), rng.uniform(13, 17), 0))
    stage.model("poplar", (rng.uniform(6, 10), rng.uniform(18, 24), 0))
    things.tree(stage, (rng.uniform(2, 3.5), rng.uniform(6, 7.5), 0), 4.5, 0.0)
    things.tree(stage, (rng.uniform(-4.5, -3), rng.uniform(9, 11), 0), 5.0, 0.08)
    ends = np.array(stage.spot(5, 6.5, 1.4)) + [[-1.5, 0, 0], [1.5, 0.4, 0]]
    stage.rods([(end, end + [0, 0, 1.5]) for end in ends], 0.04)
    corners = ends[:, None] + [[0, -0.02, 1.3], [0, 0.7, 1.3]]
    things.net(stage, corners, 0.06, 0.003, 0.5)
    for name, radius in (("silla_teca", 0.5), ("silla_teca", 0.5), ("bush", 0.8), ("bush", 0.8), ("cat", 0.2)):
        stage.model(name, stage.spot(3, 7.2, radius))
    things.plant(stage, stage.spot(1.5, 2.1, 0.3), 1.1, 12, 0.11)
    things.plant(stage, stage.spot(2.5, 4, 0.3), 1.5, 14, 0.13)
    things.grass(stage, 1.6, 7, 160)
    stage.rods([things.sagging((-6, 9, 2.9), (7, 6, 2.6), 0.5), things.sagging((-8, 12, 4.5), (9, 10, 4.8), 0.6)], 0.006)


def street(stage: Stage) -> None:
    rng = stage.rng
    surroundings.sky(stage, rng.uniform(3, 8))
    surroundings.ground(stage)
    surroundings.buildings(stage, 22, 34, 4)
    for x in (-4.2, -2.1, 0.0):
        stage.model("pedestrianRailing1", (x - 0.3, 4.2 + 0.1 * x, 0), 0.1)
    stage.taken += [(x, 4.1, 0.4) for x in np.arange(-5, 1, 0.5)]
    things.railing(stage, (0.9, 2.2, 0), (4.5, 5.5, 0), 1.0, 0.13)
    stage.taken += [(0.9 + t * 3.6, 2.2 + t * 3.3, 0.3) for t in np.linspace(0, 1, 9)]
    stage.model("concept-sedan-01v2", (rng.uniform(-1.5, 1.5), rng.uniform(11, 13), 0), rng.uniform(1.2, 1.8))
    things.bicycle(stage, stage.spot(2.8, 3.6, 0.6), rng.uniform(-0.6, 0.6))
    things.bicycle(stage, stage.spot(5, 7, 0.7), rng.uniform(-0.6, 0.6))
    poles = [np.array([x, y, 0]) for x, y in ((-5.5, 9), (-5, 19), (5.5, 10), (6, 20))]
    stage.rods([(pole, pole + [0, 0, 6.5]) for pole in poles], 0.06)
    tops = [pole + [0, 0, z] for pole in poles for z in (6.0, 6.3)]
    wires = [(tops[0], tops[2]), (tops[1], tops[3]), (tops[4], tops[6]), (tops[5], tops[7]), (tops[0], tops[4]), (tops[3], tops[6])]
    stage.rods([things.sagging(a, b, rng.uniform(0.2, 0.6)) for a, b in wires], 0.01)
    things.tree(stage, (rng.uniform(-4.4, -3.4), rng.uniform(6, 8), 0), 5.5, 0.0)
    things.tree(stage, (rng.uniform(3.2, 4.5), rng.uniform(9, 12), 0), 6.0, 0.09)
    sign = np.array(stage.spot(3.2, 6, 0.3))
    stage.rods([(sign, sign + [0, 0, 2.3])], 0.025)
    stage.box(sign + [0, -0.04, 2.05], (0.6, 0.02, 0.6), stage.papered("sign|advert|crossing", 0.6))


def playground(stage: Stage) -> None:
    rng = stage.rng
    surroundings.sky(stage, 3)
    surroundings.ground(stage)
    surroundings.buildings(stage, 28, 40, 3)
    stage.model("trampoline", (-2.6, 6.5, 0), 0.3)
    stage.model("bike", stage.spot(3.2, 5.5, 0.7), rng.uniform(-0.5, 0.5))
    stage.taken.append((-2.6, 6.5, 1.6))
    width, goal = 3.0, np.array([1.2, 8.0, 0])
    frame = [goal, goal + [0, 0, 2], goal + [width, 0, 2], goal + [width, 0, 0]]
    stage.rods([frame], 0.04, stage.plain(0.7, 0.9))
    back = np.array([[goal + [0, 0, 2], goal + [width, 0, 2]], [goal + [0, 1.1, 0], goal + [width, 1.1, 0]]])
    things.net(stage, back, 0.12, 0.0025, 0.05)
    x, y, _ = stage.spot(3.4, 6, 1.0)
    level, side = np.linspace(0, 1.6, 5), np.linspace(-0.8, 0.8, 4)
    bars = [((x + a, y + b, 0), (x + a, y + b, 1.6)) for a in side for b in side]
    bars += [((x - 0.8, y + b, z), (x + 0.8, y + b, z)) for b in side for z in level[1:]]
    bars += [((x + a, y - 0.8, z), (x + a, y + 0.8, z)) for a in side for z in level[1:]]
    stage.rods(bars, 0.016)
    things.mesh_fence(stage, (-9, 12, 0), (9, 11, 0), 2.5, 0.14, 0.003)
    things.mesh_fence(stage, (-3.4, 2.6, 0), (-0.5, 2.3, 0), 1.2, 0.1, 0.0018)
    things.ladder(stage, stage.spot(3, 6, 0.4), rng.uniform(-0.5, 0.5), 2.2)
    stage.model("table_tennis", stage.spot(6, 9, 1.5))
    things.tree(stage, (rng.uniform(-6, -4), rng.uniform(14, 17), 0), 7, 0.12)
    things.tree(stage, (rng.uniform(4, 7), rng.uniform(13, 18), 0), 7, 0.0)
    posts = [np.array([a, 5.6, 0]) for a in (-0.9, 0.9)]
    swing = [(posts[0], posts[0] + [0, 0, 2.4], posts[1] + [0, 0, 2.4], posts[1])]
    stage.rods(swing, 0.03)
    stage.rods([(posts[0] + [0.6 + a, 0, 2.4], posts[0] + [0.6 + a, -0.3, 0.5]) for a in (0, 0.5)], 0.004)
    stage.box(posts[0] + [0.85, -0.3, 0.49], (0.55, 0.2, 0.03))
    things.grass(stage, 1.6, 5, 60)


SCENES: dict[str, Callable[[Stage], None]] = {
    scene.__name__: scene for scene in (living_room, garden, workshop, street, loft, playground)
}
