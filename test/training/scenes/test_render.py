"""Rendered depth is the depth of ray and surface, at every resolution and in every window."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.training.scenes import render
from depth_retrofit_ros.training.scenes.layout import random_scene
from depth_retrofit_ros.training.scenes.render import NEAR_M, Renderer, area_downsample, to_uint8
from depth_retrofit_ros.training.scenes.scene import Kind, Material, Pose, SceneBuilder, rotation_ypr
from depth_retrofit_ros.training.scenes.textures import LEVELS, SIZE, TextureStack, build_textures
from test.training.scenes.analytic import depth_of
from test.training.scenes.simple import GRAY, ORIGIN, even_light, flat_textures, placed, random_rotation, renderer_of

CAMERA = Camera(160, 120, 140.0, 150.0, 81.3, 58.9)


def assert_same_depth(got: np.ndarray, expected: np.ndarray, rtol: float, silhouette: float) -> None:
    """Equal where both see the surface; a share ``silhouette`` of the hit pixels may be seen by one only."""
    hit, wanted = np.isfinite(got), np.isfinite(expected)
    assert wanted.any()
    assert (hit != wanted).sum() <= silhouette * wanted.sum()
    both = hit & wanted
    np.testing.assert_allclose(got[both], expected[both], rtol=rtol)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("seed", range(3))
def test_depth_of_one_primitive(kind: Kind, seed: int) -> None:
    builder, pose = placed(kind, seed)
    depth = renderer_of(builder).render(CAMERA, pose).depth.numpy()
    # Round shapes seen at a grazing angle: the root is steep, and float32 sees it.
    assert_same_depth(
        depth, depth_of(builder, CAMERA, pose), rtol=3e-4 if kind in (Kind.ELLIPSOID, Kind.CYLINDER) else 2e-5, silhouette=0.004
    )


def test_surfaces_that_face_the_camera_are_seen_to_their_very_edge() -> None:
    """The rectangle on the screen that is searched is then no larger than the surface."""
    for half in ((0.5, 0.4, 1), (1e-2, 0.3, 1), (0.3, 1e-2, 1)):
        builder = SceneBuilder()
        builder.add(Kind.QUAD, (0.1, 0.05, 2), half, GRAY)
        depth = renderer_of(builder).render(CAMERA, ORIGIN).depth.numpy()
        np.testing.assert_array_equal(np.isfinite(depth), np.isfinite(depth_of(builder, CAMERA, ORIGIN)))


@pytest.mark.parametrize("distance", [5.0, 50.0, 150.0])
def test_thin_distant_rods(distance: float) -> None:
    """A wire of 2 mm, seen six pixels wide through a long lens: b² − a·c in float32 would lose it."""
    f_px = 3 * distance / 0.002
    camera = Camera(40, 60, f_px, f_px, 19.5, 29.5)
    rng = np.random.default_rng(0)
    pose = Pose(random_rotation(rng), rng.uniform(-1, 1, 3))
    builder = SceneBuilder()
    center = pose.position + pose.rotation @ np.array([0, 0, distance])
    along = pose.rotation @ np.array([0.1, 1.0, 0.4])
    builder.rod(center - 3 * along, center + 3 * along, 0.002, GRAY)
    depth = renderer_of(builder).render(camera, pose).depth.numpy()
    expected = depth_of(builder, camera, pose)
    assert 5 < np.isfinite(expected).sum(1).mean() < 8
    assert_same_depth(depth, expected, rtol=1e-5, silhouette=0.1)


def test_floor_under_the_camera_reaches_from_the_feet_to_the_horizon() -> None:
    """The quad crosses the camera's own plane; depth is height / slope of the ray."""
    builder = SceneBuilder()
    builder.add(Kind.QUAD, (0, 1.6, 0), (500, 500, 1), GRAY, rotation_ypr(0, np.pi / 2, 0))
    depth = renderer_of(builder).render(CAMERA, ORIGIN).depth.numpy()
    y = CAMERA.ray_slopes()[1].astype(np.float64)
    below = y > 1.6 / 499
    np.testing.assert_allclose(depth[below], np.repeat((1.6 / y[below])[:, None], 160, 1), rtol=2e-5)
    assert np.isinf(depth[y <= 0]).all()


def test_nothing_is_seen_behind_or_too_near_or_from_inside() -> None:
    for center, half in (((0, 0, -3), (1, 1, 1)), ((0, 0, 0), (1, 1, 1)), ((0, 0, 0.5 * NEAR_M), (1, 1, 0.2 * NEAR_M))):
        builder = SceneBuilder()
        builder.add(Kind.BOX, center, half, GRAY)
        view = renderer_of(builder).render(CAMERA, ORIGIN)
        assert bool(torch.isinf(view.depth).all())
        assert bool(torch.isfinite(view.image).all())


