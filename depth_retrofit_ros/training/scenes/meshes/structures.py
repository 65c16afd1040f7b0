"""What streets and yards have and no catalogue: fences, posts, wires, ladders, lines of washing, stairs, bare trees, hedges."""

from __future__ import annotations

import itertools

import numpy as np

from depth_retrofit_ros.training.scenes.meshes.palette import Palette
from depth_retrofit_ros.training.scenes.meshes.shell import UP
from depth_retrofit_ros.training.scenes.meshes.soup import Paint
from depth_retrofit_ros.training.scenes.scene import frame_along

FENCES = ("pickets", "bars", "rails", "mesh", "wires", "boards")
MOST_BARS = 260  # of one fence


def fence(palette: Palette, start: np.ndarray, stop: np.ndarray, height: float, style: str | None = None) -> None:
    """A fence on the ground from start to stop [3] m, of a style of ``FENCES``."""
    rng, builder = palette.rng, palette.builder
    style = style or str(rng.choice(FENCES))
    run = stop - start
    length = float(np.linalg.norm(run))
    along = run / length
    yaw = float(np.arctan2(-along[2], along[0]))
    wooden = style in ("pickets", "boards", "rails")
    paint = palette.paint("wood") if wooden and rng.random() < 0.7 else palette.plain(float(rng.uniform(0.05, 0.6)), shine=0.1)

    def at(s: float, above: float, out: float = 0.0) -> np.ndarray:
        return np.asarray(start + s * along + above * UP + out * np.array([along[2], 0, -along[0]]))

    def bar(above: float, radius: float) -> None:
        builder.tube(np.stack([at(0, above), at(length, above)]), radius, paint, sides=5)

    posts = max(2, int(length / rng.uniform(1.6, 3.0)) + 1)
    post = rng.uniform(0.02, 0.05)
    for s in np.linspace(0, length, posts):
        builder.box(at(s, height / 2), (post, height / 2, post), paint, yaw)
    if style == "pickets":
        width = rng.uniform(0.03, 0.06)
        for s in np.arange(0.06, length, max(2 * width + rng.uniform(0.03, 0.09), length / MOST_BARS)):
            top = height * rng.uniform(0.95, 1.0)
            builder.box(at(s, top / 2 + 0.04, 0.03), (width, top / 2, 0.009), paint, yaw)
        for above in (0.25 * height, 0.8 * height):
            builder.box(at(length / 2, above), (length / 2, 0.035, 0.02), paint, yaw)
    elif style == "bars":
        radius = rng.uniform(0.005, 0.011)
        for s in np.arange(0.08, length, max(rng.uniform(0.09, 0.16), length / MOST_BARS)):
            builder.tube(np.stack([at(s, 0.08), at(s, height)]), radius, paint, sides=5)
        for above in (0.1, height - 0.1):
            bar(above, 1.4 * radius)
    elif style == "rails":
        for above in np.linspace(0.3 * height, 0.95 * height, int(rng.integers(2, 5))):
            builder.box(at(length / 2, above), (length / 2, rng.uniform(0.03, 0.07), 0.015), paint, yaw)
    elif style == "mesh":
        _mesh(palette, at, length, height, paint)
    elif style == "wires":
        for above in np.linspace(0.2 * height, height, int(rng.integers(4, 9))):
            bar(above, 0.0025)
    else:
        width = rng.uniform(0.05, 0.09)
        for s in np.arange(width, length - width, max(2 * width + 0.008, length / MOST_BARS)):
            builder.box(at(s, height / 2, 0.03), (width, height / 2 * rng.uniform(0.98, 1), 0.01), paint, yaw)


def _mesh(palette: Palette, at, length: float, height: float, paint: Paint) -> None:  # type: ignore[no-untyped-def]
    """Welded wires, upright and level."""
    wide, high = max(palette.rng.uniform(0.05, 0.1), length / MOST_BARS), palette.rng.uniform(0.1, 0.2)
    for s in np.arange(0, length, wide):
        palette.builder.tube(np.stack([at(s, 0.03), at(s, height)]), 0.0025, paint, sides=4, closed=False)
    for above in np.arange(0.05, height, high):
        palette.builder.tube(np.stack([at(0, above), at(length, above)]), 0.003, paint, sides=4, closed=False)


def hang(palette: Palette, start: np.ndarray, stop: np.ndarray, sag: float, radius: float, paint: Paint) -> None:
    """A wire between two points [3] that sags by so much [m]."""
    s = np.linspace(0, 1, 13)[:, None]
    path = start + s * (stop - start) - 4 * sag * s * (1 - s) * UP
    palette.builder.tube(path, radius, paint, sides=5, closed=False)


