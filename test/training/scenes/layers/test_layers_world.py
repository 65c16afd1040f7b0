"""Layers: the nearest solid one decides depth and colour; outlines are those of the masks; the same in every window."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.training.scenes.layers import world
from depth_retrofit_ros.training.scenes.layers.kernel import STEPS
from depth_retrofit_ros.training.scenes.layers.silhouettes import (
    SIDE,
    cut_from_photo,
    hairs,
    random_silhouette,
    signed_distance,
    strands,
)
from depth_retrofit_ros.training.scenes.layers.world import Layers, LayersView, LayersWorld, load_world, packed
from depth_retrofit_ros.training.scenes.photo_library import PhotoLibrary
from depth_retrofit_ros.training.scenes.world import WorldSpec

CAMERA = Camera(160, 120, 100.0, 100.0, 79.5, 59.5)
RED, GREEN = (np.full((64, 64, 3), c, np.uint8) for c in ((200, 0, 0), (0, 200, 0)))


def two_layers(z: float, bump: float = 0.0) -> LayersView:
    """A red square of half a unit of a ray at 2 m, before or behind a green wall at z m whose depth grows to the right."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[192:576, 192:576] = True
    to_outline = np.array([[SIDE, 0, SIDE / 2], [0, SIDE, SIDE / 2.0]])
    texels, levels = packed([RED, GREEN])
    to_picture = np.tile(np.array([[64.0, 0, 32], [0, 64, 32]]), (2, 1, 1))
    planes = np.array([[1 / z, -0.1 / z, 0, bump, 3.0, 0, 0], [0.5, 0, 0, 0, 0, 0, 0]])
    everywhere = np.array([-np.inf, np.inf, -np.inf, np.inf])
    bounds = np.stack([everywhere, [-0.26, 0.26, -0.26, 0.26]])
    outlines = np.array([-1, 0]), np.stack([np.zeros((2, 3)), to_outline]), np.zeros(2, bool), signed_distance(mask)[None], bounds
    return LayersView(Layers(planes, *outlines, np.array([1, 0]), to_picture, np.ones((2, 3)), texels, levels))


def test_the_nearest_layer_is_seen_with_its_own_depth_and_colour() -> None:
    x, y = (v.astype(float) for v in CAMERA.ray_slopes())
    square = (np.abs(x)[None] < 0.25) & (np.abs(y)[:, None] < 0.25)
    border = (np.abs(np.abs(x) - 0.25) < 0.012)[None] | (np.abs(np.abs(y) - 0.25) < 0.012)[:, None]
    seen = two_layers(4.0).render(CAMERA)
    expected = np.where(square, 2.0, 4 / (1 - 0.1 * x[None]))
    np.testing.assert_allclose(seen.depth.numpy()[~border], expected[~border], rtol=1e-5)
    inside = seen.image.numpy()[square & ~border]
    np.testing.assert_allclose(inside, np.broadcast_to(np.array([200, 0, 0]) / 255, inside.shape), atol=1e-5)
    hidden = two_layers(1.0).render(CAMERA)
    assert float(hidden.image[..., 0].max()) == 0 and float(hidden.depth.max()) < 1.1


def test_pixels_of_an_outline_are_mixed_in_linear_light() -> None:
    image = two_layers(4.0).render(CAMERA).image.numpy().astype(float) ** 2.2 / (200 / 255) ** 2.2
    mixed = image[60, :, 0]
    np.testing.assert_allclose(mixed + image[60, :, 1], 1, atol=1e-4)
    assert mixed.sum() == pytest.approx(0.5 * CAMERA.fx, abs=0.7)


def test_a_window_is_a_part_of_the_whole_and_a_wave_is_in_the_depth() -> None:
    view = two_layers(4.0, bump=0.1)
    whole, part = view.render(CAMERA), view.render(CAMERA, (40, 30, 70, 50))
    np.testing.assert_array_equal(part.depth, whole.depth[30:80, 40:110])
    np.testing.assert_allclose(part.image, whole.image[30:80, 40:110], atol=1e-6)
    x = CAMERA.ray_slopes()[0]
    np.testing.assert_allclose(whole.depth[5], 4 / ((1 - 0.1 * x) * (1 + 0.1 * np.sin(3 * x))), rtol=1e-4)


