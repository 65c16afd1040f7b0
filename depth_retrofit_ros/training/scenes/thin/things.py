"""Thin things that people make: fences, railings, nets, furniture, cables, wheels. Each stands on its spot's foot."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from depth_retrofit_ros.training.scenes.scene import Kind, rotation_ypr
from depth_retrofit_ros.training.scenes.thin.pen import Pen, Spot


def bar_fence(pen: Pen, s: Spot) -> None:
    """Pickets or iron bars between rails, some bent, missing or pointed."""
    rng, m, w = pen.rng, pen.material(), s.width
    rails = m if rng.random() < 0.6 else pen.material()
    length = rng.uniform(0.8, 5)
    n = int(np.clip(length * s.height / (w * pen.log_uniform(2.0, 14)), 4, 70))
    flat, wobble = rng.random() < 0.4, rng.choice([0.0, 0.01, 0.06])
    tops = rng.choice(["plain", "ball", "point"])
    ring = rng.random() < 0.25
    for i, x in enumerate(np.linspace(-length / 2, length / 2, n) + rng.normal(0, wobble, n)):
        if rng.random() < 0.03:
            continue
        a, b = s.point(x, 0), s.point(x + rng.normal(0, wobble), 1 + rng.normal(0, wobble))
        if flat:
            pen.strip(a, b, w, 0.3 * w, m, s.turn[:, 2])
        else:
            pen.line(a, b, w, m)
        if tops == "ball":
            pen.ball(b, 0.9 * w, m)
        elif tops == "point":
            pen.ball(b, (0.5 * w, 2.2 * w, 0.5 * w), m)
        if ring and i % 2 and n < 40:
            pen.ring(s.point(x, rng.uniform(0.75, 0.8)), s.turn, 0.4 * length * s.height / n, 0.7 * w, m)
    for y in [0.15, 0.85] if rng.random() < 0.7 else [0.1, 0.5, 0.9]:
        pen.line(s.point(-length / 2, y), s.point(length / 2, y), w * rng.uniform(0.7, 1.6), rails)


def wire_fence(pen: Pen, s: Spot) -> None:
    """Posts with wires between them."""
    rng, m, wire = pen.rng, pen.material(), pen.material()
    length, n = rng.uniform(2, 8), int(rng.integers(3, 8))
    xs = np.linspace(-length / 2, length / 2, n)
    ends = [(s.point(x, 0), s.point(x, 1)) for x in xs]
    for a, b in ends:
        pen.line(a, b, s.width * rng.uniform(2, 5), m)
    for y in np.linspace(0.2, 0.95, int(rng.integers(2, 7))):
        for (a, b), (c, d) in pairwise(ends):
            points = pen.sag(a + y * (b - a), c + y * (d - c), rng.uniform(0, 0.03) * s.height, 5)
            pen.tube(points, s.width, wire)


def chain_link(pen: Pen, s: Spot) -> None:
    """Crossed wires in a frame: chain link, trellis or grid."""
    rng, m = pen.rng, pen.material()
    length = rng.uniform(0.7, 3)
    mesh = float(np.clip(s.width / s.height * pen.log_uniform(3.5, 16), 0.035, 0.5))
    slope = rng.choice([0.0, 1.0, rng.uniform(0.4, 1.6)])
    if slope == 0:
        for x in np.arange(-length / 2, length / 2, mesh):
            pen.line(s.point(x, 0), s.point(x, 1), s.width, m)
        for y in np.arange(0, 1, mesh * rng.choice([1, 1, 2, 0.5])):
            pen.line(s.point(-length / 2, y), s.point(length / 2, y), s.width, m)
    else:
        run = 1 / slope
        for x in np.arange(-length / 2 - run, length / 2 + run, mesh * np.hypot(1, run)):
            for sign in (-1, 1):
                low, high = sorted(
                    (np.clip((-length / 2 - x) / (sign * run), 0, 1), np.clip((length / 2 - x) / (sign * run), 0, 1))
                )
                if high - low > 0.01:
                    pen.line(s.point(x + sign * run * low, low), s.point(x + sign * run * high, high), s.width, m)
    if rng.random() < 0.8:
        frame = pen.material()
        for x in (-length / 2, length / 2):
            pen.line(s.point(x, 0), s.point(x, 1.03), s.width * rng.uniform(1.5, 4), frame)
        pen.line(s.point(-length / 2, 1), s.point(length / 2, 1), s.width * rng.uniform(1, 3), frame)


def net(pen: Pen, s: Spot) -> None:
    """A net that hangs in folds."""
    rng, m = pen.rng, pen.material()
    n, k = int(rng.integers(8, 20)), int(rng.integers(6, 16))
    x, y = np.meshgrid(np.linspace(-0.8, 0.8, n), np.linspace(0, 1, k))
    phase = rng.uniform(0, 6, 4)
    depth = 0.08 * np.sin(5 * x + phase[0]) * np.cos(3 * y + phase[1])
    sag = rng.uniform(0, 0.25) * (1 - (x / 0.8) ** 2) * y + 0.02 * np.sin(9 * x + phase[2])
    grid = s.points(np.stack([x, y - sag, depth], -1).reshape(-1, 3)).reshape(k, n, 3)
    for row in grid:
        pen.tube(row, s.width, m)
    for column in grid.transpose(1, 0, 2):
        pen.tube(column, s.width, m)


def railing(pen: Pen, s: Spot) -> None:
    """A handrail with balusters, level or along stairs."""
    rng, m, length = pen.rng, pen.material(), pen.rng.uniform(1, 5)
    slope = rng.choice([0.0, 0.0, rng.uniform(-0.6, 0.6)])
    top, low = ([s.point(x, y + slope * x) for x in (-length / 2, length / 2)] for y in (1.0, 0.1))
    for ends, w in ((top, 1.8), (low, 1.2)):
        pen.line(ends[0], ends[1], s.width * w, m)
    if rng.random() < 0.4:  # cables in place of balusters
        for share in np.linspace(0.15, 0.9, int(rng.integers(2, 7))):
            pen.line(low[0] + share * (top[0] - low[0]), low[1] + share * (top[1] - low[1]), 0.5 * s.width, m)
    n = int(rng.integers(3, 40))
    for share in np.linspace(0, 1, n):
        pen.line(low[0] + share * (low[1] - low[0]), top[0] + share * (top[1] - top[0]), s.width, m)


def ladder(pen: Pen, s: Spot) -> None:
    """Two rails and rungs, leaning."""
    rng, m = pen.rng, pen.material()
    half, lean = rng.uniform(0.08, 0.2), rng.uniform(-0.3, 0.3)
    for x in (-half, half):
        pen.line(s.point(x, 0), s.point(x * rng.uniform(0.6, 1), 1, lean), s.width * rng.uniform(1, 2), m)
    for y in np.linspace(0.08, 0.95, int(rng.integers(5, 14))):
        pen.line(s.point(-half, y, lean * y), s.point(half, y, lean * y), s.width, m)


def chair(pen: Pen, s: Spot) -> None:
    """Four legs, a seat, spindles."""
    rng, m = pen.rng, pen.material()
    seat, half, w = rng.uniform(0.4, 0.6), rng.uniform(0.18, 0.28), s.width
    pen.slab(s.point(0, seat), (half * s.height, 0.02 * s.height, half * s.height), pen.material(), s.turn)
    splay = rng.uniform(0.9, 1.25)
    for x in (-half, half):
        pen.line(s.point(x * splay, 0, -half * splay), s.point(x * 0.9, seat, -half * 0.9), w, m)
        pen.line(s.point(x * splay, 0, half * splay), s.point(x * 0.9, 1 if rng.random() < 0.9 else seat, half), w, m)
    for x in np.linspace(-0.8 * half, 0.8 * half, int(rng.integers(0, 9))):
        pen.line(s.point(x, seat, half * 0.95), s.point(x * 1.05, 0.97, half), w * rng.uniform(0.4, 1), m)
    for y in rng.uniform(0.1, 1.0, rng.integers(0, 4)):
        pen.line(s.point(-0.9 * half, y, half), s.point(0.9 * half, y, half), w * rng.uniform(0.6, 1.2), m)


def table(pen: Pen, s: Spot) -> None:
    """A top on legs or trestles, with small things and their sticks on it."""
    rng, m = pen.rng, pen.material()
    wide, deep = rng.uniform(0.5, 1.4), rng.uniform(0.3, 0.7)
    pen.slab(s.point(0, 1), (wide * s.height, rng.uniform(0.01, 0.04) * s.height, deep * s.height), pen.material(), s.turn)
    for x in (-wide, wide):
        for z in (-deep, deep):
            foot = rng.choice([0.9, 0.9, 0.6])
            pen.line(s.point(x * foot, 0, z * 0.9), s.point(x * 0.9, 1, z * 0.9), s.width, m)
        if rng.random() < 0.3:
            pen.line(s.point(x * 0.9, 0.2, -deep * 0.9), s.point(x * 0.9, 0.2, deep * 0.9), 0.7 * s.width, m)
    for _ in range(rng.integers(0, 6)):
        toy(pen, Spot(s.point(rng.uniform(-wide, wide), 1, rng.uniform(-deep, deep)), s.turn, 0.4 * s.height, s.distance, s.width))


def toy(pen: Pen, s: Spot) -> None:
    """Solids on one another, with sticks."""
    rng, y = pen.rng, 0.0
    for _ in range(rng.integers(1, 4)):
        half = rng.uniform(0.05, 0.25, 3)
        kind = Kind(int(rng.choice([Kind.BOX, Kind.ELLIPSOID])))
        pen.builder.add(kind, s.point(0, y + half[1]), half * s.height, pen.material(), s.turn)
        y += 2 * half[1]
    for _ in range(rng.integers(0, 3)):
        end = s.point(*rng.normal([0, y + 0.4, 0], 0.25))
        pen.line(s.point(0, y * 0.9), end, s.width, pen.material())
        pen.ball(end, s.width * rng.uniform(0.8, 3), pen.material())


def wheel(pen: Pen, s: Spot) -> None:
    """Spoked wheels on a frame of tubes, or one alone."""
    rng, m, rim = pen.rng, pen.material(), pen.material()
    radius, spokes = 0.35, int(rng.integers(6, 28))
    hubs = [(-0.55, radius), (0.55, radius)] if rng.random() < 0.6 else [(0.0, 0.5)]
    radius = radius if len(hubs) == 2 else 0.5
    for x, y in hubs:
        hub = s.point(x, y)
        frame = s.turn @ rotation_ypr(rng.normal(0, 0.15), 0, 0)
        pen.ring(hub, frame, radius * s.height, s.width * rng.uniform(1, 3), rim)
        for angle in np.linspace(0, 2 * np.pi, spokes, endpoint=False):
            rimward = np.cos(angle) * frame[:, 0] + np.sin(angle) * frame[:, 1]
            pen.line(hub, hub + radius * s.height * rimward, s.width * 0.6, m)
    if len(hubs) == 2:
        joints = {"back": hubs[0], "front": hubs[1], "crank": (-0.05, 0.3), "seat": (-0.2, 0.85), "bar": (0.35, 0.9)}
        for a, b in (("back", "crank"), ("crank", "seat"), ("seat", "back"), ("seat", "bar"), ("crank", "bar"), ("bar", "front")):
            pen.line(s.point(*joints[a]), s.point(*joints[b]), s.width * 1.5, m)
        pen.line(s.point(0.35, 0.9), s.point(0.3, 1.0, 0.15), s.width, m)
        pen.ball(s.point(-0.22, 0.9), (0.1 * s.height, 0.03 * s.height, 0.06 * s.height), pen.material(), s.turn)


def cables(pen: Pen, s: Spot) -> None:
    """Loose curves in the air: cables, hoses, ribbons."""
    rng = pen.rng
    for _ in range(rng.integers(1, 4)):
        knots = np.cumsum(rng.normal(0, 0.35, (int(rng.integers(3, 8)), 3)) * [1, 0.8, 0.4], 0)
        knots = s.points(knots - knots.mean(0) + [0, 0.6, 0])
        pen.tube(pen.spline(knots, 10), s.width * pen.log_uniform(0.4, 1.6), pen.material())


def power_line(pen: Pen, s: Spot) -> None:
    """Poles with arms, and wires between and beyond them."""
    rng, m, wire = pen.rng, pen.material(), pen.material()
    span, arm = rng.uniform(1.5, 6), rng.uniform(0.08, 0.25)
    poles = [(-span / 2, 0.0), (span / 2, rng.normal(0, 1.0))]
    for x, z in poles:
        pen.line(s.point(x, 0, z), s.point(x, 1, z), s.width * rng.uniform(1.5, 5), m)
        pen.line(s.point(x - arm, 0.95, z), s.point(x + arm, 0.95, z), s.width * 1.5, m)
    for offset in np.linspace(-arm, arm, int(rng.integers(1, 6))):
        ends = [s.point(x + offset, 0.95, z) for x, z in poles]
        pen.tube(pen.sag(ends[0], ends[1], rng.uniform(0, 0.15) * s.height), s.width, wire)
        for end, sign in zip(ends, (-1, 1), strict=True):
            pen.tube(pen.sag(end, end + s.turn @ np.array([sign * span, rng.normal(0, 0.05), 0]) * s.height, 0.05), s.width, wire)


def blinds(pen: Pen, s: Spot) -> None:
    """Slats, level or upright, tilted alike, on cords."""
    rng, m, upright = pen.rng, pen.material(), pen.rng.random() < 0.4
    wide, n = rng.uniform(0.4, 1.5), int(rng.integers(6, 30))
    tilt = rng.uniform(-1.3, 1.3)
    facing = s.turn @ (np.array([np.sin(tilt), 0, np.cos(tilt)]) if upright else np.array([0, np.sin(tilt), np.cos(tilt)]))
    for share in np.linspace(0, 1, n):
        if upright:
            a, b = s.point(wide * (2 * share - 1), 0), s.point(wide * (2 * share - 1), 1)
        else:
            a, b = s.point(-wide, share), s.point(wide, share)
        pen.strip(a, b, s.width * 1.5, 0.1 * s.width, m, facing)
    for x in rng.uniform(-wide, wide, rng.integers(1, 4)):
        pen.line(s.point(x, -0.1), s.point(x, 1), 0.3 * s.width, pen.material())


def scaffold(pen: Pen, s: Spot) -> None:
    """A lattice of tubes in space: scaffolding, racks, cages."""
    rng, m = pen.rng, pen.material()
    n, k, d = int(rng.integers(2, 6)), int(rng.integers(2, 6)), int(rng.integers(1, 3))
    xs, ys, zs = np.linspace(-0.7, 0.7, n), np.linspace(0, 1, k), np.linspace(0, 0.5 * (d - 1), d)
    for z in zs:
        for x in xs:
            pen.line(s.point(x, 0, z), s.point(x, 1, z), s.width, m)
        for y in ys[1:]:
            pen.line(s.point(-0.7, y, z), s.point(0.7, y, z), s.width, m)
    for x in xs:
        for y in ys[1:] if d > 1 else []:
            pen.line(s.point(x, y, 0), s.point(x, y, zs[-1]), s.width, m)
    for _ in range(rng.integers(0, 4)):
        i, j = rng.integers(n - 1), rng.integers(k - 1)
        pen.line(s.point(xs[i], ys[j]), s.point(xs[i + 1], ys[j + 1]), s.width * 0.8, m)
    for y in ys[1:] if rng.random() < 0.4 else []:
        pen.slab(s.point(0, y, zs[-1] / 2), (0.7 * s.height, 0.2 * s.width, (0.05 + zs[-1] / 2) * s.height), pen.material(), s.turn)


def sign(pen: Pen, s: Spot) -> None:
    """A plate or two on a pole."""
    rng, m = pen.rng, pen.material()
    pen.line(s.point(0, 0), s.point(0, 1), s.width * rng.uniform(0.8, 2), m)
    for y in rng.uniform(0.55, 1, rng.integers(1, 3)):
        plate, half = pen.material(), rng.uniform(0.06, 0.22, 2) * s.height
        if rng.random() < 0.5:
            pen.ball(s.point(0, y, -0.02), (half[0], half[0], 0.1 * s.width), plate, s.turn)
        else:
            pen.slab(s.point(rng.choice([0, 0.1]), y, -0.02), (half[0], half[1], 0.1 * s.width), plate, s.turn)


def antenna(pen: Pen, s: Spot) -> None:
    """A mast with elements across, or with guy wires."""
    rng, m = pen.rng, pen.material()
    pen.line(s.point(0, 0), s.point(0, 1), s.width * 1.3, m)
    boom = rng.uniform(0.2, 0.5)
    pen.line(s.point(-boom, 0.9), s.point(boom, 0.9), s.width, m)
    for x in np.linspace(-boom, boom, int(rng.integers(4, 14))):
        half = rng.uniform(0.05, 0.25)
        pen.line(s.point(x, 0.9 - half), s.point(x, 0.9 + half), 0.6 * s.width, m)
    for angle in rng.uniform(0, 2 * np.pi, rng.integers(0, 5)):
        pen.line(s.point(0, rng.uniform(0.5, 0.8)), s.point(0.6 * np.cos(angle), 0, 0.6 * np.sin(angle)), 0.4 * s.width, m)


def clothes_line(pen: Pen, s: Spot) -> None:
    """Lines between posts with cloths on them."""
    rng, m, length = pen.rng, pen.material(), pen.rng.uniform(1.2, 3)
    for z in np.linspace(0, rng.uniform(0, 0.5), int(rng.integers(1, 4))):
        points = pen.sag(s.point(-length / 2, 1, z), s.point(length / 2, 1, z), rng.uniform(0, 0.08) * s.height)
        pen.tube(points, 0.6 * s.width, m)
        for i in rng.integers(1, 16, rng.integers(0, 6)):
            half = rng.uniform(0.03, 0.2, 2) * s.height
            hang = rotation_ypr(rng.normal(0, 0.2), rng.normal(0, 0.15), 0)
            pen.builder.add(Kind.QUAD, points[i] + [0, half[1], 0], (half[0], half[1], 1), pen.material(), s.turn @ hang)
    for x in (-length / 2, length / 2):
        pen.line(s.point(x, 0), s.point(x, 1.05), s.width * rng.uniform(1, 3), m)


def tripod(pen: Pen, s: Spot) -> None:
    """Legs that meet under a head: tripod, coat rack, parasol or lamp."""
    rng, m = pen.rng, pen.material()
    hub, n = rng.uniform(0.3, 0.9), int(rng.integers(3, 7))
    for angle in np.linspace(0, 2 * np.pi, n, endpoint=False) + rng.uniform(0, 6):
        pen.line(s.point(0.3 * np.cos(angle), 0, 0.3 * np.sin(angle)), s.point(0, hub), s.width, m)
        if rng.random() < 0.7:
            reach = rng.uniform(0.1, 0.4)
            arm = s.point(reach * np.cos(angle), rng.uniform(0.8, 1.1), reach * np.sin(angle))
            pen.line(s.point(0, 0.97), arm, 0.7 * s.width, m)
    pen.line(s.point(0, hub), s.point(0, 1), s.width, m)
    if rng.random() < 0.5:
        pen.ball(s.point(0, 1), rng.uniform(0.05, 0.15, 3) * s.height, pen.material(), s.turn)


MAKERS = {
    bar_fence: 4, wire_fence: 2, chain_link: 3, net: 1, railing: 2, ladder: 1, chair: 5, table: 4, toy: 1, wheel: 2, cables: 5,
    power_line: 3, blinds: 2, scaffold: 1.5, sign: 1.5, antenna: 1.5, clothes_line: 1.5, tripod: 2,
}  # fmt: skip