def power_line(palette: Palette, poles: list[np.ndarray], across: np.ndarray) -> None:
    """Poles at these feet [3], with arms along ``across`` (unit) and wires from one to the next."""
    rng, builder = palette.rng, palette.builder
    paint, wire = palette.paint("wood"), palette.plain(0.04, grey=True)
    height, arm = rng.uniform(6, 9), rng.uniform(0.5, 1.1)
    offsets = np.linspace(-arm, arm, int(rng.integers(2, 5)))
    sag, radius = rng.uniform(0.2, 0.7), rng.uniform(0.006, 0.016)
    yaw = float(np.arctan2(-across[2], across[0]))
    for foot in poles:
        builder.tube(np.stack([foot, foot + height * UP]), np.array([0.14, 0.09]), paint, sides=10)
        builder.box(foot + (height - 0.5) * UP, (arm + 0.1, 0.05, 0.05), paint, yaw)
        for o in offsets:
            top = foot + (height - 0.45) * UP + o * across
            builder.tube(np.stack([top, top + 0.12 * UP]), 0.03, wire, sides=6)
    for a, b in itertools.pairwise(poles):
        for o in offsets:
            lift = (height - 0.33) * UP + o * across
            hang(palette, a + lift, b + lift, sag * rng.uniform(0.8, 1.2), radius, wire)


def lamp_post(palette: Palette, foot: np.ndarray, towards: np.ndarray, glow: float) -> np.ndarray:
    """A street lamp with an arm; returns where its light is."""
    rng, builder = palette.rng, palette.builder
    paint = palette.plain(float(rng.uniform(0.05, 0.35)), shine=0.2, grey=True)
    height, reach, radius = rng.uniform(3.5, 7), rng.uniform(0.4, 1.6), rng.uniform(0.03, 0.06)
    top = foot + height * UP
    curve = np.stack(
        [foot, foot + 0.5 * height * UP, top, top + 0.4 * UP + 0.4 * reach * towards, top + 0.5 * UP + reach * towards]
    )
    builder.tube(curve, np.array([1.6, 1.2, 0.9, 0.7, 0.6]) * radius, paint, sides=10)
    head = curve[-1]
    builder.box(head, (0.13, 0.05, 0.13), paint)
    builder.box(head - 0.06 * UP, (0.1, 0.015, 0.1), palette.plain(0.8, glow=glow))
    return np.asarray(head - 0.2 * UP)


def sign(palette: Palette, foot: np.ndarray, yaw: float) -> None:
    """A post with one or two plates."""
    rng, builder = palette.rng, palette.builder
    height = rng.uniform(1.9, 2.8)
    builder.tube(np.stack([foot, foot + height * UP]), rng.uniform(0.02, 0.035), palette.plain(0.3, shine=0.2, grey=True))
    out = np.array([-np.sin(yaw), 0, -np.cos(yaw)]) * 0.05
    for k in range(int(rng.integers(1, 3))):
        half = (rng.uniform(0.15, 0.35), rng.uniform(0.12, 0.3), 0.004)
        paint = Paint(palette.builder.material(rng.dirichlet((0.7, 0.7, 0.7)) * 0.9, grain=0.0), 1.0)
        builder.box(foot + (height - 0.3 - 0.55 * k) * UP + out, half, paint, yaw)


def ladder(palette: Palette, foot: np.ndarray, top: np.ndarray) -> None:
    """Leaning from its foot to its top [3]."""
    rng, builder = palette.rng, palette.builder
    paint = palette.paint("wood") if rng.random() < 0.5 else palette.plain(0.45, shine=0.3, grey=True)
    away = (top - foot) / np.linalg.norm(top - foot)
    side = np.cross(away, UP)
    side *= rng.uniform(0.18, 0.26) / np.linalg.norm(side)
    radius = rng.uniform(0.015, 0.028)
    for sign_ in (-1, 1):
        builder.tube(np.stack([foot + sign_ * side, top + sign_ * side]), radius, paint, sides=6)
    for s in np.arange(0.25, np.linalg.norm(top - foot) - 0.1, 0.28):
        middle = foot + s * away
        builder.tube(np.stack([middle - side, middle + side]), 0.7 * radius, paint, sides=6)