def test_signed_distance() -> None:
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    distance = signed_distance(mask) / STEPS
    np.testing.assert_allclose(distance[20, 6:14], [-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5], atol=0.1)
    assert distance[20, 20] == pytest.approx(127 / STEPS) and distance[0, 0] == pytest.approx(-127 / STEPS)
    assert ((distance > 0) == mask).mean() > 0.99
    assert (signed_distance(np.ones((9, 9), bool))[0] <= STEPS).all()  # outside of the image is outside


def test_a_photograph_is_cut_along_its_own_edges() -> None:
    photo = np.full((480, 640, 3), 60, np.uint8)
    cv2.circle(photo, (320, 240), 120, (220, 210, 60), -1)
    disc = cv2.circle(np.zeros((576, 768), np.uint8), (384, 288), 144, 1, -1) > 0
    for seed in range(6):
        mask = cut_from_photo(np.random.default_rng(seed), photo)
        assert mask.shape == (576, 768)
        wrong = min((mask ^ disc).mean(), (mask ^ ~disc).mean(), mask.mean())
        assert wrong < 0.02


def test_silhouettes_are_of_many_kinds() -> None:
    alpha = np.zeros((64, 64), np.float32)
    alpha[16:48, 16:48] = 1
    masks = [random_silhouette(np.random.default_rng(seed), [alpha]) for seed in range(16)]
    assert all(m.shape == (SIDE, SIDE) and m.dtype == bool and 0.0005 < m.mean() < 0.9 for m in masks)
    again = random_silhouette(np.random.default_rng(3), [alpha])
    np.testing.assert_array_equal(masks[3], again)
    roundness = [cv2.distanceTransform(m.astype(np.uint8), cv2.DIST_L2, 3).max() for m in masks]
    assert min(roundness) < 12 and max(roundness) > 60  # strands and blobs


def test_hairs_grow_out_of_the_outline_and_are_fine() -> None:
    disc = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (SIDE // 2, SIDE // 2), 200, 1, -1) > 0
    for seed in range(4):
        grown = hairs(np.random.default_rng(seed), disc) & ~disc
        assert grown.sum() > 100
        rows, columns = np.nonzero(grown)
        assert np.hypot(rows - SIDE / 2, columns - SIDE / 2).max() < 200 + 0.3 * SIDE
    assert not hairs(np.random.default_rng(0), np.zeros((SIDE, SIDE), bool)).any()
    assert 0.001 < strands(np.random.default_rng(0)).mean() < 0.6


def test_mip_chains_are_where_the_table_says() -> None:
    texels, levels = packed([RED, np.concatenate([GREEN, GREEN], 1)])
    assert levels[1, 0].tolist() == [levels[1, 0, 0], 128, 64] and levels[1, 2, 1:].tolist() == [32, 16]
    for i, color in ((0, [200, 0, 0]), (1, [0, 200, 0])):
        for offset, w, h in levels[i]:
            np.testing.assert_array_equal(texels[offset : offset + w * h], np.tile(color, (w * h, 1)))
    assert levels[1, -1, 0] + levels[1, -1, 1] * levels[1, -1, 2] == len(texels)


def test_views_are_deterministic_and_without_photographs_procedural() -> None:
    made = LayersWorld(PhotoLibrary((), (), ()), seed=4)
    first, again, other = (made.view(np.random.default_rng(seed), CAMERA).render(CAMERA) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.depth, again.depth)
    assert not np.array_equal(first.depth, other.depth)
    depth = first.depth.numpy()
    assert len(np.unique(np.round(np.log(depth[np.isfinite(depth)]), 1))) > 3


def test_photographs_fill_the_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(world.PICTURES):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((200, 240, 3), (10, 20, 240), np.uint8))
    monkeypatch.setattr(world, "_tint", lambda rng: np.ones(3))
    monkeypatch.setattr(LayersWorld, "_procedural", [np.full((512, 512, 3), (240, 20, 10), np.uint8)] * world.PROCEDURAL)
    view = load_world(WorldSpec("layers", 1, photos=tmp_path)).view(np.random.default_rng(0), CAMERA)
    image = view.render(CAMERA).image.numpy()
    assert (image[..., 0] > 2 * image[..., 2]).all()
