"""Where things stand: rooms, streets and free-floating clutter, all drawn from one random generator."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from depth_retrofit_ros.training.scenes.scene import Kind, Light, Material, Pose, Scene, SceneBuilder, rotation_ypr
from depth_retrofit_ros.training.scenes.textures import TextureStack

MASKS_GRID = (0, 1, 2, 3)  # lattices, bars, mesh: fences, shelves, window grids
MASKS_PLANT = (4, 5, 6, 7)  # leaves and branches


@dataclass(frozen=True, slots=True)
class SceneAndPose:
    """A scene and a camera pose that sees something of it."""

    scene: Scene
    pose: Pose
    kind: str


class Decorator:
    """Draws materials; with a low probability everything shares one material, so that depth edges are without texture edges."""

    def __init__(self, rng: np.random.Generator, textures: TextureStack) -> None:
        self.rng = rng
        self.textures = textures
        self._shared = self._draw() if rng.random() < 0.07 else None

    def _draw(self, low_m: float = 0.15, high_m: float = 3.0, plain: float = 0.3) -> Material:
        rng = self.rng
        gray = rng.uniform(0.45, 1.2)
        tint = np.clip(gray * (1 + rng.normal(0, rng.choice([0.02, 0.05, 0.15]), 3)), 0.05, 1.4)
        gloss = float(rng.uniform(0, 0.8)) if rng.random() < 0.25 else 0.0
        texture = int(rng.integers(self.textures.plain if rng.random() < plain else self.textures.count))
        return Material(texture, float(np.exp(rng.uniform(np.log(low_m), np.log(high_m)))), tint, gloss)

    def solid(self) -> Material:
        """A material for a closed surface."""
        return self._shared or self._draw()

    def large(self, scale_m: float) -> Material:
        """A material for walls, floors and roads, mostly calm; scale_m: typical size of a repeat."""
        return self._shared or self._draw(0.3 * scale_m, 2.5 * scale_m, plain=0.6)

    def cut(self, masks: tuple[int, ...], scale_m: float) -> Material:
        """A material with holes."""
        m = self.solid()
        return Material(m.texture, m.scale_m, m.tint, m.gloss, int(self.rng.choice(masks)), scale_m)


def random_light(rng: np.random.Generator, outdoors: bool) -> Light:
    """A sun anywhere above, from hard noon to overcast."""
    to_sun = rng.normal(size=3)
    to_sun[1] = -abs(to_sun[1]) - 0.4
    to_sun /= np.linalg.norm(to_sun)
    strength = rng.uniform(0.5, 3.0) if rng.random() < 0.8 else 0.0
    warmth = 1 + rng.normal(0, 0.08) * np.array([1, 0, -1])
    sky = np.array([0.35, 0.55, 0.9]) if outdoors else np.array([0.7, 0.7, 0.7])
    sky = np.clip(sky * rng.uniform(0.4, 1.2) + rng.normal(0, 0.12, 3), 0.02, 1)
    return Light(
        to_sun=to_sun.astype(np.float32),
        sun=(strength * warmth).astype(np.float32),
        ambient=(rng.uniform(0.45, 1.6) * np.clip(2 - warmth, 0.7, 1.3)).astype(np.float32),
        penumbra=float(rng.uniform(0.3, 5)),
        sky_top=sky.astype(np.float32),
        sky_horizon=np.clip(sky + rng.uniform(0, 0.5), 0, 1).astype(np.float32),
    )


def random_scene(rng: np.random.Generator, textures: TextureStack) -> SceneAndPose:
    """One of the three kinds: room 50 %, street 30 %, clutter 20 %."""
    kind = rng.choice(["room", "street", "clutter"], p=[0.5, 0.3, 0.2])
    return {"room": _room, "street": _street, "clutter": _clutter}[kind](rng, Decorator(rng, textures))


def _room(rng: np.random.Generator, deco: Decorator) -> SceneAndPose:
    width, depth, height = rng.uniform(2.2, 9), rng.uniform(2.5, 12), rng.uniform(2.2, 4)
    b = SceneBuilder()
    flat = rotation_ypr(0, np.pi / 2, 0)
    side = rotation_ypr(np.pi / 2, 0, 0)
    # The floor is y = 0, the ceiling y = −height; the room spans x ± width/2 and z 0…depth.
    b.add(Kind.QUAD, (0, 0, depth / 2), (width, depth, 1), deco.large(2), flat, casts_shadow=False)
    b.add(Kind.QUAD, (0, -height, depth / 2), (width, depth, 1), deco.large(2), flat, casts_shadow=False)
    for z in (0.0, depth):
        b.add(Kind.QUAD, (0, -height / 2, z), (width / 2, height / 2, 1), deco.large(2), casts_shadow=False)
    for x in (-width / 2, width / 2):
        b.add(Kind.QUAD, (x, -height / 2, depth / 2), (depth / 2, height / 2, 1), deco.large(2), side, casts_shadow=False)
    for _ in range(rng.integers(0, 7)):  # pictures, doors, windows, posters: texture edges with hardly any depth edge
        x, y = rng.uniform(-width / 2, width / 2), -rng.uniform(0.2, height - 0.2)
        b.add(Kind.BOX, (x, y, depth), (rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), rng.uniform(0.005, 0.05)), deco.solid())
    for _ in range(rng.integers(4, 20)):
        _furniture(rng, deco, b, np.array([rng.uniform(-width / 2, width / 2), 0.0, rng.uniform(0.8, depth)]))
    for _ in range(rng.integers(0, 6)):  # lamps and things that hang from the ceiling
        x, z, drop = rng.uniform(-width / 2, width / 2), rng.uniform(0.8, depth), rng.uniform(0.2, height * 0.6)
        b.rod(np.array([x, -height, z]), np.array([x, -height + drop, z]), rng.uniform(0.002, 0.015), deco.solid())
        r = rng.uniform(0.04, 0.25)
        b.add(Kind.ELLIPSOID, (x, -height + drop, z), (r, r * rng.uniform(0.4, 1.2), r), deco.solid())
    eye = np.array([rng.uniform(-0.35, 0.35) * width, -rng.uniform(0.3, min(2.0, height - 0.3)), rng.uniform(0.1, 0.35) * depth])
    pose = Pose(rotation_ypr(rng.normal(0, 0.35), rng.normal(-0.12, 0.18), rng.normal(0, 0.04)), eye)
    return SceneAndPose(b.build(random_light(rng, outdoors=False)), pose, "room")


def _furniture(rng: np.random.Generator, deco: Decorator, b: SceneBuilder, at: np.ndarray) -> None:
    maker = rng.choice(["table", "chair", "box", "shelf", "plant", "lamp", "cable", "ball", "pile", "screen"])
    turn = rotation_ypr(rng.uniform(0, 2 * np.pi), 0, 0)
    {
        "table": _table, "chair": _chair, "box": _block, "shelf": _shelf, "plant": _plant,
        "lamp": _stand, "cable": _cable, "ball": _ball, "pile": _pile, "screen": _screen,
    }[maker](rng, deco, b, at, turn)  # fmt: skip


def _legs(
    rng: np.random.Generator, deco: Decorator, b: SceneBuilder, at: np.ndarray, turn: np.ndarray, wx: float, wz: float, h: float
) -> None:
    material, r = deco.solid(), rng.uniform(0.006, 0.04)
    for sx in (-1, 1):
        for sz in (-1, 1):
            foot = at + turn @ np.array([sx * wx * rng.uniform(0.85, 1.0), 0, sz * wz * 0.9])
            b.rod(foot, at + turn @ np.array([sx * wx * 0.85, -h, sz * wz * 0.85]), r, material)


def _table(rng: np.random.Generator, deco: Decorator, b: SceneBuilder, at: np.ndarray, turn: np.ndarray) -> None:
    wx, wz, h = rng.uniform(0.25, 1.1), rng.uniform(0.2, 0.7), rng.uniform(0.35, 1.0)
    b.add(Kind.BOX, at + [0, -h, 0], (wx, rng.uniform(0.01, 0.05), wz), deco.solid(), turn)
    _legs(rng, deco, b, at, turn, wx, wz, h)
    for _ in range(rng.integers(0, 7)):
        top = at + turn @ np.array([rng.uniform(-wx, wx), 0, rng.uniform(-wz, wz)]) + [0, -h, 0]
        _small_thing(rng, deco, b, top)


def _small_thing(rng: np.random.Generator, deco: Decorator, b: SceneBuilder, at: np.ndarray) -> None:
    r, h = rng.uniform(0.02, 0.12), rng.uniform(0.03, 0.35)
    kind = Kind(int(rng.choice([Kind.BOX, Kind.CYLINDER, Kind.ELLIPSOID])))
    if kind == Kind.CYLINDER:
        b.rod(at, at + [0, -h, 0], r, deco.solid())
    else:
        half = (r, h / 2, r * rng.uniform(0.3, 1.5))
        b.add(kind, at + [0, -h / 2, 0], half, deco.solid(), rotation_ypr(rng.uniform(0, np.pi), 0, 0))


def _chair(rng: np.random.Generator, deco: Decorator, b: SceneBuilder, at: np.ndarray, turn: np.ndarray) -> None:
    w, h, back = rng.uniform(0.18, 0.3), rng.uniform(0.38, 0.6), rng.uniform(0.3, 0.7)
    material = deco.solid()
    b.add(Kind.BOX, at + [0, -h, 0], (w, rng.uniform(0.01, 0.05), w), material, turn)
    _legs(rng, deco, b, at, turn, w, w, h)
    n = int(rng.integers(2, 9))
    for i in range(n):  # spindles
        x = w * (2 * i / (n - 1) - 1)
        b.rod(at + turn @ np.array([x, -h, w]), at + turn @ np.array([x, -h - back, w * 1.15]), rng.uniform(0.004, 0.015), material)
    b.rod(at + turn @ np.array([-w, -h - back, w * 1.15]), at + turn @ np.array([w, -h - back, w * 1.15]), 0.015, material)


def _block(rng: np.random.Generator, deco: Decorator, b: SceneBuilder, at: np.ndarray, turn: np.ndarray) -> None:
    half = np.exp(rng.uniform(np.log(0.06), np.log(0.8), 3))
    b.add(Kind.BOX, at + [0, -half[1], 0], half, deco.solid(), turn)


def _shelf(rng: np.random.Generator, deco: Decorator, b: SceneBuilder, at: np.ndarray, turn: np.ndarray) -> None:
    w, d, h, n = rng.uniform(0.3, 0.9), rng.uniform(0.12, 0.3), rng.uniform(0.8, 2.2), int(rng.integers(2, 6))
    material = deco.solid()
    for i in range(n + 1):
        b.add(Kind.BOX, at + [0, -h * i / n, 0], (w, 0.012, d), material, turn)
        for _ in range(rng.integers(0, 4) if i < n else 0):
            _small_thing(rng, deco, b, at + turn @ np.array([rng.uniform(-w, w), 0, rng.uniform(-d, d)]) + [0, -h * i / n, 0])
    for sx in (-1, 1):
        b.add(Kind.BOX, at + turn @ np.array([sx * w, -h / 2, 0]), (0.012, h / 2, d), material, turn)


def _plant(rng: np.random.Generator, deco: Decorator, b: SceneBuilder, at: np.ndarray, turn: np.ndarray) -> None:
    h, r = rng.uniform(0.3, 1.8), rng.uniform(0.15, 0.7)
    b.rod(at, at + [0, -h, 0], rng.uniform(0.005, 0.05), deco.solid())
    _crown(rng, deco, b, at + np.array([0, -h, 0]), r, int(rng.integers(2, 6)))


def _crown(rng: np.random.Generator, deco: Decorator, b: SceneBuilder, at: np.ndarray, r: float, cards: int) -> None:
    """Foliage: cut-out cards through one centre."""
    material = deco.cut(MASKS_PLANT, r * rng.uniform(0.8, 2))
    material.tint = np.array([0.4, 0.6, 0.25]) * rng.uniform(0.4, 1.3) if rng.random() < 0.7 else material.tint
    for _ in range(cards):
        offset = rng.normal(0, 0.35 * r, 3)
        pose = rotation_ypr(rng.uniform(0, 2 * np.pi), rng.normal(0, 0.4), rng.uniform(0, 2 * np.pi))
        b.add(Kind.QUAD, at + offset, (r, r * rng.uniform(0.6, 1.1), 1), material, pose)


def _stand(rng: np.random.Generator, deco: Decorator, b: SceneBuilder, at: np.ndarray, turn: np.ndarray) -> None:
    h, lean = rng.uniform(0.8, 2.0), rng.normal(0, 0.1, 2)
    top = at + [lean[0], -h, lean[1]]
    b.rod(at, top, rng.uniform(0.004, 0.025), deco.solid())
    b.rod(top, top + [0, -rng.uniform(0.1, 0.35), 0], rng.uniform(0.05, 0.25), deco.solid())
    b.rod(at, at + [0, -0.03, 0], rng.uniform(0.1, 0.2), deco.solid())


def _cable(rng: np.random.Generator, deco: Decorator, b: SceneBuilder, at: np.ndarray, turn: np.ndarray) -> None:
    start = at + [0, -rng.uniform(0.2, 2), 0]
    end = start + turn @ np.array([rng.uniform(0.3, 3), rng.uniform(-0.5, 0.5), 0])
    _hang(b, start, end, rng.uniform(0.05, 0.5), rng.uniform(0.002, 0.012), deco.solid())


def _hang(b: SceneBuilder, start: np.ndarray, end: np.ndarray, sag: float, radius: float, material: Material) -> None:
    """A sagging rope of eight straight pieces."""
    s = np.linspace(0, 1, 9)[:, None]
    points = start + s * (end - start) + 4 * sag * s * (1 - s) * np.array([0, 1, 0])
    for a, c in pairwise(points):
        b.rod(a, c, radius, material)


def _ball(rng: np.random.Generator, deco: Decorator, b: SceneBuilder, at: np.ndarray, turn: np.ndarray) -> None:
    half = rng.uniform(0.06, 0.5) * rng.uniform(0.6, 1.4, 3)
    b.add(Kind.ELLIPSOID, at + [0, -half[1], 0], half, deco.solid(), turn)


def _pile(rng: np.random.Generator, deco: Decorator, b: SceneBuilder, at: np.ndarray, turn: np.ndarray) -> None:
    y = 0.0
    for _ in range(rng.integers(2, 7)):
        half = rng.uniform(0.04, 0.3, 3) * [1, 0.5, 1]
        b.add(Kind.BOX, at + [0, -y - half[1], 0], half, deco.solid(), rotation_ypr(rng.uniform(0, 6), 0, 0))
        y += 2 * half[1]


def _screen(rng: np.random.Generator, deco: Decorator, b: SceneBuilder, at: np.ndarray, turn: np.ndarray) -> None:
    """A grid to see through: fence panel, radiator, rack."""
    h = rng.uniform(0.5, 2.0)
    b.add(Kind.QUAD, at + [0, -h / 2, 0], (rng.uniform(0.3, 1.5), h / 2, 1), deco.cut(MASKS_GRID, rng.uniform(0.2, 1.2)), turn)


def _street(rng: np.random.Generator, deco: Decorator) -> SceneAndPose:
    b = SceneBuilder()
    reach = rng.uniform(60, 160)
    flat = rotation_ypr(0, np.pi / 2, 0)
    road, walk = rng.uniform(2.5, 7), rng.uniform(1, 4)
    b.add(Kind.QUAD, (0, 0, reach / 2), (reach, reach, 1), deco.large(8), flat, casts_shadow=False)
    b.add(Kind.BOX, (0, 0.02, reach / 2), (road, 0.03, reach / 2), deco.large(8), casts_shadow=False)
    for side in (-1, 1):
        z = rng.uniform(-5, 8)
        while z < reach and rng.random() < 0.93:
            length, deep, high = rng.uniform(4, 20), rng.uniform(2, 8), rng.uniform(2.5, 18)
            x = side * (road + walk + deep + rng.uniform(0, 3))
            b.add(Kind.BOX, (x, -high / 2, z + length / 2), (deep, high / 2, length / 2), deco.large(8))
            z += length + rng.exponential(3)
        for _ in range(rng.integers(1, 6)):
            _pole(rng, deco, b, np.array([side * (road + rng.uniform(0.2, walk)), 0, rng.uniform(2, 50)]), -side)
        for _ in range(rng.integers(0, 5)):
            _tree(rng, deco, b, np.array([side * (road + rng.uniform(0.2, walk + 3)), 0, rng.uniform(3, 60)]))
        if rng.random() < 0.4:
            h, n = rng.uniform(0.6, 2), rng.uniform(4, 30)
            b.add(
                Kind.QUAD,
                (side * (road + walk * 0.9), -h / 2, n),
                (n, h / 2, 1),
                deco.cut(MASKS_GRID, rng.uniform(0.5, 2)),
                rotation_ypr(np.pi / 2, 0, 0),
            )
    for _ in range(rng.integers(0, 9)):
        _car(rng, deco, b, np.array([rng.uniform(-road, road), 0, rng.uniform(4, 60)]))
    for _ in range(rng.integers(0, 8)):
        _block(
            rng,
            deco,
            b,
            np.array([rng.uniform(-road - walk, road + walk), 0, rng.uniform(2, 25)]),
            rotation_ypr(rng.uniform(0, 6), 0, 0),
        )
    for _ in range(rng.integers(0, 4)):
        z, y = rng.uniform(5, 50), rng.uniform(4, 9)
        _hang(
            b,
            np.array([-road - walk, -y, z]),
            np.array([road + walk, -y, z + rng.uniform(-8, 8)]),
            rng.uniform(0.2, 1),
            rng.uniform(0.01, 0.03),
            deco.solid(),
        )
    eye = np.array([rng.uniform(-road, road) * 0.8, -rng.uniform(0.5, 2.4), 0.0])
    pose = Pose(rotation_ypr(rng.normal(0, 0.25), rng.normal(-0.02, 0.1), rng.normal(0, 0.03)), eye)
    return SceneAndPose(b.build(random_light(rng, outdoors=True)), pose, "street")


def _pole(rng: np.random.Generator, deco: Decorator, b: SceneBuilder, at: np.ndarray, inwards: float) -> None:
    h, material = rng.uniform(1.5, 7), deco.solid()
    b.rod(at, at + [0, -h, 0], rng.uniform(0.02, 0.12), material)
    if rng.random() < 0.5:
        b.rod(at + [0, -h, 0], at + [inwards * rng.uniform(0.5, 2), -h - 0.3, 0], 0.04, material)
    else:
        b.add(Kind.BOX, at + [0, -h, -0.05], (rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.5), 0.01), deco.solid())


def _tree(rng: np.random.Generator, deco: Decorator, b: SceneBuilder, at: np.ndarray) -> None:
    h = rng.uniform(1.5, 5)
    b.rod(at, at + [rng.normal(0, 0.2), -h, rng.normal(0, 0.2)], rng.uniform(0.05, 0.25), deco.solid())
    _crown(rng, deco, b, at + np.array([0, -h - 0.5, 0]), rng.uniform(0.8, 2.5), int(rng.integers(3, 8)))


def _car(rng: np.random.Generator, deco: Decorator, b: SceneBuilder, at: np.ndarray) -> None:
    turn = rotation_ypr(rng.normal(0, 0.15), 0, 0)
    body = deco.solid()
    b.add(Kind.BOX, at + [0, -0.65, 0], (0.9, 0.4, 2.1), body, turn)
    b.add(Kind.BOX, at + [0, -1.25, 0], (0.75, 0.3, 1.1), deco.solid(), turn)
    for sx in (-1, 1):
        for sz in (-1, 1):
            hub = at + turn @ np.array([sx * 0.85, -0.33, sz * 1.3])
            b.rod(hub, hub + turn @ np.array([sx * 0.15, 0, 0]), 0.33, deco.solid())


def _clutter(rng: np.random.Generator, deco: Decorator) -> SceneAndPose:
    """Things in the air before a wall: no gravity, no habit, so that nothing but the image tells."""
    b = SceneBuilder()
    far = np.exp(rng.uniform(np.log(2), np.log(25)))
    b.add(
        Kind.QUAD,
        (0, 0, far),
        (4 * far, 4 * far, 1),
        deco.large(far),
        rotation_ypr(rng.normal(0, 0.3), rng.normal(0, 0.3), 0),
        False,
    )
    for _ in range(rng.integers(8, 45)):
        z = far * rng.uniform(0.15, 0.95)
        at = np.array([rng.uniform(-0.8, 0.8) * z, rng.uniform(-0.6, 0.6) * z, z])
        half = z * np.exp(rng.uniform(np.log(0.01), np.log(0.25), 3))
        pose = rotation_ypr(*rng.uniform(0, 2 * np.pi, 3))
        kind = Kind(int(rng.integers(4)))
        if rng.random() < 0.3:
            end = at + rng.normal(0, 0.5 * z, 3) * [1, 1, 0.4]
            b.rod(at, end, z * np.exp(rng.uniform(np.log(0.0008), np.log(0.01))), deco.solid())
        elif kind == Kind.QUAD and rng.random() < 0.6:
            b.add(kind, at, half, deco.cut(MASKS_GRID + MASKS_PLANT, float(half.max()) * rng.uniform(0.5, 2)), pose)
        else:
            b.add(kind, at, half, deco.solid(), pose)
    pose_camera = Pose(rotation_ypr(rng.normal(0, 0.1), rng.normal(0, 0.1), rng.uniform(-0.3, 0.3)), np.zeros(3))
    return SceneAndPose(b.build(random_light(rng, outdoors=rng.random() < 0.5)), pose_camera, "clutter")
