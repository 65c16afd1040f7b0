"""Thin things, of rods and leaves: railings, fences, nets, ladders, bicycles, plants, furniture on thin legs."""

from __future__ import annotations

import numpy as np

from path_traced.assets import FLOORS
from path_traced.stage import Point, Stage


def circle(center: Point, radius: float, across: Point, sides: int = 40) -> np.ndarray:
    """Closed path ``[sides + 1, 3]`` around the axis z × ``across``, which is horizontal."""
    turn = np.linspace(0, 2 * np.pi, sides + 1)[:, None]
    return np.asarray(center) + radius * (np.cos(turn) * np.asarray(across) + np.sin(turn) * np.array([0, 0, 1.0]))


def sagging(a: Point, b: Point, sag: float, points: int = 24) -> np.ndarray:
    """Path ``[points, 3]`` of a cable from a to b that hangs ``sag`` m through in the middle."""
    t = np.linspace(0, 1, points)[:, None]
    return (1 - t) * np.asarray(a, float) + t * np.asarray(b, float) - 4 * sag * t * (1 - t) * np.array([0, 0, 1.0])


def railing(stage: Stage, a: Point, b: Point, height: float, gap: float) -> None:
    """Two rails with upright bars ``gap`` m apart, from foot a to foot b."""
    begin, end = np.asarray(a, float), np.asarray(b, float)
    up = np.array([0, 0, height])
    feet = begin + np.linspace(0, 1, max(2, round(np.linalg.norm(end - begin) / gap)))[:, None] * (end - begin)
    material, bar = stage.rod_material(), stage.rng.uniform(0.004, 0.012)
    stage.rods([(begin + up, end + up), (begin + 0.12 * up, end + 0.12 * up)], 2 * bar, material)
    stage.rods([(foot + 0.12 * up, foot + up) for foot in feet], bar, material)
    stage.rods([(foot, foot + 1.03 * up) for foot in feet[:: max(1, round(1.8 / gap))]], 2.5 * bar, material)


def mesh_fence(stage: Stage, a: Point, b: Point, height: float, cell: float, wire: float) -> None:
    """Diamonds of wire between posts."""
    begin, end = np.asarray(a, float), np.asarray(b, float)
    length, up = float(np.linalg.norm(end - begin)), np.array([0, 0, 1.0])
    wires = []
    for start in np.arange(-height, length, cell):
        for flip in (False, True):
            along = np.clip(np.array([start, start + height]), 0, length)
            if along[1] > along[0]:
                rise = along - start
                wires.append(begin + along[:, None] / length * (end - begin) + (height - rise if flip else rise)[:, None] * up)
    stage.rods(wires, wire)
    posts = begin + np.linspace(0, 1, max(2, round(length / 2.4) + 1))[:, None] * (end - begin)
    stage.rods([(post, post + 1.05 * height * up) for post in posts], stage.rng.uniform(0.02, 0.035))


def net(stage: Stage, corners: np.ndarray, cell: float, cord: float, sag: float) -> None:
    """A square net over four corners ``[2, 2, 3]`` that hangs ``sag`` m through."""
    across, along = (
        max(2, round(float(np.linalg.norm(d)) / cell)) for d in (corners[0, 1] - corners[0, 0], corners[1, 0] - corners[0, 0])
    )
    u, v = np.linspace(0, 1, across + 1)[None, :, None], np.linspace(0, 1, along + 1)[:, None, None]
    grid = (1 - v) * ((1 - u) * corners[0, 0] + u * corners[0, 1]) + v * ((1 - u) * corners[1, 0] + u * corners[1, 1])
    grid = grid - sag * 16 * u * (1 - u) * v * (1 - v) * np.array([0, 0.3, 1.0])
    stage.rods([*grid, *grid.swapaxes(0, 1)], cord)


def ladder(stage: Stage, foot: Point, yaw: float, height: float) -> None:
    """Leans by a fifth of its height."""
    out = np.array([np.cos(yaw), np.sin(yaw), 0]) * 0.2
    lean = np.array([-np.sin(yaw), np.cos(yaw), 0]) * 0.2 * height + np.array([0, 0, height])
    sides = [np.asarray(foot) - out, np.asarray(foot) + out]
    rungs = [tuple(side + t * lean for side in sides) for t in np.arange(0.28, height, 0.28) / height]
    material = stage.rod_material()
    stage.rods([(side, side + lean) for side in sides], 0.022, material)
    stage.rods(rungs, 0.013, material)


def bicycle(stage: Stage, at: Point, yaw: float) -> None:
    """Two wheels with spokes, frame, fork, handlebar and saddle."""
    ahead = np.array([np.cos(yaw), np.sin(yaw), 0])
    side, up = np.array([-ahead[1], ahead[0], 0]), np.array([0, 0, 1.0])

    def point(x: float, z: float, y: float = 0.0) -> np.ndarray:
        return np.asarray(at) + x * ahead + z * up + y * side

    hubs, radius = (point(-0.5, 0.34), point(0.52, 0.34)), 0.325
    stage.rods([circle(hub, radius, ahead) for hub in hubs], 0.016, stage.plain(0.01, 0.06))
    rims = [circle(hub, radius - 0.012, ahead, 28)[:-1] for hub in hubs]
    stage.rods([(hub, end) for hub, rim in zip(hubs, rims, strict=True) for end in rim], 0.0013, stage.plain(0.5, 0.8, 1.0))
    pedal, seat, head, neck = point(-0.07, 0.29), point(-0.22, 0.78), point(0.34, 0.82), point(0.37, 0.7)
    stage.rods([(pedal, seat, head, neck, pedal), (hubs[0], pedal), (hubs[0], seat), (neck, hubs[1])], 0.014)
    bar = [point(0.22, 0.96, 0.28), point(0.33, 0.97, 0.2), point(0.33, 0.97, -0.2), point(0.22, 0.96, -0.28)]
    stage.rods([(seat, point(-0.25, 0.92)), (head, point(0.33, 0.97)), bar], 0.012, stage.plain(0.02, 0.5, 1.0))
    stage.box(point(-0.25, 0.94), (0.26, 0.12, 0.05), stage.plain(0.01, 0.1), yaw)


