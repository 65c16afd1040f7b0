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
MIRROR_FROM = 0.25  # shine from which a surface shows what it mirrors


TOO_NEAR_M, MOST_TOO_NEAR = 0.6, 0.15  # of a view may be nearer
LEAST_SEEN = 0.002  # of a view: a thing that counts
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
        """Auto-exposure: the small view's mean becomes ``mean``, where what is brighter than BRIGHT counts as that: a window does not
        darken its room."""
        small = camera.resized(64, max(1, round(64 * camera.height / camera.width)))
        light, _ = self._radiance(small, (0, 0, small.width, small.height))
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
        prim, point, normal, albedo, depth = self.look(camera, columns, rows)
        shape = (height, width)
        grid = self._light_grid(prim, point, normal, depth, (x0, y0), shape)
        color = self._colors(camera, columns, rows, prim, point, normal, albedo, depth, grid)
        edge = self._edges(prim, normal, depth, shape).ravel().nonzero()[0]
        if edge.size:
            total = np.zeros((edge.size, 3), np.float32)
            for dx, dy in SUB_PIXELS:
                x, y = columns[edge] + dx, rows[edge] + dy
                total += np.minimum(self._colors(camera, x, y, *self.look(camera, x, y), grid), 4.0 / self.exposure)
            color[edge] = total / len(SUB_PIXELS)
        return color.reshape(height, width, 3), depth.reshape(shape)

    def _rays(self, camera: Camera, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """World directions [N, 3] with a depth of 1 m at t = 1."""
        slopes = np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, np.ones(len(x))], 1)
        return np.asarray(slopes @ self.pose.rotation.T, np.float32)

    def look(self, camera: Camera, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
        """What is seen at image coordinates: prim [N], point, normal, albedo [N, 3], depth [N]."""
        s = self.soup
        eye = self.pose.position.astype(np.float64)
        ray = self._rays(camera, x, y)
        origin = np.broadcast_to(eye.astype(np.float32), ray.shape)
        prim, u, v = self.tracer.hit(origin, ray)
        seen = kernels.surfaces(
            prim, u, v, ray, eye, 1 / camera.fx, s.points, s.normals, s.uv, s.surface, s.tint, s.texture, s.texels, LINEAR, s.table, s.grain
        )  # fmt: skip
        return (prim, *seen)

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

    def _light_grid(
        self, prim: np.ndarray, point: np.ndarray, normal: np.ndarray, depth: np.ndarray, at: tuple[int, int], shape: tuple[int, int]
    ) -> tuple[np.ndarray, ...]:
        """Light at every second pixel, those of even coordinates, so that neighbouring windows sample alike."""
        x0, y0 = at[0] & 1, at[1] & 1
        every = np.arange(shape[0] * shape[1]).reshape(shape)[y0::2, x0::2]
        hit = prim[every] >= 0
        chosen = every[hit]
        rows, columns = hit.nonzero()
        light = np.zeros((*every.shape, 3), np.float32)
        light[hit] = self._light(point[chosen], normal[chosen], columns + (at[0] + x0) // 2, rows + (at[1] + y0) // 2)
        return point[every], normal[every], light, hit, np.array([at[0] + x0, at[1] + y0])

    def _colors(
        self,
        camera: Camera,
        x: np.ndarray,
        y: np.ndarray,
        prim: np.ndarray,
        point: np.ndarray,
        normal: np.ndarray,
        albedo: np.ndarray,
        depth: np.ndarray,
        grid: tuple[np.ndarray, ...],
    ) -> np.ndarray:
        """Linear RGB [N, 3] of what is seen at image coordinates."""
        color = np.empty_like(albedo)
        sky = (prim < 0).nonzero()[0]
        color[sky] = self.sky.seen(self._rays(camera, x[sky], y[sky]))
        hit = (prim >= 0).nonzero()[0]
        if not hit.size:
            return color
        points, normals, lights, there, corner = grid
        light, weight = kernels.between(
            point[hit], normal[hit], depth[hit], x[hit].astype(np.float64), y[hit].astype(np.float64),
            points, normals, lights, there, float(corner[0]), float(corner[1]), TOLERANCE,
        )  # fmt: skip
        alone = (weight == 0).nonzero()[0]
        if alone.size:
            at = hit[alone]
            own_x, own_y = np.floor(x[at]).astype(np.int64), np.floor(y[at]).astype(np.int64)
            light[alone] = self._light(point[at], normal[at], own_x, own_y)
        surface = self.soup.surface[prim[hit]]
        color[hit] = albedo[hit] * light + self.soup.glow[surface]
        shiny = (self.soup.shine[surface] > MIRROR_FROM).nonzero()[0]
        if shiny.size:
            at = hit[shiny]
            color[at] += self._mirrored(point[at], normal[at], self.soup.shine[surface[shiny]])
        return color

    def _mirrored(self, point: np.ndarray, normal: np.ndarray, shine: np.ndarray) -> np.ndarray:
        """Light [N, 3] that a polished surface adds: what its mirror ray meets, by Schlick's Fresnel term."""
        eye = self.pose.position.astype(np.float32)
        ray = point - eye
        ray /= np.linalg.norm(ray, axis=1, keepdims=True)
        cosine = -(ray * normal).sum(1, keepdims=True)
        ray = (ray + 2 * cosine * normal).astype(np.float32)
        prim, u, v = self.tracer.hit(point + 2e-3 * normal, ray)
        s = self.soup
        _, facing, albedo, _ = kernels.surfaces(
            prim, u, v, ray, np.zeros(3), 0.01, s.points, s.normals, s.uv, s.surface, s.tint, s.texture, s.texels, LINEAR, s.table, s.grain
        )  # fmt: skip
        up = np.clip(0.5 - 0.5 * facing[:, 1:2], 0, 1)
        met = albedo * 0.7 * (up * self.ambient.color + (1 - up) * self.ambient.floor)
        met[prim >= 0] += s.glow[s.surface[prim[prim >= 0]]]
        met[prim < 0] = self.sky.seen(ray[prim < 0])
        fresnel = 0.04 + 0.96 * (1 - np.clip(cosine, 0, 1)) ** 5
        return np.asarray(met * shine[:, None] * np.minimum(fresnel * 1.5, 1), np.float32)

    def _edges(self, prim: np.ndarray, normal: np.ndarray, depth: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """bool [h, w]: pixels beside another thing, another material, a fold or a step; those are seen with several rays."""
        hit = prim >= 0
        thing = np.where(hit, self.soup.instance[np.maximum(prim, 0)] * 4096 + self.soup.surface[np.maximum(prim, 0)], -1)
        thing, inverse = thing.reshape(shape), np.where(hit, 1 / np.maximum(depth, 1e-3), 0).reshape(shape)
        folded = normal.reshape(*shape, 3)
        edge = np.zeros(shape, bool)
        for axis in (0, 1):
            near = tuple(slice(None, -1) if a == axis else slice(None) for a in (0, 1))
            far = tuple(slice(1, None) if a == axis else slice(None) for a in (0, 1))
            differs = (thing[near] != thing[far]) | ((folded[near] * folded[far]).sum(-1) < 0.8)
            bend = np.abs(np.diff(inverse, 2, axis)) > 0.02 * inverse.take(range(1, shape[axis] - 1), axis)
            edge[near] |= differs
            edge[far] |= differs
            inner = tuple(slice(1, -1) if a == axis else slice(None) for a in (0, 1))
            edge[inner] |= bend
        grown = cv2.dilate(edge.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        return grown & (cv2.blur(edge.astype(np.float32), (3, 3)) > 0.2)


def interest(view: MeshView, camera: Camera) -> int:
    """How many things a view shows; 0 for one that is not usable, or shows little but one wall."""
    small = check_camera(camera)
    rows, columns = (a.ravel() for a in np.mgrid[: small.height, : small.width])
    prim, *_, depth = view.look(small, columns, rows)
    if not usable(depth) or np.mean(depth < TOO_NEAR_M) > MOST_TOO_NEAR:
        return 0
    near, far = np.quantile(depth[np.isfinite(depth)], (0.1, 0.9))
    if far < LEAST_DEEP * near:
        return 0
    _, sizes = np.unique(view.soup.instance[prim[prim >= 0]], return_counts=True)
    return int((sizes >= LEAST_SEEN * len(prim)).sum())


def most_interesting(view: MeshView, camera: Camera, poses: Sequence[Pose]) -> bool:
    """Take the pose that shows most; whether it shows anything."""
    scores = []
    for pose in poses:
        view.pose = pose
        scores.append(interest(view, camera))
    view.pose = poses[int(np.argmax(scores))]
    return max(scores) > 0


def expose_at_random(view: MeshView, rng: np.random.Generator, camera: Camera) -> None:
    """As a camera would, give or take half a stop."""
    view.expose(camera, float(np.exp(rng.normal(np.log(0.18), 0.3))))