def washing_line(palette: Palette, start: np.ndarray, stop: np.ndarray) -> None:
    """Two posts, one or two lines, and cloths that hang from them."""
    rng, builder = palette.rng, palette.builder
    paint, height = palette.plain(float(rng.uniform(0.1, 0.6))), rng.uniform(1.7, 2.1)
    for foot in (start, stop):
        builder.tube(np.stack([foot, foot + (height + 0.05) * UP]), 0.025, paint)
    sag = rng.uniform(0.03, 0.15)
    hang(palette, start + height * UP, stop + height * UP, sag, 0.003, palette.plain(0.6, grey=True))
    run = stop - start
    length = float(np.linalg.norm(run))
    out = np.cross(run / length, UP)
    s = 0.25
    while s < length - 0.9:
        width, drop = rng.uniform(0.25, 0.8), rng.uniform(0.3, 1.2)
        u, t = np.linspace(0, 1, 10), np.linspace(0, 1, 6)
        place_ = (s + u * width) / length
        high = height - 4 * sag * place_ * (1 - place_)
        wave = 0.04 * t[:, None] * np.sin(2 * np.pi * (u[None] * rng.uniform(1, 3) + rng.random()))
        grid = start + place_[None, :, None] * run + (high[None] - t[:, None] * drop)[..., None] * UP + wave[..., None] * out
        cloth = palette.paint("fabric", own=True) if rng.random() < 0.6 else palette.plain(float(rng.uniform(0.2, 0.8)))
        uv = np.stack(np.broadcast_arrays(u[None] * width, -t[:, None] * drop), -1) / cloth.repeat
        builder.sheet(grid, uv, cloth.material)
        s += width + rng.uniform(0.03, 0.5)


def stairs(palette: Palette, foot: np.ndarray, towards: np.ndarray, steps: int, width: float) -> None:
    """Steps of 17 cm up from a foot, with a handrail at one side."""
    builder = palette.builder
    paint, yaw = palette.paint("paving"), float(np.arctan2(-towards[0], -towards[2]))
    side = np.cross(towards, UP) * width / 2
    for k in range(steps):
        middle = foot + (k + 0.5) * 0.28 * towards + (k + 1) * 0.085 * UP
        builder.box(middle, (width / 2, (k + 1) * 0.085, 0.14), paint, yaw)
    rail = palette.plain(0.06, shine=0.2, grey=True)
    ends = np.stack([foot + side + 0.95 * UP, foot + side + (0.95 + 0.17 * steps) * UP + 0.28 * steps * towards])
    builder.tube(ends, 0.02, rail)
    for s in np.linspace(0, 1, steps + 1):
        top = ends[0] + s * (ends[1] - ends[0])
        builder.tube(np.stack([top, top - 0.95 * UP]), 0.009, rail, sides=5)


def bare_tree(palette: Palette, foot: np.ndarray, height: float) -> None:
    """Trunk, branches and twigs, without leaves."""
    rng, builder, paint = palette.rng, palette.builder, palette.paint("bark", own=True)
    stack = [(np.asarray(foot, float), np.asarray(UP + rng.normal(0, 0.05, 3)), height * 0.35, height * 0.022, 0)]
    count = 0
    while stack and count < 420:
        at, way, length, radius, order = stack.pop(0)
        bend = way + rng.normal(0, 0.08, 3)
        middle, tip = at + way * length / 2, at + way * length / 2 + bend / np.linalg.norm(bend) * length / 2
        builder.tube(
            np.stack([at, middle, tip]), radius * np.array([1, 0.85, 0.7]), paint, sides=7 if order < 2 else 4, closed=False
        )
        count += 1
        if order < 6 and radius > 0.0025:
            for _ in range(int(rng.integers(2, 4))):
                frame = frame_along(way / np.linalg.norm(way))
                angle, spread = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.8)
                new = way + spread * (np.cos(angle) * frame[:, 0] + np.sin(angle) * frame[:, 1]) + 0.08 * UP
                stack.append(
                    (tip, new / np.linalg.norm(new), length * rng.uniform(0.62, 0.9), radius * rng.uniform(0.5, 0.7), order + 1)
                )


def hedge(palette: Palette, start: np.ndarray, stop: np.ndarray, height: float, thick: float) -> None:
    """A clipped hedge: a box behind thousands of small leaves."""
    rng, builder = palette.rng, palette.builder
    run = stop - start
    length = float(np.linalg.norm(run))
    along, out = run / length, np.array([run[2], 0, -run[0]]) / length
    yaw = float(np.arctan2(-along[2], along[0]))
    paint = palette.paint("hedge", own=True)
    builder.box((start + stop) / 2 + height / 2 * UP, (length / 2, height / 2, thick / 2), paint, yaw)
    count = int(min(9000, 500 * length * (2 * height + thick)))
    s, h, side = rng.uniform(0, length, count), rng.uniform(0, height, count), rng.integers(0, 3, count)
    w = np.where(side == 2, rng.uniform(-0.5, 0.5, count), np.where(side == 0, -0.5, 0.5)) * thick
    h = np.where(side == 2, height, h)
    centers = start + s[:, None] * along + h[:, None] * UP + w[:, None] * out + rng.normal(0, 0.02, (count, 3))
    a, b = rng.normal(0, 0.022, (count, 3)), rng.normal(0, 0.022, (count, 3))
    points = np.stack([centers - a, centers + a, centers + b], 1)
    normal = np.cross(a, b)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    uv = rng.uniform(0, 4, (count, 1, 2)) + np.array([[0, 0], [0.03, 0], [0, 0.03]])
    builder.triangles_of(points, np.repeat(normal[:, None], 3, 1), uv, paint.material)