def plant(stage: Stage, at: Point, height: float, stems: int, leaf: float) -> None:
    """Stems that lean outward, with leaves along their upper part."""
    paths = []
    for _ in range(stems):
        out = stage.rng.standard_normal(2) * 0.3 * height
        t = np.linspace(0, 1, 12)[:, None]
        rise = height * stage.rng.uniform(0.6, 1)
        paths.append(
            np.asarray(at) + np.column_stack([out * t**2 + 0.02 * stage.rng.standard_normal(2), rise * t * (1.15 - 0.15 * t)])
        )
    stage.rods(paths, stage.rng.uniform(0.002, 0.006), stage.plain(0.05, 0.4))
    stage.leaves(np.concatenate([np.repeat(path[4:], 2, axis=0) for path in paths]), leaf, stage.leaf_material())


def tree(stage: Stage, at: Point, height: float, leaf: float) -> None:
    """Branches that fork seven times, each thinner; with leaves on the twigs where ``leaf`` [m] is not 0."""
    paths, radii, tips = [], [], []
    heads = [(np.asarray(at, float), np.array([0, 0, 1.0]), 0.28 * height, 0.018 * height)]
    for fork in range(8):
        following = []
        for start, direction, length, radius in heads:
            bend = direction + 0.15 * stage.rng.standard_normal(3)
            path = np.array([start, start + 0.5 * length * direction, start + 0.5 * length * (direction + bend)])
            paths.append(path)
            radii.append(np.linspace(radius, 0.7 * radius, 3))
            for _ in range(2):
                turned = bend + 0.55 * stage.rng.standard_normal(3) + np.array([0, 0, 0.12])
                ahead = turned / np.linalg.norm(turned)
                following.append((path[-1], ahead, length * stage.rng.uniform(0.6, 0.85), max(0.66 * radius, 0.0015)))
            if fork > 4:
                tips.append(path[1:])
        heads = following
    stage.rods(paths, radii, stage.plain(0.03, 0.25))
    if leaf:
        stage.leaves(np.repeat(np.concatenate(tips), 3, axis=0), leaf, stage.leaf_material())


def grass(stage: Stage, near: float, far: float, tufts: int) -> None:
    """Blades 10 to 45 cm high."""
    blades = []
    for _ in range(tufts):
        y = stage.rng.uniform(near, far)
        root = np.array([stage.rng.uniform(-1, 1) * stage.spread * y, y, 0])
        for _ in range(14):
            lean = stage.rng.standard_normal(3) * 0.08
            tip = root + lean + np.array([0, 0, stage.rng.uniform(0.1, 0.45)])
            blades.append(np.array([root, (root + tip) / 2 - 0.3 * lean * [1, 1, 0], tip]))
    stage.rods(blades, [np.array([0.003, 0.0025, 0.0008])] * len(blades), stage.leaf_material())


def table(stage: Stage, at: Point, yaw: float, size: tuple[float, float, float]) -> None:
    """size: length, depth, height; four thin legs."""
    c, s = np.cos(yaw), np.sin(yaw)
    stage.box(np.asarray(at) + [0, 0, size[2] - 0.015], (size[0], size[1], 0.03), stage.surface(FLOORS), yaw)
    ends = [(i * (size[0] / 2 - 0.05), j * (size[1] / 2 - 0.05)) for i in (-1, 1) for j in (-1, 1)]
    feet = [np.asarray(at) + [c * x - s * y, s * x + c * y, 0] for x, y in ends]
    stage.rods([(foot, foot + [0, 0, size[2] - 0.03]) for foot in feet], stage.rng.uniform(0.008, 0.02))


def shelf(stage: Stage, at: Point, width: float, height: float) -> None:
    """Boards between round uprights, with boxes on them."""
    x, y, z = at
    stage.rods(
        [((x + i * width / 2, y + j * 0.16, z), (x + i * width / 2, y + j * 0.16, z + height)) for i in (-1, 1) for j in (-1, 1)],
        0.01,
    )
    board = stage.surface(FLOORS)
    for level in np.arange(0.15, height, 0.42):
        stage.box((x, y, z + level), (width, 0.36, 0.02), board)
        for place in np.arange(-width / 2 + 0.12, width / 2 - 0.1, 0.2):
            if stage.rng.random() < 0.6:
                size = stage.rng.uniform((0.04, 0.1, 0.08), (0.16, 0.28, 0.3))
                stage.box(
                    (x + place, y, z + level + 0.01 + size[2] / 2), size, stage.patterned() if stage.rng.random() < 0.4 else None
                )