@pytest.mark.parametrize("order", [1, -1])
def test_the_nearest_surface_is_seen_whatever_came_first(order: int) -> None:
    builder = SceneBuilder()
    for z in (4.0, 2.0, 3.0)[::order]:
        builder.add(Kind.QUAD, (0, 0, z), (0.17 * z**2, 1, 1), GRAY)
    depth = renderer_of(builder).render(CAMERA, ORIGIN).depth.numpy()
    assert depth[59, 81] == pytest.approx(2.0)
    assert set(np.unique(np.round(depth[59], 5))) == {2.0, 3.0, 4.0}


@pytest.fixture(scope="module")
def room() -> tuple[Renderer, Pose]:
    """A random furnished room."""
    textures = build_textures(1, count=6)
    rng = np.random.default_rng(3)
    while True:
        scene = random_scene(rng, textures)
        if scene.kind == "room":
            return Renderer(scene.scene, textures), scene.pose


def test_a_window_is_the_crop_of_the_whole(room: tuple[Renderer, Pose]) -> None:
    renderer, pose = room
    camera = Camera.from_hfov(320, 200, 75)
    whole = renderer.render(camera, pose)
    for x0, y0, width, height in ((0, 0, 320, 200), (37, 51, 64, 48), (319, 199, 1, 1), (100, 0, 1, 200), (0, 77, 320, 1)):
        window = renderer.render(camera, pose, (x0, y0, width, height))
        crop = (slice(y0, y0 + height), slice(x0, x0 + width))
        assert torch.equal(window.depth, whole.depth[crop])
        torch.testing.assert_close(window.image, whole.image[crop], atol=1e-5, rtol=0)


def test_rendering_in_bands_changes_nothing(room: tuple[Renderer, Pose], monkeypatch: pytest.MonkeyPatch) -> None:
    renderer, pose = room
    whole = renderer.render(CAMERA, pose)
    monkeypatch.setattr(render, "BAND_PIXELS", 7 * 160 + 3)
    banded = renderer.render(CAMERA, pose)
    assert torch.equal(banded.depth, whole.depth)
    torch.testing.assert_close(banded.image, whole.image, atol=1e-5, rtol=0)


def test_the_middle_of_three_by_three_samples_is_the_pixels_own_ray(room: tuple[Renderer, Pose]) -> None:
    renderer, pose = room
    coarse = renderer.render(CAMERA, pose).depth
    fine = renderer.render(CAMERA.resized(480, 360), pose).depth[1::3, 1::3]
    close = ((fine / coarse).log().abs() < 1e-5) | (torch.isinf(fine) & torch.isinf(coarse))
    assert float(close.float().mean()) > 0.999


def test_area_downsample_is_the_mean_of_blocks() -> None:
    image = torch.rand(6, 9, 3)
    np.testing.assert_allclose(area_downsample(image, 3), image.numpy().reshape(2, 3, 3, 3, 3).mean((1, 3)), atol=1e-6)


