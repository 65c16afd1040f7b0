"""Outlines as nature draws them: cut out of photographs along their own edges, alpha of leaves and fences, fractals with hairs."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from depth_retrofit_ros.training.scenes.layers.kernel import STEPS
from depth_retrofit_ros.training.scenes.textures import branch_mask, fractal_noise, leaf_mask

SIDE = 768  # of a silhouette


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """int8 [h, w]: to the outline of a mask bool [h, w] in 1/16 texel, at most 8 texels, above 0 inside; outside of the image is
    outside of the mask."""
    padded = np.pad(mask, 1).astype(np.uint8)
    inside = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outside = cv2.distanceTransform(1 - padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distance = np.where(padded > 0, inside - 0.5, 0.5 - outside)[1:-1, 1:-1]
    smooth = cv2.GaussianBlur(distance, (3, 3), 0.8)  # without the stairs of the texels
    return np.asarray(np.clip(np.rint(smooth * STEPS), -127, 127), np.int8)


def random_silhouette(rng: np.random.Generator, shapes: Sequence[np.ndarray]) -> np.ndarray:
    """A mask bool [SIDE, SIDE] that leaves its border free. shapes: alphas float32 [h, w] to draw from beside what is computed."""
    kinds = ["blob", "blob", "leaves", "branches", "strands", "shape"]
    kind = kinds[int(rng.integers(len(kinds) - (0 if len(shapes) else 1)))]
    if kind == "shape":
        return _enlarged(shapes[int(rng.integers(len(shapes)))])
    if kind == "leaves":
        return _blob(rng) & _enlarged(leaf_mask(rng))
    if kind == "branches":
        return _enlarged(branch_mask(rng))
    if kind == "strands":
        return strands(rng)
    outline = _blob(rng)
    return outline | hairs(rng, outline) if rng.random() < 0.6 else outline


def cut_from_photo(rng: np.random.Generator, photo: np.ndarray) -> np.ndarray:
    """The part of a photograph uint8 [h, w, 3] that has one of its main colours: a mask bool of its shape, ``SIDE`` long."""
    scale = SIDE / max(photo.shape[:2])
    small = cv2.resize(photo, None, fx=scale / 2, fy=scale / 2, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(cv2.bilateralFilter(small, 7, 30, 5), cv2.COLOR_RGB2LAB).astype(np.float32)
    pixels = lab.reshape(-1, 3)
    centers = pixels[rng.integers(len(pixels), size=int(rng.integers(2, 5)))]
    for _ in range(4):
        nearest = ((pixels[::7, None] - centers) ** 2).sum(2).argmin(1)
        means = [pixels[::7][nearest == k].mean(0) if (nearest == k).any() else c for k, c in enumerate(centers)]
        centers = np.stack(means).astype(np.float32)
    distance = np.sqrt(((pixels[:, None] - centers) ** 2).sum(2))
    chosen = int(rng.integers(len(centers)))
    others = np.delete(distance, chosen, 1).min(1)
    margin = (others - distance[:, chosen]).reshape(small.shape[:2])
    size = (round(photo.shape[1] * scale), round(photo.shape[0] * scale))
    smooth = cv2.resize(cv2.GaussianBlur(margin, (0, 0), rng.uniform(0.5, 1.5)), size, interpolation=cv2.INTER_LINEAR)
    mask = smooth > 0
    return mask if rng.random() < 0.5 else _largest_parts(mask, int(rng.integers(1, 4)))


def hairs(rng: np.random.Generator, outline: np.ndarray) -> np.ndarray:
    """Fine curved strands that grow from the outline outwards, combed alike in one place."""
    drawn = np.zeros(outline.shape, np.uint8)
    contours, _ = cv2.findContours(outline.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return drawn > 0
    points = max(contours, key=len)[:, 0].astype(float)
    center, field = points.mean(0), fractal_noise(rng, 2.2)
    long, every = rng.uniform(0.03, 0.16) * SIDE, int(rng.integers(2, 14))
    start, stop = sorted(rng.integers(0, len(points), 2)) if rng.random() < 0.5 else (0, len(points))
    for x, y in points[start:stop:every]:
        away = np.arctan2(y - center[1], x - center[0]) + rng.normal(0, 0.15)
        bend = float(field[int(y * len(field) / SIDE) % len(field), int(x * len(field) / SIDE) % len(field)]) * 1.2
        t = np.linspace(0, 1, 8)
        angle, step = away + bend * t, long * rng.uniform(0.3, 1.2) / 8
        path = np.stack([x + np.cumsum(step * np.cos(angle)), y + np.cumsum(step * np.sin(angle))], 1)
        cv2.polylines(drawn, [np.int32(path * 16)], False, 1, int(rng.choice([2, 2, 3])), cv2.LINE_8, 4)
    return drawn > 0


def strands(rng: np.random.Generator) -> np.ndarray:
    """Long thin curves across the whole: grass, wires, scratches."""
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    main, spread = rng.uniform(0, np.pi), rng.choice([0.05, 0.3, 1.5])
    thick = int(rng.integers(2, 7))
    for _ in range(rng.integers(3, 40)):
        angle = main + rng.normal(0, spread)
        t = np.linspace(-0.5, 0.5, 24)[:, None] * rng.uniform(0.4, 1.3) * SIDE
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        path = rng.uniform(0.2, 0.8, 2) * SIDE + t * along + (rng.normal(0, 0.25) * t**2 / SIDE) * across
        cv2.polylines(drawn, [np.int32(path * 16)], False, 1, max(2, thick + int(rng.integers(-1, 2))), cv2.LINE_8, 4)
    return drawn > 0


def _blob(rng: np.random.Generator) -> np.ndarray:
    """One connected thing, from smooth to jagged, rarely several."""
    axis = np.linspace(-1, 1, SIDE)
    angle = rng.uniform(0, np.pi)
    x = axis[None] * np.cos(angle) + axis[:, None] * np.sin(angle)
    y = axis[:, None] * np.cos(angle) - axis[None] * np.sin(angle)
    radius = np.hypot(x, y * np.exp(rng.uniform(0, 1.2)))
    rough = cv2.resize(fractal_noise(rng, rng.uniform(1.2, 2.6)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    mask = radius + rng.uniform(0.05, 0.25) * rough < 0.6
    mask[[0, -1]] = mask[:, [0, -1]] = False
    return _largest_parts(mask, 1 if rng.random() < 0.7 else 30)


def _largest_parts(mask: np.ndarray, count: int) -> np.ndarray:
    number, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    largest = 1 + np.argsort(-stats[1:number, cv2.CC_STAT_AREA])[:count]
    return np.asarray(np.isin(labels, largest))


def _enlarged(alpha: np.ndarray) -> np.ndarray:
    """To ``SIDE``, with a smooth outline."""
    smooth = cv2.resize(alpha, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.GaussianBlur(smooth, (0, 0), 0.4 * SIDE / max(alpha.shape)) > 0.5)
