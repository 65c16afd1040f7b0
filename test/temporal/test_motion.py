"""Flow, the camera's own motion, and the coarse maps that follow it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.temporal import motion as motion_module
from depth_retrofit_ros.temporal.coarse_filter import first, steadied
from depth_retrofit_ros.temporal.motion import FlowEstimator, Motion, _alike, warped
from depth_retrofit_ros.temporal.rigid_motion import fit_rigid_motion
from depth_retrofit_ros.training.scenes.scene import rotation_ypr
from test.temporal.videos import picture

LOW = (72, 96)
CAMERA = Camera.from_hfov(LOW[1], LOW[0], 70.0)
YES = np.ones(LOW, bool)


def small(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 255


def moving(depth: np.ndarray, turn: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The exact flow of a camera that was elsewhere, and the change of ln depth."""
    x, y = (np.arange(LOW[1]) - CAMERA.cx) / CAMERA.fx, (np.arange(LOW[0]) - CAMERA.cy)[:, None] / CAMERA.fy
    points = np.stack(np.broadcast_arrays(x, y, 1.0), -1) * depth[..., None]
    there = points @ turn.T + shift
    u = CAMERA.fx * there[..., 0] / there[..., 2] + CAMERA.cx - np.arange(LOW[1])
    v = CAMERA.fy * there[..., 1] / there[..., 2] + CAMERA.cy - np.arange(LOW[0])[:, None]
    return np.stack([u, v], -1).astype(np.float32), np.log(depth / there[..., 2])


def test_the_motion_of_a_camera_is_found_among_things_that_move() -> None:
    depth = (2 + 3 * np.random.default_rng(0).random(LOW)).astype(np.float32)
    flow, change = moving(depth, rotation_ypr(0.02, -0.01, 0.01), np.array([0.05, 0.02, 0.1]))
    shown = flow.copy()
    shown[20:50, 20:60] += 5  # a thing that moves by itself
    found = fit_rigid_motion(shown, depth, YES, CAMERA)
    assert found is not None
    assert np.abs(found.flow - flow).max() < 0.15
    assert np.abs(found.change - change).max() < 0.003
    assert np.abs(change).max() > 0.03


def test_flow_without_a_common_motion_has_none() -> None:
    flow = np.random.default_rng(0).normal(0, 8, (*LOW, 2)).astype(np.float32)
    assert fit_rigid_motion(flow, np.ones(LOW, np.float32), YES, CAMERA) is None
    assert fit_rigid_motion(flow, np.ones(LOW, np.float32), np.zeros(LOW, bool), None) is None


def test_a_turning_camera_is_followed() -> None:
    wide = small(picture(3, (LOW[0], LOW[1] + 8)))
    before, now = wide[:, 3:-5].copy(), wide[:, 5:-3].copy()  # what is seen moved left by two cells
    motion = FlowEstimator().motion(before, now, np.full(LOW, 3, np.float32), YES, CAMERA)
    assert motion.flow is not None
    inside = motion.flow[8:-8, 8:-8]
    assert np.abs(inside[..., 0] - 2).max() < 0.3
    assert np.abs(inside[..., 1]).max() < 0.3
    assert motion.trust[8:-8, 8:-8].mean() > 0.9
    assert not motion.trust[:, -1].any()  # was not in the frame before
    np.testing.assert_allclose(warped(before, motion.flow)[8:-8, 8:-8], now[8:-8, 8:-8], atol=0.06)


def test_a_standing_camera_warps_nothing() -> None:
    image = small(picture(3, LOW))
    rng = np.random.default_rng(0)
    now = image + rng.normal(0, 0.003, image.shape).astype(np.float32)
    motion = FlowEstimator().motion(image, now, np.full(LOW, 3, np.float32), YES, CAMERA)
    assert motion.flow is None
    assert motion.change is not None
    assert abs(np.median(motion.change)) < 0.0003
    assert motion.still.all()
    assert motion.carried(image) is image


def test_a_cut_is_trusted_nowhere_much() -> None:
    motion = FlowEstimator().motion(small(picture(3, LOW)), small(picture(4, LOW)), np.full(LOW, 3, np.float32), YES, CAMERA)
    assert motion.trust.mean() < 0.1


