"""Layered photographs: cut-outs at random depths, flat, slanted or curved, before a photograph that fills the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.training.scenes.layers.kernel import render_layers
from depth_retrofit_ros.training.scenes.layers.silhouettes import SIDE, cut_from_photo, random_silhouette, signed_distance
from depth_retrofit_ros.training.scenes.photo_library import PhotoLibrary, open_library
from depth_retrofit_ros.training.scenes.render import Rendering
from depth_retrofit_ros.training.scenes.textures import SIZE, build_textures
from depth_retrofit_ros.training.scenes.world import WorldSpec, check_camera, usable

LEVELS = 6  # of a picture's mip chain
PICTURES = 5  # of a scene
OUTLINES = 5
LAYERS = (5, 26)
NEAR_M, FAR_M = (0.4, 2.0), (4.0, 60.0)
PROCEDURAL = 24  # textures where there are no photographs


@dataclass(frozen=True, slots=True)
class Layers:
    """What ``kernel.render_layers`` takes, nearest last or not: depth decides."""

    planes: np.ndarray
    outline: np.ndarray
    to_outline: np.ndarray
    repeats: np.ndarray
    distances: np.ndarray
    bounds: np.ndarray
    picture: np.ndarray
    to_picture: np.ndarray
    tint: np.ndarray
    texels: np.ndarray
    levels: np.ndarray


@dataclass(frozen=True, slots=True)
class LayersView:
    """One scene of kind layers."""

    layers: Layers
    kind: str = "layers"

    def render(self, camera: Camera, window: tuple[int, int, int, int] | None = None) -> Rendering:
        """See ``View.render``."""
        x0, y0, width, height = window or (0, 0, camera.width, camera.height)
        xs = (np.arange(x0, x0 + width) - camera.cx) / camera.fx
        ys = (np.arange(y0, y0 + height) - camera.cy) / camera.fy
        image, depth = np.empty((height, width, 3), np.float32), np.empty((height, width), np.float32)
        s = self.layers
        pictures = s.picture, s.to_picture, s.tint, s.texels, s.levels
        outlines = s.outline, s.to_outline, s.repeats, s.distances, s.bounds
        render_layers(xs, ys, 1 / camera.fx, s.planes, *outlines, *pictures, image, depth)
        return Rendering(torch.from_numpy(image), torch.from_numpy(depth))


@dataclass(frozen=True)
class LayersWorld:
    """See ``World``. seed: of the procedural textures."""

    library: PhotoLibrary
    seed: int

    def view(self, rng: np.random.Generator, camera: Camera) -> LayersView:
        """See ``World.view``."""
        while True:
            view = self._draw(rng, camera)
            if usable(view.render(check_camera(camera)).depth):
                return view

    @cached_property
    def shapes(self) -> list[np.ndarray]:
        """Alphas of leaves, fences and trees."""
        return [alpha for source in self.library.shapes if (alpha := source.shape()) is not None]

    @cached_property
    def _procedural(self) -> list[np.ndarray]:
        stack = build_textures(self.seed, PROCEDURAL)
        return list(stack.texels[:, : SIZE * SIZE].numpy().reshape(-1, SIZE, SIZE, 3))

    def _pictures(self, rng: np.random.Generator) -> list[np.ndarray]:
        photos = int(rng.binomial(PICTURES, 0.65))
        found = self.library.images(rng, photos, PICTURES - photos)
        while len(found) < PICTURES:
            found.append(self._procedural[int(rng.integers(PROCEDURAL))])
        return found

    def _draw(self, rng: np.random.Generator, camera: Camera) -> LayersView:
        pictures = self._pictures(rng)
        texels, levels = packed(pictures)
        masks, cut_of = [], []  # a cut-out shows the picture that it was cut from, whose edges then are its outline
        for _ in range(OUTLINES):
            cut = int(rng.integers(PICTURES)) if rng.random() < 0.5 else -1
            masks.append(random_silhouette(rng, self.shapes) if cut < 0 else _square(cut_from_photo(rng, pictures[cut])))
            cut_of.append(cut)
        half = 0.5 * np.array([camera.width, camera.height]) / camera.fx  # of the view, in rays
        near, far = (float(np.exp(rng.uniform(*np.log(limits)))) for limits in (NEAR_M, FAR_M))
        rows = [_background(rng, half, far, pictures)]
        for _ in range(rng.integers(*LAYERS)):
            o = int(rng.integers(OUTLINES))
            rows.append(_cut_out(rng, half, 1 / rng.uniform(1 / far, 1 / near), o, cut_of[o], pictures))
        columns = [np.array(column) for column in zip(*rows, strict=True)]
        planes, outline, to_outline, repeats, picture, to_picture, tint = columns
        distances = np.stack([signed_distance(mask) for mask in masks])
        boxes = [_solid_box(distance) for distance in distances]
        bounds = np.array([_bounds(o, m, r, boxes) for o, m, r in zip(outline, to_outline, repeats, strict=True)])
        gain = _exposure(rng, pictures)
        return LayersView(
            Layers(planes, outline, to_outline, repeats, distances, bounds, picture, to_picture, tint * gain, texels, levels)
        )


Row = tuple[np.ndarray, int, np.ndarray, bool, int, np.ndarray, np.ndarray]
"""Plane, outline, its map, whether it repeats, picture, its map, tint."""


def check_sources(spec: WorldSpec) -> None:
    """Raises ImageError for photographs that are none, DatasetError for assets without textures."""
    open_library(spec)


def load_world(spec: WorldSpec) -> LayersWorld:
    """The world with the spec's photographs."""
    return LayersWorld(open_library(spec), spec.seed)


