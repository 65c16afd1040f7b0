"""Depth, cut-outs, windows of a view, shadows, exposure: of small soups with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import DatasetError
from depth_retrofit_ros.training.scenes.meshes.sky import Sky, cloud_cover, random_sky
from depth_retrofit_ros.training.scenes.meshes.soup import Paint, SoupBuilder
from depth_retrofit_ros.training.scenes.meshes.tracer import Tracer
from depth_retrofit_ros.training.scenes.meshes.view import Ambient, MeshView
from depth_retrofit_ros.training.scenes.scene import Pose, rotation_ypr
from test.training.scenes.mesh_assets import leaf

pytest.importorskip("embreex", reason="needs embreex (pip install '.[train]')")

CAMERA = Camera.from_hfov(160, 120, 70)
AHEAD = Pose(np.eye(3), np.zeros(3))
DARK = Ambient(np.full(3, 0.02), 1.0, 1.0, np.full(3, 0.02))
BLUE = Sky(
    zenith=np.array([0.1, 0.2, 0.6]),
    horizon=np.ones(3),
    clouds=np.zeros((8, 8), np.float32),
    cloud=np.ones(3),
    to_sun=np.array([0, -1.0, 0]),
    sun=np.zeros(3),
    glow=np.zeros(3),
)


def grey(builder: SoupBuilder, albedo: float = 0.5) -> Paint:
    return Paint(builder.material((albedo,) * 3, grain=0.0), 1.0)


def wall(builder: SoupBuilder, z: float, half: float = 50.0) -> None:
    corner = np.array([-half, half, z])
    builder.quad(corner, np.array([2 * half, 0, 0]), np.array([0, -2 * half, 0]), grey(builder))


def view(builder: SoupBuilder, pose: Pose = AHEAD, ambient: Ambient = DARK) -> MeshView:
    return MeshView("test", builder.build(), pose, BLUE, ambient)


def test_depth_is_the_planes_exactly() -> None:
    builder = SoupBuilder()
    wall(builder, 3.0)
    turned = rotation_ypr(0.4, 0.2, 0.1)
    depth = view(builder, Pose(turned, np.array([0.1, 0.2, -0.3]))).render(CAMERA).depth.numpy()
    x, y = CAMERA.ray_slopes()
    rays = np.stack(np.broadcast_arrays(x[None], y[:, None], 1.0), -1) @ turned.T
    np.testing.assert_allclose(depth, 3.3 / rays[..., 2], rtol=2e-6)


def test_what_no_ray_meets_is_sky_and_infinitely_far() -> None:
    builder = SoupBuilder()
    builder.quad(np.array([-50, 1.5, -50.0]), np.array([100.0, 0, 0]), np.array([0, 0, 500.0]), grey(builder))
    seen = view(builder).render(CAMERA)
    assert np.isinf(seen.depth[:58].numpy()).all() and np.isfinite(seen.depth[62:].numpy()).all()
    assert (seen.image[:30, :, 2] > seen.image[:30, :, 0]).all()  # blue


def test_the_nearer_of_two_things_is_seen_and_rays_pass_the_holes_of_a_leaf() -> None:
    builder = SoupBuilder()
    wall(builder, 4.0)
    number = builder.textures.add("leaf", leaf(64))
    paint = Paint(builder.material((0.1, 0.4, 0.1), number), 1.0)
    builder.quad(np.array([-0.5, 0.5, 2.0]), np.array([1.0, 0, 0]), np.array([0, -1.0, 0]), paint, fit=True)
    depth = view(builder).render(CAMERA).depth.numpy()
    middle = depth[60]
    edge = round(CAMERA.cx + CAMERA.fx * 0.25)  # the leaf spans ± this
    assert middle[int(CAMERA.cx) - edge // 4] == pytest.approx(2.0, rel=1e-5)
    assert middle[int(CAMERA.cx) + 5] == pytest.approx(4.0, rel=1e-5)
    assert depth[0, 0] == pytest.approx(4.0, rel=1e-5)


def test_a_hole_lets_light_through_and_a_leaf_does_not() -> None:
    builder = SoupBuilder()
    number = builder.textures.add("leaf", leaf(64))
    paint = Paint(builder.material((0.1, 0.4, 0.1), number), 1.0)
    builder.quad(np.array([-1.0, 1, 2]), np.array([2.0, 0, 0]), np.array([0, -2.0, 0]), paint, fit=True)
    tracer = Tracer(builder.build())
    origin = np.array([[-0.5, 0, 0], [0.5, 0, 0], [-0.5, 0, 0]], np.float32)
    ray = np.array([[0, 0, 4], [0, 0, 4], [0, 0, 1.9]], np.float32)
    np.testing.assert_array_equal(tracer.blocked(origin, ray), [True, False, False])  # the last one ends before it


def test_a_window_is_the_same_pixels_of_the_whole() -> None:
    builder = SoupBuilder()
    wall(builder, 5.0)
    for i in range(12):
        builder.tube(
            np.array([[i * 0.3 - 1.7, -1.0, 3.0], [i * 0.3 - 1.5, 1.0, 3.2]]), 0.01 + 0.003 * i, grey(builder, 0.2 + 0.05 * i)
        )
    builder.sun(np.array([0.3, -0.8, -0.52]), 0.01, np.ones(3))
    seen = view(builder)
    whole, part = seen.render(CAMERA), seen.render(CAMERA, (37, 21, 64, 48))
    np.testing.assert_array_equal(part.depth, whole.depth[21:69, 37:101])
    inner = (part.image - whole.image[21:69, 37:101]).abs().numpy()[8:-8, 8:-8]
    assert np.quantile(inner, 0.99) < 1e-3 and part.image.shape == (48, 64, 3)


def test_a_thing_before_the_sun_casts_a_shadow_with_a_soft_edge() -> None:
    builder = SoupBuilder()
    builder.quad(np.array([-20, 1.0, -5]), np.array([40.0, 0, 0]), np.array([0, 0, 40.0]), grey(builder))
    builder.box((0, -1.0, 4.0), (0.6, 0.02, 0.6), grey(builder))
    builder.sun(np.array([0, -1.0, 0]), 0.06, np.ones(3))
    row = round(CAMERA.cy + CAMERA.fy * 1.0 / 4.0)
    lit = view(builder).render(CAMERA).image.numpy()[row, :, 0] ** 2.2
    middle = lit[int(CAMERA.cx)]
    assert middle < 0.1 * lit[2] and lit[2] == pytest.approx(0.51, abs=0.05)
    assert ((lit > 0.1) & (lit < 0.4)).sum() >= 2  # a penumbra of 2 m × 0.12 rad, some pixels wide


def test_corners_get_less_of_the_light_from_around() -> None:
    builder = SoupBuilder()
    wall(builder, 3.0)
    builder.quad(np.array([-20, 1.0, -5]), np.array([40.0, 0, 0]), np.array([0, 0, 8.0]), grey(builder))
    around = Ambient(np.full(3, 0.5), 0.2, 1.5, np.full(3, 0.5))
    column = view(builder, ambient=around).render(CAMERA).image.numpy()[:, 80, 0]
    corner = round(CAMERA.cy + CAMERA.fy / 3.0)
    assert column[corner - 2] < 0.9 * column[10]


def test_exposure_gives_the_mean_that_is_asked_for_however_bright_the_light_is() -> None:
    for strength in (0.01, 1.0, 300.0):
        builder = SoupBuilder()
        wall(builder, 3.0)
        builder.sun(np.array([0, 0, -1.0]), 0.01, np.full(3, strength))
        seen = view(builder)
        seen.expose(CAMERA, 0.2)
        assert float((seen.render(CAMERA).image ** 2.2).mean()) == pytest.approx(0.2, rel=0.02)


def test_a_picture_on_a_wall_is_upright_and_not_mirrored() -> None:
    picture = np.full((64, 64, 4), 255, np.uint8)
    picture[:32, :32, :3] = (255, 0, 0)  # red in the upper left
    builder = SoupBuilder()
    paint = Paint(builder.material((0.5, 0.5, 0.5), builder.textures.add("p", picture), grain=0.0), 1.0)
    builder.quad(np.array([-1.0, 1.0, 2.0]), np.array([2.0, 0, 0]), np.array([0, -2.0, 0]), paint, fit=True)
    builder.sun(np.array([0, 0, -1.0]), 0.01, np.ones(3))
    image = view(builder).render(CAMERA).image.numpy()
    red = image[..., 0] > 3 * image[..., 1]
    rows, columns = red.nonzero()
    assert red.sum() > 200 and rows.max() <= 61 and columns.max() <= 81


def test_the_sky_is_bluer_above_and_clouds_cover_as_much_as_they_should() -> None:
    rng = np.random.default_rng(0)
    shares = [float(cloud_cover(rng, amount).mean()) for amount in (0.0, 0.5, 1.0)]
    assert shares[0] < 0.05 < 0.25 < shares[1] < 0.75 < shares[2]
    day, night = random_sky(np.random.default_rng(3), False), random_sky(np.random.default_rng(3), True)
    up = np.array([[0, -1.0, 0.01]])
    assert day.seen(up).mean() > 10 * night.seen(up).mean() and not night.sun.any()


def test_without_embree_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "embreex.rtcore_scene", None)
    builder = SoupBuilder()
    wall(builder, 3.0)
    with pytest.raises(DatasetError, match=r"pip install 'depth_retrofit_ros\[train\]'"):
        view(builder)
