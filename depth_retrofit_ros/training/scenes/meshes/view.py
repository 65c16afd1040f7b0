"""A soup seen from one pose: exact depth at the pixel centres, and an image with soft light and smooth edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.training.scenes.meshes import kernels
from depth_retrofit_ros.training.scenes.meshes.sky import Sky
from depth_retrofit_ros.training.scenes.meshes.soup import LINEAR, Soup
from depth_retrofit_ros.training.scenes.meshes.tracer import Tracer
from depth_retrofit_ros.training.scenes.render import Rendering
from depth_retrofit_ros.training.scenes.scene import Pose
from depth_retrofit_ros.training.scenes.world import check_camera, usable

BRIGHT = 0.45  # linear, of white
SKY_SAMPLES = 2  # rays per light sample that look for the sky or what is near
TOLERANCE = 0.004  # of the depth: how far a light sample may be off a pixel's plane
SUB_PIXELS = np.array([[-0.375, -0.125], [0.125, -0.375], [0.375, 0.125], [-0.125, 0.375]])  # a rotated grid
FOLDED, STEP = 0.8, 0.02  # of neighbours: least cosine of their normals, most bend of inverse depth, to be one smooth surface
MIRROR_PIXEL = 0.01  # radians: what is mirrored is blurred
MIRROR_FROM = 0.25  # shine from which a surface shows what it mirrors


TOO_NEAR_M, MOST_TOO_NEAR = 0.6, 0.15  # of a view may be nearer
LEAST_SEEN = 0.002  # of a view: a thing that counts
LEAST_THINGS = 9  # of a view; a bare corner with a door has fewer
LEAST_DEEP = 1.35  # of a view: its 90th percentile of depth over its 10th; less is a wall seen flatly


@dataclass(frozen=True, slots=True)
class Ambient:
    """Light from all around. color: of what is open, linear; near: share that comes from surfaces which are near; reach: how far
    near is [m]; floor: color of what comes from below; inside: lowest and highest corner [2, 3] of the room that this holds for;
    outside: times so much beyond it."""

    color: np.ndarray
    near: float
    reach: float
    floor: np.ndarray
    inside: np.ndarray = field(default_factory=lambda: np.array([[-np.inf] * 3, [np.inf] * 3]))
    outside: np.ndarray = field(default_factory=lambda: np.ones(3))


@dataclass(frozen=True, slots=True)
class Seen:
    """What rays meet: triangle [N] (−1: the sky), place, normal towards the viewer and linear albedo [N, 3], depth [N] m."""

    prim: np.ndarray
    point: np.ndarray
    normal: np.ndarray
    albedo: np.ndarray
    depth: np.ndarray


@dataclass(frozen=True, slots=True)
class LightGrid:
    """Irradiance at every second pixel: point, normal, light [h, w, 3]; hit: bool [h, w]; (x0, y0): pixel of the first."""

    point: np.ndarray
    normal: np.ndarray
    light: np.ndarray
    hit: np.ndarray
    x0: int
    y0: int


class MeshView:
    """View of world.py."""

    def __init__(self, kind: str, soup: Soup, pose: Pose, sky: Sky, ambient: Ambient) -> None:
        self.kind = kind
        self.soup = soup
        self.pose = pose
        self.sky = sky
        self.ambient = ambient
        self.exposure = 1.0
        self.tracer = Tracer(soup)

    def expose(self, camera: Camera, mean: float) -> None:
        """Auto-exposure: the small view's mean becomes ``mean``, where what is brighter than BRIGHT counts as that.

        So a window does not darken its room.
        """
        small = camera.resized(64, max(1, round(64 * camera.height / camera.width)))
        light, _ = self._radiance(small, (0, 0, small.width, small.height))
        self.exposure = mean / max(float(light.mean()), 1e-6)
        for _ in range(8):
            self.exposure *= mean / max(float(np.minimum(light * self.exposure, BRIGHT).mean()), 1e-6)

    def render(self, camera: Camera, window: tuple[int, int, int, int] | None = None) -> Rendering:
        """window: (x0, y0, width, height) in the camera's pixels; None for the whole image."""
        light, depth = self._radiance(camera, window or (0, 0, camera.width, camera.height))
        light *= self.exposure
        over = np.maximum(light - 0.8, 0)  # a shoulder instead of a cut
        light = np.where(over > 0, 0.8 + 0.2 * over / (over + 0.2), light)
        image = np.clip(light, 0, 1) ** (1 / 2.2)
        return Rendering(torch.from_numpy(image.astype(np.float32)), torch.from_numpy(depth))

    def _radiance(self, camera: Camera, window: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Linear RGB [h, w, 3] and depth [h, w]."""
        x0, y0, width, height = window
        rows, columns = (a.ravel() for a in np.mgrid[y0 : y0 + height, x0 : x0 + width])
        seen = self.look(camera, columns, rows)
        grid = self._light_grid(seen, window)
        color = self._colors(camera, columns, rows, seen, grid)
        edge = self._edges(seen, (height, width)).ravel().nonzero()[0]
        if edge.size:
            total = np.zeros((edge.size, 3), np.float32)
            for dx, dy in SUB_PIXELS:
                x, y = columns[edge] + dx, rows[edge] + dy
                total += np.minimum(self._colors(camera, x, y, self.look(camera, x, y), grid), 4.0 / self.exposure)
            color[edge] = total / len(SUB_PIXELS)
        return color.reshape(height, width, 3), seen.depth.reshape(height, width)

    def _rays(self, camera: Camera, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """World directions [N, 3] with a depth of 1 m at t = 1."""
        slopes = np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, np.ones(len(x))], 1)
        return np.asarray(slopes @ self.pose.rotation.T, np.float32)

    def look(self, camera: Camera, x: np.ndarray, y: np.ndarray) -> Seen:
        """What is seen at image coordinates [N]."""
        eye = self.pose.position.astype(np.float64)
        ray = self._rays(camera, x, y)
        return self._meet(np.broadcast_to(eye.astype(np.float32), ray.shape), ray, eye, 1 / camera.fx)

    def _meet(self, origin: np.ndarray, ray: np.ndarray, eye: np.ndarray, pixel: float) -> Seen:
        """pixel: radians that one ray stands for; eye: where all of them start, for an exact depth."""
        s = self.soup
        prim, u, v = self.tracer.hit(origin, ray)
        looks = s.surface, s.tint, s.texture, s.texels, LINEAR, s.table, s.grain
        return Seen(prim, *kernels.surfaces(prim, u, v, ray, eye, pixel, s.points, s.normals, s.uv, *looks))

    def _light(self, point: np.ndarray, normal: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Irradiance [N, 3] at points, with the samples that belong to the pixels x, y (int)."""
        reach = 500.0
        owner, origin, ray, share = kernels.light_rays(point, normal, x, y, *self.soup.lights, reach)
        arrives = share * ~self.tracer.blocked(origin, ray)[:, None]
        light = np.zeros_like(point)
        for c in range(3):
            light[:, c] = np.bincount(owner, arrives[:, c], len(point))
        origin, ray = kernels.sky_rays(point, normal, x, y, SKY_SAMPLES, self.ambient.reach)
        free = ~self.tracer.blocked(origin, ray)
        up = np.clip(0.5 - 0.5 * ray[:, 1] / self.ambient.reach, 0, 1)[:, None]
        around = up * self.ambient.color + (1 - up) * self.ambient.floor
        around = around * np.where(free, 1.0, self.ambient.near)[:, None]
        around = around.reshape(len(point), SKY_SAMPLES, 3).mean(1)
        low, high = self.ambient.inside
        around[((point < low) | (point > high)).any(1)] *= self.ambient.outside
        return light + around.astype(np.float32)

    def _light_grid(self, seen: Seen, window: tuple[int, int, int, int]) -> LightGrid:
        """At the pixels of even coordinates, so that neighbouring windows sample alike."""
        x0, y0, width, height = window
        odd_x, odd_y = x0 & 1, y0 & 1
        every = np.arange(height * width).reshape(height, width)[odd_y::2, odd_x::2]
        hit = seen.prim[every] >= 0
        chosen = every[hit]
        rows, columns = hit.nonzero()
        light = np.zeros((*every.shape, 3), np.float32)
        place = columns + (x0 + odd_x) // 2, rows + (y0 + odd_y) // 2
        light[hit] = self._light(seen.point[chosen], seen.normal[chosen], *place)
        return LightGrid(seen.point[every], seen.normal[every], light, hit, x0 + odd_x, y0 + odd_y)

    def _colors(self, camera: Camera, x: np.ndarray, y: np.ndarray, seen: Seen, grid: LightGrid) -> np.ndarray:
        """Linear RGB [N, 3] of what is seen at image coordinates."""
        color = np.empty_like(seen.albedo)
        sky = (seen.prim < 0).nonzero()[0]
        color[sky] = self.sky.seen(self._rays(camera, x[sky], y[sky]))
        hit = (seen.prim >= 0).nonzero()[0]
        if not hit.size:
            return color
        point, normal = seen.point[hit], seen.normal[hit]
        samples = grid.point, grid.normal, grid.light, grid.hit, float(grid.x0), float(grid.y0)
        at = x[hit].astype(np.float64), y[hit].astype(np.float64)
        light, weight = kernels.between(point, normal, seen.depth[hit], *at, *samples, TOLERANCE)
        alone = (weight == 0).nonzero()[0]
        if alone.size:
            own_x, own_y = (np.floor(a[alone]).astype(np.int64) for a in at)
            light[alone] = self._light(point[alone], normal[alone], own_x, own_y)
        surface = self.soup.surface[seen.prim[hit]]
        color[hit] = seen.albedo[hit] * light + self.soup.glow[surface]
        shiny = (self.soup.shine[surface] > MIRROR_FROM).nonzero()[0]
        if shiny.size:
            color[hit[shiny]] += self._mirrored(point[shiny], normal[shiny], self.soup.shine[surface[shiny]])
        return color

    def _mirrored(self, point: np.ndarray, normal: np.ndarray, shine: np.ndarray) -> np.ndarray:
        """Light [N, 3] that a polished surface adds: what its mirror ray meets, by Schlick's Fresnel term."""
        ray = point - self.pose.position.astype(np.float32)
        ray /= np.linalg.norm(ray, axis=1, keepdims=True)
        cosine = -(ray * normal).sum(1, keepdims=True)
        ray = (ray + 2 * cosine * normal).astype(np.float32)
        seen = self._meet(point + 2e-3 * normal, ray, np.zeros(3), MIRROR_PIXEL)
        up = np.clip(0.5 - 0.5 * seen.normal[:, 1:2], 0, 1)
        met = seen.albedo * 0.7 * (up * self.ambient.color + (1 - up) * self.ambient.floor)
        hit = seen.prim >= 0
        met[hit] += self.soup.glow[self.soup.surface[seen.prim[hit]]]
        met[~hit] = self.sky.seen(ray[~hit])
        fresnel = 0.04 + 0.96 * (1 - np.clip(cosine, 0, 1)) ** 5
        return np.asarray(met * shine[:, None] * np.minimum(fresnel * 1.5, 1), np.float32)

    def _edges(self, seen: Seen, shape: tuple[int, int]) -> np.ndarray:
        """bool [h, w]: pixels beside another thing, another material, a fold or a step; those are seen with several rays."""
        hit, prim = seen.prim >= 0, np.maximum(seen.prim, 0)
        thing = np.where(hit, self.soup.instance[prim].astype(np.int64) * 65536 + self.soup.surface[prim], -1).reshape(shape)
        inverse = np.where(hit, 1 / np.maximum(seen.depth, 1e-3), 0).reshape(shape)
        normal = seen.normal.reshape(*shape, 3)
        edge = np.zeros(shape, bool)
        for axis in (0, 1):
            near, far, inner = ((slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None), slice(1, -1)))
            differs = (thing[near] != thing[far]) | ((normal[near] * normal[far]).sum(-1) < FOLDED)
            edge[near] |= differs
            edge[far] |= differs
            edge[inner] |= np.abs(np.diff(inverse, 2, axis)) > STEP * inverse[inner]
        return cv2.dilate(edge.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def interest(view: MeshView, camera: Camera) -> int:
    """How many things a view shows; 0 for one that is not usable, or shows little but one wall."""
    small = check_camera(camera)
    rows, columns = (a.ravel() for a in np.mgrid[: small.height, : small.width])
    seen = view.look(small, columns, rows)
    depth = seen.depth
    if not usable(depth) or np.mean(depth < TOO_NEAR_M) > MOST_TOO_NEAR:
        return 0
    near, far = np.quantile(depth[np.isfinite(depth)], (0.1, 0.9))
    if far < LEAST_DEEP * near:
        return 0
    _, sizes = np.unique(view.soup.instance[seen.prim[seen.prim >= 0]], return_counts=True)
    return int((sizes >= LEAST_SEEN * len(depth)).sum())


def most_interesting(view: MeshView, camera: Camera, poses: Sequence[Pose]) -> bool:
    """Take the pose that shows most things; whether these are enough."""
    scores = []
    for pose in poses:
        view.pose = pose
        scores.append(interest(view, camera))
    view.pose = poses[int(np.argmax(scores))]
    return max(scores) >= LEAST_THINGS


def expose_at_random(view: MeshView, rng: np.random.Generator, camera: Camera) -> None:
    """As a camera would, give or take half a stop."""
    view.expose(camera, float(np.exp(rng.normal(np.log(0.18), 0.3))))
