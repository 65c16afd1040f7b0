"""The compiled renderer shows what the specification shows, and thin things by the share of the pixel that they cover."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.training.scenes import render_kernels
from depth_retrofit_ros.training.scenes.layout import random_scene
from depth_retrofit_ros.training.scenes.render import Renderer
from depth_retrofit_ros.training.scenes.render_cpu import CompiledRenderer, Lamp
from depth_retrofit_ros.training.scenes.scene import Kind, SceneBuilder, rotation_ypr
from depth_retrofit_ros.training.scenes.textures import SIZE, TextureStack, build_textures
from test.training.scenes.analytic import depth_of
from test.training.scenes.simple import GRAY, ORIGIN, even_light, flat_textures, placed

CAMERA = Camera(160, 120, 140.0, 150.0, 81.3, 58.9)


@pytest.fixture(scope="module")
def textures() -> TextureStack:
    """A few of each kind."""
    return build_textures(1, count=8)


def compiled(builder: SceneBuilder, sun: float = 0.0, **more: object) -> CompiledRenderer:
    """Ready to be looked at."""
    return CompiledRenderer(builder.build(even_light(sun)), flat_textures(), **more)  # type: ignore[arg-type]


def wall_and_rod(radius: float) -> SceneBuilder:
    """A dark rod, upright, 1 m before the camera; a wall 1 m behind it."""
    builder = SceneBuilder()
    builder.add(Kind.QUAD, (0, 0, 2), (9, 9, 1), GRAY)
    dark = type(GRAY)(texture=0, scale_m=1.0, tint=np.zeros(3))
    builder.rod(np.array([0.0, -3, 1]), np.array([0.0, 3, 1]), radius, dark)
    return builder


@pytest.mark.parametrize("seed", range(4))
def test_same_picture_as_the_specification(seed: int, textures: TextureStack) -> None:
    at = random_scene(np.random.default_rng(seed), textures)
    expected = Renderer(at.scene, textures)
    expected.expose(CAMERA, at.pose)
    renderer = CompiledRenderer(at.scene, textures)
    renderer.expose(CAMERA, at.pose)
    assert renderer.exposure == pytest.approx(expected.exposure, rel=0.02)  # shadow maps of other sizes
    renderer.exposure = expected.exposure
    got, wanted = renderer.render(CAMERA, at.pose, samples=1), expected.render(CAMERA, at.pose)
    same = torch.isclose(got.depth, wanted.depth, rtol=1e-4) | (got.depth == wanted.depth)
    assert same.float().mean() > 0.999
    assert ((got.image - wanted.image).abs().amax(2) < 0.03).float().mean() > 0.95


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("seed", range(3))
def test_depth_of_one_primitive(kind: Kind, seed: int) -> None:
    builder, pose = placed(kind, seed)
    depth, expected = compiled(builder).render(CAMERA, pose, samples=1).depth.numpy(), depth_of(builder, CAMERA, pose)
    hit, wanted = np.isfinite(depth), np.isfinite(expected)
    assert wanted.any() and (hit != wanted).sum() <= 0.004 * wanted.sum()
    np.testing.assert_allclose(depth[hit & wanted], expected[hit & wanted], rtol=3e-4)


def test_a_rod_of_a_third_of_a_pixel_darkens_a_third() -> None:
    camera = Camera(9, 5, 100.0, 100.0, 4.0, 2.0)
    image = compiled(wall_and_rod(1.0 / 600)).render(camera, ORIGIN, samples=9).image[2, :, 0].pow(2.2)
    wall = image[0]
    assert float(image[4] / wall) == pytest.approx(2 / 3, abs=0.02)
    torch.testing.assert_close(image[[3, 5]], wall.expand(2), rtol=1e-3, atol=0)


def test_depth_is_that_of_the_centre_whatever_the_samples() -> None:
    renderer = compiled(wall_and_rod(0.004))
    depths = [renderer.render(CAMERA, ORIGIN, samples=n).depth for n in (1, 3, 5)]
    assert torch.equal(depths[0], depths[1]) and torch.equal(depths[0], depths[2])
    assert {1.0, 2.0} == {round(float(v)) for v in depths[0].unique()}


def test_a_window_is_a_part_of_the_whole(textures: TextureStack) -> None:
    at = random_scene(np.random.default_rng(3), textures)
    renderer = CompiledRenderer(at.scene, textures)
    whole, part = renderer.render(CAMERA, at.pose), renderer.render(CAMERA, at.pose, (30, 20, 70, 50))
    torch.testing.assert_close(part.depth, whole.depth[20:70, 30:100], rtol=1e-5, atol=1e-6)
    assert (part.image - whole.image[20:70, 30:100]).abs().mean() < 1e-3


def test_cut_outs_are_open() -> None:
    masks = np.zeros((1, SIZE, SIZE), np.float32)
    masks[:, :, : SIZE // 2] = 1
    builder = SceneBuilder()
    half = type(GRAY)(texture=0, scale_m=1.0, tint=np.ones(3), cutout=0, cutout_scale_m=2.0)
    builder.add(Kind.QUAD, (0, 0, 2), (1, 1, 1), half)
    depth = CompiledRenderer(builder.build(even_light()), flat_textures(masks)).render(CAMERA, ORIGIN).depth
    seen = torch.isfinite(depth[59])
    slopes = torch.from_numpy(CAMERA.ray_slopes()[0]) * 2
    assert torch.equal(seen, (slopes > 0) & (slopes < 1))


def test_shadows_fall_where_the_sun_does_not_reach_and_only_in_their_ball() -> None:
    builder = SceneBuilder()
    builder.add(Kind.QUAD, (0, 1, 3), (9, 9, 1), GRAY, rotation_ypr(0, np.pi / 2, 0), casts_shadow=False)
    builder.add(Kind.QUAD, (0, -1, 3), (0.5, 0.5, 1), GRAY, rotation_ypr(0, np.pi / 2, 0))
    row, column = round(CAMERA.cy + CAMERA.fy / 3), round(CAMERA.cx)  # below the quad

    def brightness(**more: object) -> tuple[float, float]:
        image = compiled(builder, sun=1.0, **more).render(CAMERA, ORIGIN).image
        return float(image[row, column, 0]), float(image[row, column + 50, 0])

    under, beside = brightness()
    assert under < 0.85 * beside
    under, beside = brightness(shadows=(np.array([50.0, 0, 0]), 1.0))
    assert under == pytest.approx(beside, rel=1e-3)


def test_a_lamp_is_brightest_where_it_is_near() -> None:
    builder = SceneBuilder()
    builder.add(Kind.QUAD, (0, 0, 2), (9, 9, 1), GRAY)
    dark = even_light()
    dark.ambient[:] = 0
    lamp = Lamp(np.array([-0.5, 0, 1.5]), np.array([1.0, 0.5, 0.25]))
    image = CompiledRenderer(builder.build(dark), flat_textures(), lamp).render(CAMERA, ORIGIN).image
    row, column = divmod(int(image[..., 0].argmax()), CAMERA.width)
    assert abs(column - (CAMERA.cx - 0.25 * CAMERA.fx)) < 3 and abs(row - CAMERA.cy) < 3
    assert image[row, column, 0] > image[row, column, 1] > image[row, column, 2] > 0


def test_clouds_are_in_the_sky_alone(textures: TextureStack) -> None:
    builder = SceneBuilder()
    builder.add(Kind.QUAD, (0, 1, 0), (90, 90, 1), GRAY, rotation_ypr(0, np.pi / 2, 0))
    scene = builder.build(even_light())
    plain, cloudy = (CompiledRenderer(scene, textures, clouds=c).render(CAMERA, ORIGIN) for c in (-1, 2))
    changed = (plain.image - cloudy.image).abs().amax(2) > 1e-6
    assert not changed[torch.isfinite(plain.depth)].any()
    assert changed[torch.isinf(plain.depth)].float().mean() > 0.3


def test_no_kernel_takes_an_infinite_depth_for_impossible() -> None:
    """``fastmath=True`` would let the compiler drop every test for one."""
    sources = list(Path(render_kernels.__file__).parent.rglob("*.py"))
    assert len(sources) > 30
    assert not [path.name for path in sources if "fastmath=True" in path.read_text(encoding="utf-8")]