def smooth_texture() -> TextureStack:
    """One blurred random texture with its mip chain; the others grey, as ``flat_textures``."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).random((SIZE, SIZE, 3)).astype(np.float32), (0, 0), 6)
    image = (255 * np.clip(0.5 + 0.2 * (noise - noise.mean()) / noise.std(), 0, 1)).astype(np.uint8)
    chain = [cv2.resize(image, (SIZE >> i, SIZE >> i), interpolation=cv2.INTER_AREA).reshape(-1, 3) for i in range(LEVELS)]
    gray = flat_textures()
    gray.texels[0] = torch.from_numpy(np.concatenate(chain))
    return gray


@pytest.mark.parametrize("side", [32, 64, 128])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_look_does_not_move_with_the_resolution(side: int, axis: int) -> None:
    """A low-resolution view samples coarser mip levels; it must show the average of the high-resolution view, in place.

    The shift between the two is the vertex of the parabola through their correlations at shifts of −1/3, 0 and 1/3 pixel.
    """
    builder = SceneBuilder()
    builder.add(Kind.QUAD, (3.2, 3.2, 4), (3, 3, 1), Material(0, 8.0, np.ones(3)))
    renderer = renderer_of(builder, textures=smooth_texture())
    camera = Camera(side, side, side, side, -0.1 * side, -0.1 * side)
    low = renderer.render(camera, ORIGIN).image[..., 0].numpy()
    fine = renderer.render(camera.resized(3 * side, 3 * side), ORIGIN).image
    inside = (slice(1, -1), slice(1, -1))
    left, same, right = (
        np.corrcoef(low[inside].ravel(), area_downsample(fine.roll(step, axis), 3)[..., 0].numpy()[inside].ravel())[0, 1]
        for step in (-1, 0, 1)
    )
    assert low.std() > 0.02 and same > 0.97
    assert abs((left - right) / (2 * (left - 2 * same + right)) / 3) < 0.1


def test_cut_outs_let_see_what_is_behind() -> None:
    """Stripes along x: solid where the texture coordinate's fraction is below one half."""
    mask = np.zeros((1, SIZE, SIZE), np.float32)
    mask[:, :, : SIZE // 2] = 1
    builder = SceneBuilder()
    builder.add(Kind.QUAD, (0, 0, 6), (20, 20, 1), GRAY)
    builder.add(Kind.QUAD, (0, 0, 2), (20, 20, 1), Material(0, 1.0, np.ones(3), cutout=0, cutout_scale_m=0.5))
    depth = renderer_of(builder, textures=flat_textures(mask)).render(CAMERA, ORIGIN).depth.numpy()
    position = 2 * CAMERA.ray_slopes()[0].astype(np.float64) / 0.5  # in repeats
    solid = position % 1 < 0.5
    clear = np.minimum(position % 0.5, 0.5 - position % 0.5) > 2e-3
    expected = np.where(solid, 2.0, 6.0)
    np.testing.assert_allclose(depth[:, clear], np.repeat(expected[None, clear], 120, 0), rtol=1e-6)
    assert 0.3 < solid.mean() < 0.7


def test_shadows_fall_where_the_sun_is_hidden() -> None:
    """Sun straight above, a plate 2 m over the floor: its shadow is under it."""
    builder = SceneBuilder()
    builder.add(Kind.QUAD, (0, 1.5, 5), (4, 4, 1), GRAY, rotation_ypr(0, np.pi / 2, 0), casts_shadow=False)
    builder.add(Kind.QUAD, (0, -0.5, 5), (1, 1, 1), GRAY, rotation_ypr(0, np.pi / 2, 0))
    renderer = renderer_of(builder, even_light(sun=1.0))
    renderer.exposure = 0.3
    view = renderer.render(CAMERA, ORIGIN)
    y, x = (torch.from_numpy(v) for v in CAMERA.ray_slopes()[::-1])
    floor = (view.depth * y[:, None] - 1.5).abs() < 1e-3
    across, along = (view.depth * x[None]).abs(), (view.depth - 5).abs()
    brightness = view.image.mean(2)
    under, beside = brightness[floor & (across < 0.8) & (along < 0.8)], brightness[floor & ((across > 1.3) | (along > 1.3))]
    assert under.numel() > 50 and beside.numel() > 50
    assert float(under.max()) < float(beside.min())


def test_exposure_sets_the_linear_mean_and_leaves_depth_alone(room: tuple[Renderer, Pose]) -> None:
    renderer, pose = room
    before = renderer.render(CAMERA, pose)
    old = renderer.exposure
    for _ in range(3):  # highlights are clipped, so one step does not reach it
        renderer.expose(CAMERA, pose, mean=0.12)
    after = renderer.render(CAMERA, pose)
    renderer.exposure = old
    assert float(after.image.pow(2.2).mean()) == pytest.approx(0.12, rel=0.1)
    assert torch.equal(after.depth, before.depth)


def test_sky_is_infinitely_far_and_lighter_at_the_horizon() -> None:
    builder = SceneBuilder()
    builder.add(Kind.QUAD, (0, 0, -5), (1, 1, 1), GRAY)
    view = renderer_of(builder).render(CAMERA, ORIGIN)
    assert bool(torch.isinf(view.depth).all())
    rows = view.image.mean((1, 2))
    assert float(rows[-1]) > float(rows[0])


def test_to_uint8_rounds() -> None:
    assert to_uint8(torch.tensor([-1.0, 0.0, 0.5, 0.9981, 1.0, 2.0]).view(1, 2, 3)).ravel().tolist() == [0, 0, 128, 255, 255, 255]


@pytest.mark.cuda
def test_cuda_renders_the_same_depth(room: tuple[Renderer, Pose]) -> None:
    renderer, pose = room
    device = torch.device("cuda")
    there = Renderer(renderer.scene.to(device), renderer.textures.to(device))
    here, far = renderer.render(CAMERA, pose).depth, there.render(CAMERA, pose).depth.cpu()
    same = ((here / far).log().abs() < 1e-4) | (torch.isinf(here) & torch.isinf(far))
    assert float(same.float().mean()) > 0.999
