"""Random scenes: the same for the same seed, of every kind, and always fit to be rendered."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.training.scenes.dead_leaves import dead_leaves
from depth_retrofit_ros.training.scenes.layout import SceneAndPose, random_light, random_scene
from depth_retrofit_ros.training.scenes.render import NEAR_M, Renderer
from depth_retrofit_ros.training.scenes.scene import Kind, Scene
from depth_retrofit_ros.training.scenes.textures import TextureStack, build_textures

CAMERA = Camera.from_hfov(80, 60, 70)


@pytest.fixture(scope="module")
def textures() -> TextureStack:
    """A few of each kind."""
    return build_textures(1, count=8)


def make(kind: str, seed: int, textures: TextureStack) -> SceneAndPose:
    """The first scene of a kind from a seed on."""
    rng = np.random.default_rng(seed)
    if kind == "leaves":
        return dead_leaves(rng, textures, CAMERA)
    while True:
        placed = random_scene(rng, textures)
        if placed.kind == kind:
            return placed


def tensors(scene: Scene) -> dict[str, torch.Tensor]:
    """By name."""
    values = {f.name: getattr(scene, f.name) for f in fields(scene)}
    return {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}


@pytest.mark.parametrize("kind", ["room", "street", "clutter", "leaves"])
def test_same_seed_same_scene(kind: str, textures: TextureStack) -> None:
    first, again, other = (make(kind, seed, textures) for seed in (5, 5, 6))
    for name, value in tensors(first.scene).items():
        assert torch.equal(value, tensors(again.scene)[name]), name
    np.testing.assert_array_equal(first.pose.rotation, again.pose.rotation)
    assert first.scene.center.shape != other.scene.center.shape or not torch.equal(first.scene.center, other.scene.center)


@pytest.mark.parametrize("kind", ["room", "street", "clutter", "leaves"])
@pytest.mark.parametrize("seed", range(3))
def test_every_scene_can_be_seen(kind: str, seed: int, textures: TextureStack) -> None:
    placed = make(kind, seed, textures)
    scene = placed.scene
    for name, value in tensors(scene).items():
        assert bool(torch.isfinite(value.float()).all()), name
    assert set(scene.kind.tolist()) <= set(Kind) and scene.kind.numel() > 8
    assert int(scene.texture.max()) < textures.count and int(scene.cutout.max()) < textures.masks.shape[0]
    torch.testing.assert_close(
        scene.rotation @ scene.rotation.transpose(1, 2), torch.eye(3).expand_as(scene.rotation), atol=1e-5, rtol=0
    )
    view = Renderer(scene, textures).render(CAMERA, placed.pose)
    assert bool(torch.isfinite(view.image).all()) and float(view.image.min()) >= 0 and float(view.image.max()) <= 1
    assert not bool(torch.isnan(view.depth).any()) and float(view.depth.min()) > NEAR_M
    assert float(view.image.std()) > 0.01
    if kind != "street":
        assert float(torch.isinf(view.depth).float().mean()) < 0.5


def test_all_kinds_come_in_the_stated_shares(textures: TextureStack) -> None:
    rng = np.random.default_rng(0)
    kinds = [random_scene(rng, textures).kind for _ in range(120)]
    assert [kinds.count(k) / 120 for k in ("room", "street", "clutter")] == pytest.approx([0.5, 0.3, 0.2], abs=0.12)


def test_thin_things_are_common(textures: TextureStack) -> None:
    """Wires, legs and bars are what refinement is for: rods thinner than 3 cm, or cut-outs, in most scenes."""
    rng = np.random.default_rng(1)
    thin = 0
    for _ in range(40):
        scene = random_scene(rng, textures).scene
        rods = (scene.kind == Kind.CYLINDER) & (scene.half[:, 0] < 0.03)
        thin += bool(rods.any()) or bool((scene.cutout >= 0).any())
    assert thin >= 32


def test_leaves_fill_the_view_and_have_many_sizes(textures: TextureStack) -> None:
    placed = make("leaves", 0, textures)
    depth = Renderer(placed.scene, textures).render(CAMERA, placed.pose).depth
    assert bool(torch.isfinite(depth).all())
    size = placed.scene.half[1:, 0] / placed.scene.center[1:, 2]
    assert float(size.max() / size.min()) > 5


@pytest.mark.parametrize("outdoors", [True, False])
def test_sun_is_above_and_light_is_positive(outdoors: bool) -> None:
    for seed in range(30):
        light = random_light(np.random.default_rng(seed), outdoors)
        assert np.linalg.norm(light.to_sun) == pytest.approx(1.0, abs=1e-5) and light.to_sun[1] < 0
        for color in (light.sun, light.ambient, light.sky_top, light.sky_horizon):
            assert color.shape == (3,) and np.isfinite(color).all() and (color >= 0).all()
