"""Thin things: of the stated widths, before what is behind them, each maker alone and all together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.training.pool import thin_things
from depth_retrofit_ros.training.scenes.layout import Decorator
from depth_retrofit_ros.training.scenes.render_cpu import CompiledRenderer
from depth_retrofit_ros.training.scenes.scene import Kind, SceneBuilder
from depth_retrofit_ros.training.scenes.textures import TextureStack, build_textures
from depth_retrofit_ros.training.scenes.thin import plants, things
from depth_retrofit_ros.training.scenes.thin.backdrops import joined, random_backdrop
from depth_retrofit_ros.training.scenes.thin.pen import THINNEST, WIDEST, Pen, Spot
from depth_retrofit_ros.training.scenes.thin.world import Placer, ThinWorld, load_world
from depth_retrofit_ros.training.scenes.world import WorldSpec
from test.training.scenes.simple import GRAY, ORIGIN, even_light

CAMERA = Camera.from_hfov(512, 288, 65)
MAKERS = [*things.MAKERS, *plants.MAKERS]


@pytest.fixture(scope="module")
def textures() -> TextureStack:
    """A few of each kind."""
    return build_textures(1, count=8)


def pen_of(seed: int, textures: TextureStack) -> Pen:
    """On an empty scene."""
    rng = np.random.default_rng(seed)
    return Pen(rng, Decorator(rng, textures), SceneBuilder(), [GRAY])


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_each_thing_stands_on_its_spot_and_is_thin(maker: object, textures: TextureStack) -> None:
    """Three of each: near its foot, not far taller than told, and its finest parts about as wide as told."""
    finest = []
    for seed in range(3):
        pen = pen_of(seed, textures)
        spot = Spot(np.array([0.3, 1.0, 5.0]), np.eye(3), 2.0, 5.0, 0.02)
        maker(pen, spot)  # type: ignore[operator]
        scene = pen.builder.build(even_light())
        corners = scene.corners()
        assert bool(torch.isfinite(corners).all()) and 1 < len(scene.kind) < 1500
        middle = (corners.amin((0, 1)) + corners.amax((0, 1))) / 2
        assert (middle - torch.tensor([0.3, 0.0, 5.0])).abs().max() < 4
        assert float(corners[..., 1].min()) > -4
        finest.append(2 * float(scene.half.sort(1).values[:, 1].min()))  # of the second shortest side
    assert 0.1 * 0.02 <= min(finest) <= 3 * 0.02
    pen, again = pen_of(2, textures), pen_of(2, textures)
    for p in (pen, again):
        maker(p, Spot(np.zeros(3), np.eye(3), 1.0, 3.0, 0.01))  # type: ignore[operator]
    np.testing.assert_array_equal(np.stack(pen.builder.centers), np.stack(again.builder.centers))


def test_a_tube_has_no_gaps_and_tapers(textures: TextureStack) -> None:
    pen = pen_of(0, textures)
    pen.tube(np.array([[-0.5, 0, 2], [0.0, -0.3, 2], [0.5, 0, 2.0]]), 0.04, GRAY, 0.02)
    depth = CompiledRenderer(pen.builder.build(even_light()), textures).render(CAMERA, ORIGIN).depth
    wide = torch.isfinite(depth).sum(0)
    columns = wide.nonzero().flatten()
    assert len(columns) == columns[-1] - columns[0] + 1
    assert wide[columns[5:40]].float().mean() > 1.3 * wide[columns[-40:-5]].float().mean()


def test_spots_are_before_the_backdrop_and_their_widths_spread_over_all_factors(textures: TextureStack) -> None:
    rng = np.random.default_rng(0)
    back = random_backdrop(rng, textures)
    placer = Placer(back, CAMERA, textures)
    spots = [placer.spot(rng, floating=bool(i % 2)) for i in range(400)]
    shares = np.array([s.width / s.distance * CAMERA.fx / CAMERA.width for s in spots])
    assert shares.min() >= THINNEST * 0.999 and shares.max() <= WIDEST * 1.001
    assert np.median(shares) == pytest.approx(np.sqrt(THINNEST * WIDEST), rel=0.25)
    assert all(0.4 < s.distance <= max(0.93 * placer.depth.max(), 0.51) and s.height > 0 for s in spots)
    standing = np.array([s.foot[1] for s in spots[::2]])
    np.testing.assert_allclose(standing, 0)


def test_backdrops_are_of_several_kinds_and_join(textures: TextureStack) -> None:
    backs = [random_backdrop(np.random.default_rng(seed), textures) for seed in range(12)]
    assert {b.outdoors for b in backs} == {True, False}
    assert len({len(b.scene.kind) for b in backs}) > 6
    more = SceneBuilder()
    more.add(Kind.BOX, (1, 2, 3), (1, 1, 1), GRAY)
    both = joined(backs[0].scene, more.build(even_light()))
    assert len(both.kind) == len(backs[0].scene.kind) + 1 and both.center[-1].tolist() == [1, 2, 3]
    assert both.light is backs[0].scene.light
    assert len(backs[0].materials(np.random.default_rng(0))) >= 4


def test_same_generator_same_view_and_it_is_full_of_thin_things(textures: TextureStack) -> None:
    world = ThinWorld(textures)
    share = []
    for seed in range(6):
        view = world.view(np.random.default_rng(seed), CAMERA)
        seen = view.render(CAMERA)
        assert view.kind == "thin" and 0.005 < float(seen.image.mean()) < 0.95
        share.append(thin_things(seen.depth.numpy()).mean())
        if seed == 0:
            again = world.view(np.random.default_rng(0), CAMERA).render(CAMERA)
            assert torch.equal(seen.image, again.image) and torch.equal(seen.depth, again.depth)
            part = view.render(CAMERA, (100, 50, 60, 40))
            torch.testing.assert_close(part.depth, seen.depth[50:90, 100:160], rtol=1e-4, atol=1e-5)
    assert np.mean(share) > 0.015


def test_load_world_without_photographs_is_procedural(monkeypatch: pytest.MonkeyPatch) -> None:
    from depth_retrofit_ros.training.scenes.thin import world

    monkeypatch.setattr(world, "TEXTURES", 6)
    made = load_world(WorldSpec("thin", 5))
    expected = build_textures(5, 6, share=0.0)
    assert torch.equal(made.textures.texels, expected.texels)