def packed(pictures: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mip chains in one array uint8 [N, 3], and where each level is: (offset, width, height) int64 [I, LEVELS, 3]."""
    parts, levels, offset = [], np.empty((len(pictures), LEVELS, 3), np.int64), 0
    for i, picture in enumerate(pictures):
        for level in range(LEVELS):
            if level:
                half = max(2, picture.shape[1] // 2), max(2, picture.shape[0] // 2)
                picture = cv2.resize(picture, half, interpolation=cv2.INTER_AREA)
            levels[i, level] = offset, picture.shape[1], picture.shape[0]
            parts.append(picture.reshape(-1, 3))
            offset += len(parts[-1])
    return np.concatenate(parts), levels


def _solid_box(distance: np.ndarray) -> np.ndarray:
    """Corners [4, 2] of what is inside an outline [texels], with a margin."""
    rows, cols = (np.flatnonzero((distance > 0).any(axis)) for axis in (1, 0))
    if not rows.size:
        return np.zeros((4, 2))
    (left, right), (top, bottom) = ((v[0] - 2.0, v[-1] + 3.0) for v in (cols, rows))
    return np.array([(left, top), (right, top), (left, bottom), (right, bottom)])


def _bounds(outline: int, to_outline: np.ndarray, repeats: bool, boxes: Sequence[np.ndarray]) -> np.ndarray:
    """Where a layer can be: x from, to, y from, to."""
    if outline < 0 or repeats:
        return np.array([-np.inf, np.inf, -np.inf, np.inf])
    rays = np.linalg.solve(to_outline[:, :2], (boxes[outline] - to_outline[:, 2]).T)
    return np.array([rays[0].min(), rays[0].max(), rays[1].min(), rays[1].max()])


def _square(mask: np.ndarray) -> np.ndarray:
    """In the upper left of [SIDE, SIDE]."""
    out = np.zeros((SIDE, SIDE), bool)
    out[: mask.shape[0], : mask.shape[1]] = mask
    return out


def _plane(rng: np.random.Generator, half: np.ndarray, at: np.ndarray, z: float) -> np.ndarray:
    """A surface at distance z where the ray is ``at``: flat, slanted, or with a wave."""
    slope = rng.normal(0, 0.25, 2) / z / half if rng.random() < 0.6 else np.zeros(2)
    bump = rng.uniform(0, 0.15) if rng.random() < 0.4 else 0.0
    waves = rng.normal(0, 4, 2) / half
    return np.array([1 / z - slope @ at, *slope, bump, *waves, rng.uniform(0, 6)])


def _tint(rng: np.random.Generator) -> np.ndarray:
    return np.asarray(np.exp(rng.normal(0, 0.3)) * np.exp(rng.normal(0, 0.08, 3)))


def _placed(texels: np.ndarray, ray: np.ndarray, scale: float, angle: float, flip: bool) -> np.ndarray:
    """Map [2, 3] that takes ``ray`` to ``texels``, with ``scale`` texels per unit of a ray."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[c, -s], [s, c]]) * [-1 if flip else 1, 1]
    return np.concatenate([linear, (texels - linear @ ray)[:, None]], 1)


def _background(rng: np.random.Generator, half: np.ndarray, far: float, pictures: Sequence[np.ndarray]) -> Row:
    """A picture over the whole view, rising towards the viewer at the bottom or not; now and then it is the sky."""
    i = int(rng.integers(len(pictures)))
    size = np.array(pictures[i].shape[1::-1])
    scale = float((size / (2 * half)).min() * rng.uniform(0.6, 1.0))
    chance = rng.random()
    if chance < 0.15:
        plane = np.zeros(7)
    elif chance < 0.55:  # ground: nearer at the bottom
        plane = np.array([1 / far, 0, rng.uniform(0.5, 8) / far / half[1] * 0.5, 0, 0, 0, 0])
        plane[0] = max(plane[0], plane[2] * half[1] * 1.05)
    else:
        plane = _plane(rng, half, np.zeros(2), far)
    to_picture = _placed(size / 2, np.zeros(2), scale, 0.0, rng.random() < 0.5)
    return plane, -1, np.zeros((2, 3)), False, i, to_picture, _tint(rng)


def _cut_out(rng: np.random.Generator, half: np.ndarray, z: float, outline: int, cut: int, pictures: Sequence[np.ndarray]) -> Row:
    """A silhouette somewhere in the view. cut: the picture that it was cut from, −1 for none."""
    at = rng.uniform(-1.1, 1.1, 2) * half
    side = float(np.exp(rng.uniform(np.log(0.25), np.log(2.2)))) * float(half.max())  # of the silhouette, in rays
    angle, flip = rng.normal(0, 0.4), rng.random() < 0.5
    middle = np.full(2, SIDE / 2)
    if cut >= 0:
        size = np.array(pictures[cut].shape[1::-1])
        middle = 0.5 * SIDE * size / size.max()
    to_outline = _placed(middle, at, SIDE / side, angle, flip)
    repeats = bool(cut < 0 and rng.random() < 0.08)
    if cut >= 0:
        picture, to_picture = cut, to_outline * (max(pictures[cut].shape[:2]) / SIDE)
    else:
        picture = int(rng.integers(len(pictures)))
        size = np.array(pictures[picture].shape[1::-1])
        scale = float(np.exp(rng.uniform(np.log(0.3), np.log(1.2)))) * size.min() / (2 * float(half.min()))
        to_picture = _placed(rng.uniform(0, 1, 2) * size, at, scale, angle, flip)
    return _plane(rng, half, at, z), outline, to_outline, repeats, picture, to_picture, _tint(rng)


def _exposure(rng: np.random.Generator, pictures: Sequence[np.ndarray]) -> float:
    """Towards the usual mean brightness, with its usual spread."""
    mean = np.mean([((p[::16, ::16] / 255.0) ** 2.2).mean() for p in pictures])
    return float(np.clip(0.17 * np.exp(rng.normal(0, 0.35)) / max(mean, 0.01), 0.3, 3.0))
