"""Plants: stems in vases, grass, reeds, twigs with leaves, hair."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.training.scenes.layout import MASKS_PLANT
from depth_retrofit_ros.training.scenes.scene import Kind
from depth_retrofit_ros.training.scenes.thin.pen import Pen, Spot


def bouquet(pen: Pen, s: Spot) -> None:
    """Stems that radiate from one point, most with a head, in a vase or none."""
    rng, stem, n = pen.rng, pen.green(), int(pen.rng.integers(8, 55))
    heads = [pen.material() for _ in range(rng.integers(1, 4))]
    base, spread, bend = (0.3 if rng.random() < 0.6 else 0.02), rng.uniform(0.3, 1.3), rng.uniform(0, 0.3)
    if base > 0.1:
        r = rng.uniform(0.06, 0.16) * s.height
        if rng.random() < 0.5:
            pen.ball(s.point(0, base / 2), (r, base / 2 * s.height, r), pen.material(), s.turn)
        else:
            pen.line(s.point(0, 0), s.point(0, base), 2 * r, pen.material())
    kind, size = rng.choice(["disc", "ball", "leaf", "none"]), pen.log_uniform(1.5, 10) * s.width
    for _ in range(n):
        direction = rng.normal([0, 1, 0], [spread, 0.25, spread])
        end = np.array([0, base, 0]) + direction / np.linalg.norm(direction) * (1 - base) * rng.uniform(0.6, 1.2)
        middle = 0.5 * (end + [0, base, 0]) + rng.normal(0, bend, 3) * 0.3
        points = pen.spline(s.points(np.stack([np.array([0, base * 0.9, 0]), middle, end])), 4 if bend > 0.05 else 1)
        pen.tube(points, s.width, stem, s.width * rng.uniform(0.4, 1))
        if kind == "none" or rng.random() < 0.15:
            continue
        head = heads[rng.integers(len(heads))]
        half = size * rng.uniform(0.5, 1.3)
        if kind == "leaf":
            pen.leaf(points[-1], points[-1] - points[-2], 2.5 * half, half, head)
        else:
            flat = 0.08 if kind == "disc" else rng.uniform(0.5, 1)
            pen.ball(points[-1], (half, half, flat * half), head, pen.any_turn())


def grass(pen: Pen, s: Spot) -> None:
    """Blades or reeds over a patch of ground, bent by one wind."""
    rng, n = pen.rng, int(pen.rng.integers(30, 160))
    colors, wind = [pen.green() for _ in range(3)], rng.normal(0, 0.35, 2)
    wide, deep, ears = rng.uniform(0.3, 2.5), rng.uniform(0.05, 1), rng.random() < 0.3
    for x, z in zip(rng.uniform(-wide, wide, n), rng.uniform(-deep, deep, n), strict=True):
        tall = rng.uniform(0.35, 1.1)
        lean = (wind + rng.normal(0, 0.2, 2)) * tall
        t = np.linspace(0, 1, int(rng.integers(3, 6)))[:, None]
        local = np.array([x, 0, z]) + t * [0, tall, 0] + t**2 * [lean[0], -0.3 * np.hypot(*lean), lean[1]]
        points = s.points(local)
        pen.tube(points, s.width, colors[rng.integers(3)], 0.25 * s.width)
        if ears:
            pen.leaf(points[-1], points[-1] - points[-2], 6 * s.width, 1.5 * s.width, colors[0])


def twigs(pen: Pen, s: Spot) -> None:
    """A branching stem down to twigs, with leaves or bare."""
    rng, wood = pen.rng, pen.green()
    leaf = pen.green()
    trunk = s.width * pen.log_uniform(1, 6)
    leafy = rng.choice([0.0, 0.5, 1.0])
    size = pen.log_uniform(2, 9) * s.width
    stack = [(np.zeros(3), np.array([0.0, 1.0, 0.0]), rng.uniform(0.25, 0.5), trunk, 0)]
    count = 0
    while stack and count < 220:
        start, direction, length, width, level = stack.pop(0)
        end = start + direction * length
        middle = 0.5 * (start + end) + rng.normal(0, 0.06, 3) * length
        points = pen.spline(s.points(np.stack([start, middle, end])), 2)
        pen.tube(points, width, wood, max(0.7 * width, 0.6 * s.width))
        count += 1
        if level < 5:
            for _ in range(rng.integers(2, 4)):
                turned = direction + rng.normal(0, 0.55, 3)
                narrower = max(width * rng.uniform(0.5, 0.8), 0.6 * s.width)
                stack.append((end, turned / np.linalg.norm(turned), length * rng.uniform(0.55, 0.9), narrower, level + 1))
        if level >= 2:
            for _ in range(rng.integers(0, 6) if rng.random() < leafy else 0):
                at = points[rng.integers(len(points))]
                pen.leaf(at, rng.normal(0, 1, 3), size * rng.uniform(0.6, 1.4), size * rng.uniform(0.2, 0.5), leaf)


def foliage(pen: Pen, s: Spot) -> None:
    """Leaves without their twigs: hedge, ivy, crown."""
    rng, n = pen.rng, int(pen.rng.integers(80, 350))
    colors, size = [pen.green() for _ in range(3)], pen.log_uniform(1.2, 6) * s.width
    shape = rng.uniform(0.15, 0.6, 3)
    at = s.points(rng.normal(0, 1, (n, 3)) * shape * 0.6 + [0, 0.6, 0])
    for center in at:
        pen.leaf(center, rng.normal(0, 1, 3), size * rng.uniform(1, 2.5), size * rng.uniform(0.4, 1), colors[rng.integers(3)])


def cards(pen: Pen, s: Spot) -> None:
    """Foliage as cut-out sheets through one centre, on a stem."""
    rng = pen.rng
    pen.line(s.point(0, 0), s.point(0, 0.6), s.width * rng.uniform(1, 4), pen.green())
    sheet = pen.deco.cut(MASKS_PLANT, s.height * rng.uniform(0.3, 1.2))
    sheet.tint = pen.green().tint
    for _ in range(rng.integers(2, 7)):
        half = rng.uniform(0.2, 0.5, 2) * s.height
        pen.builder.add(Kind.QUAD, s.point(*rng.normal([0, 0.7, 0], 0.12)), (half[0], half[1], 1), sheet, pen.any_turn())


def fern(pen: Pen, s: Spot) -> None:
    """Arching fronds with leaflets on both sides: fern, palm."""
    rng, m = pen.rng, pen.green()
    pot = rng.random() < 0.5
    if pot:
        pen.line(s.point(0, 0), s.point(0, 0.25), 0.3 * s.height, pen.material())
    base = np.array([0, 0.25 if pot else 0.0, 0])
    for angle in rng.uniform(0, 2 * np.pi, rng.integers(4, 12)):
        out = np.array([np.cos(angle), 0, np.sin(angle)])
        t = np.linspace(0, 1, 9)[:, None]
        local = (
            base
            + t * out * rng.uniform(0.3, 0.8)
            + np.array([0, 1, 0]) * (rng.uniform(0.6, 1.1) * t - rng.uniform(0.3, 0.9) * t**2)
        )
        points = s.points(local)
        pen.tube(points, s.width, m, 0.4 * s.width)
        side = np.cross(s.turn @ out, [0, 1, 0])
        for i in range(1, 8):
            for sign in (-1, 1):
                direction = sign * side + 0.5 * (points[i + 1] - points[i]) / np.linalg.norm(points[i + 1] - points[i])
                pen.leaf(points[i], direction, 0.25 * s.height * np.sin(0.4 + 0.3 * i), 1.2 * s.width, m)


def hair(pen: Pen, s: Spot) -> None:
    """Fine strands beside one another from a ball or a rod: hair, brush, fringe, tassel."""
    rng, m, n = pen.rng, pen.material(), int(pen.rng.integers(50, 160))
    r, fall, width = rng.uniform(0.12, 0.3), rng.uniform(-0.8, 0.3), max(0.35 * s.width, 1e-4)
    head = s.point(0, 0.7)
    pen.ball(head, r * s.height, m if rng.random() < 0.6 else pen.material())
    curl = rng.normal(0, 0.15, 3)
    for _ in range(n):
        d = rng.normal(0, 1, 3)
        d[1] = abs(d[1]) * rng.choice([1, 1, 0.2])
        d /= np.linalg.norm(d)
        t = np.linspace(0, 1, 4)[:, None]
        local = [0, 0.7, 0] + d * (r + t * rng.uniform(0.1, 0.45)) + t**2 * ([0, fall * 0.4, 0] + curl + rng.normal(0, 0.04, 3))
        pen.tube(s.points(local), width, m, 0.6 * width)


MAKERS = {bouquet: 6, grass: 3, twigs: 4, foliage: 2, cards: 1, fern: 2, hair: 1.5}