def test_a_camera_that_creeps_tells_how_depth_changes() -> None:
    """Too slowly for anything to be warped: at ten frames a second depth falls by 1.5 % a second. DIS sees some more."""
    center = ((LOW[1] - 1) / 2, (LOW[0] - 1) / 2)
    image = small(picture(3, LOW))
    nearer = cv2.getRotationMatrix2D(center, 0, 1.0015)
    now = cv2.warpAffine(image, nearer, LOW[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    motion = FlowEstimator().motion(image, now, np.full(LOW, 3, np.float32), YES, CAMERA)
    assert motion.flow is None
    assert motion.change is not None
    assert -0.0025 < np.median(motion.change) < -0.0012


def test_a_faint_thing_that_moves_by_itself_is_not_held() -> None:
    image = small(picture(3, LOW))
    thing = cv2.GaussianBlur(np.random.default_rng(4).standard_normal((30, 40)).astype(np.float32), (0, 0), 1.5)
    thing *= np.float32(0.012 / thing.std())
    shown = []
    for x in (20, 23):
        now = image.copy()
        now[20:50, x : x + 40] = (np.float32(0.5) + thing)[..., None]
        shown.append(now)
    before, now = shown
    motion = FlowEstimator().motion(before, now, np.full(LOW, 3, np.float32), YES, CAMERA)
    assert motion.flow is None
    assert _alike(before, now)[28:42, 30:52].mean() > 0.9  # by its colours alone nothing happened
    assert motion.trust[28:42, 30:52].mean() < 0.3
    assert motion.still[28:42, 30:52].mean() < 0.3
    assert motion.trust[:, 75:].mean() > 0.9


def test_without_a_common_motion_only_what_stands_is_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion_module, "fit_rigid_motion", lambda *_: None)
    wide = small(picture(3, (LOW[0], LOW[1] + 8)))
    motion = FlowEstimator().motion(wide[:, 3:-5].copy(), wide[:, 5:-3].copy(), np.full(LOW, 3, np.float32), YES, CAMERA)
    assert motion.still.mean() < 0.02
    assert (motion.trust > 0).mean() < 0.02


def test_a_lens_that_bends_is_followed_only_where_it_stands() -> None:
    wide = small(picture(3, (LOW[0], LOW[1] + 8)))
    before, now = wide[:, 3:-5].copy(), wide[:, 5:-3].copy()
    motion = FlowEstimator().motion(before, now, np.full(LOW, 3, np.float32), YES, CAMERA, bent=True)
    assert motion.flow is None
    assert motion.still.mean() < 0.02


@pytest.mark.parametrize("size", [(16, 20), (31, 90)])
def test_a_grid_too_small_for_flow_follows_what_stands(size: tuple[int, int]) -> None:
    image = small(picture(3, size))
    motion = FlowEstimator().motion(image, image, np.ones(size, np.float32), np.ones(size, bool), None)
    assert motion.flow is None
    assert (motion.trust == 1).all()


def test_a_step_of_depth_is_not_averaged() -> None:
    """Cells that show something new take it at once, and the others are the mean of both."""
    before = np.full(LOW, 4, np.float32)
    now = before * np.exp(np.random.default_rng(0).normal(0, 0.004, LOW)).astype(np.float32)
    now[:20] *= 1.5
    still = Motion(None, np.ones(LOW, np.float32), None, YES)
    made = steadied(first(before).state, now, YES, still, 0.1, scales=False)
    assert (made.factor[:20] == 1).all()
    error = np.abs(np.log(made.factor * now / 4))[20:], np.abs(np.log(now / 4))[20:]
    assert error[0].mean() < 0.7 * error[1].mean()


def test_depth_that_changes_by_the_cameras_own_motion_does_not_lag() -> None:
    depth, state = np.full(LOW, 4, np.float32), first(np.full(LOW, 4, np.float32)).state
    for _ in range(20):  # at 2 % a frame
        depth = depth * np.float32(0.98)
        known = Motion(None, np.ones(LOW, np.float32), np.full(LOW, np.log(0.98), np.float32), YES)
        made = steadied(state, depth, YES, known, 0.1, scales=True)
        state = made.state
    np.testing.assert_allclose(made.factor, 1, atol=1e-4)
