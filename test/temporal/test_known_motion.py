"""The camera's own motion by its poses: what they tell, what the images correct, and where the images alone count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.errors import TransformError
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.lens import Lens, RayTable, Rectification
from depth_retrofit_ros.temporal.known_motion import KnownMotion, fit_known_motion, is_told, reprojected, turning_flow
from depth_retrofit_ros.temporal.motion import FlowEstimator, _inside, warped
from depth_retrofit_ros.temporal.steadiness import BENT, CONTRADICTED, UNCALIBRATED, Steadiness
from depth_retrofit_ros.training.scenes.scene import rotation_ypr
from test.temporal.videos import CAMERA, SIZE, Script, answers, noisy, picture, planes, shot

LOW = (72, 96)
SMALL = Camera.from_hfov(LOW[1], LOW[0], 70.0)
YES = np.ones(LOW, bool)
DEPTH = (2 + 3 * np.random.default_rng(0).random(LOW)).astype(np.float32)
DRIVES = KnownMotion(rotation_ypr(0.08, 0.01, 0.02), np.array([0.05, 0.02, 0.1]))
STANDS = KnownMotion(np.eye(3), np.zeros(3))


def seen(motion: KnownMotion, noise: float = 0.1) -> np.ndarray:
    """Its flow, cell by cell a little off; a thing moves by itself."""
    exact = reprojected(motion, 1.0, DEPTH, SMALL)
    assert exact is not None
    flow = exact.flow + np.random.default_rng(1).normal(0, noise, (*LOW, 2)).astype(np.float32)
    flow[20:40, 20:50] += 5
    return flow


def test_a_point_is_where_projection_puts_it() -> None:
    found = reprojected(DRIVES, 2.0, DEPTH, SMALL)
    assert found is not None
    row, column = 50, 30
    point = DEPTH[row, column] * np.array([(column - SMALL.cx) / SMALL.fx, (row - SMALL.cy) / SMALL.fy, 1.0])
    x, y, z = DRIVES.rotation @ point + 2.0 * DRIVES.shift
    place = SMALL.fx * x / z + SMALL.cx - column, SMALL.fy * y / z + SMALL.cy - row
    assert found.flow[row, column] == pytest.approx(place, abs=1e-3)
    assert found.change[row, column] == pytest.approx(np.log(DEPTH[row, column] / z), abs=1e-5)


@pytest.mark.parametrize("unit", [None, 0.7, 1.0, 1.3])
def test_depth_of_an_unknown_scale_and_a_pose_that_is_a_little_off_are_corrected_by_the_images(unit: float | None) -> None:
    exact = reprojected(DRIVES, 1.0, DEPTH, SMALL)
    assert exact is not None
    off = KnownMotion(rotation_ypr(0.002, -0.001, 0.002) @ DRIVES.rotation, 1.02 * DRIVES.shift)
    found = fit_known_motion(off, unit, seen(DRIVES), DEPTH, YES, SMALL)
    assert found is not None and found.unit is not None
    assert np.abs(found.rigid.flow - exact.flow).max() < 0.1
    assert np.abs(found.rigid.change - exact.change).max() < 0.002
    assert abs(found.unit - 1) < 0.1 + abs((unit or 1) - 1), "towards the truth, if slowly"


def test_without_texture_the_poses_stand_alone_and_a_turn_needs_no_scale() -> None:
    none = np.zeros(LOW, bool)
    alone = fit_known_motion(DRIVES, 1.0, np.zeros((*LOW, 2), np.float32), DEPTH, none, SMALL)
    exact = reprojected(DRIVES, 1.0, DEPTH, SMALL)
    assert alone is not None and exact is not None
    np.testing.assert_array_equal(alone.rigid.flow, exact.flow)
    assert fit_known_motion(DRIVES, None, np.zeros((*LOW, 2), np.float32), DEPTH, none, SMALL) is None
    turns = fit_known_motion(replace(DRIVES, shift=np.zeros(3)), None, np.zeros((*LOW, 2), np.float32), DEPTH, none, SMALL)
    assert turns is not None and turns.unit is None
    np.testing.assert_allclose(turns.rigid.flow, turning_flow(DRIVES.rotation, LOW, SMALL), atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [STANDS, replace(DRIVES, rotation=DRIVES.rotation.T), replace(DRIVES, shift=np.array([3.0, 0, 0]))],
    ids=["stuck", "inverted", "jumped"],
)
def test_poses_that_the_images_contradict_are_not_used(wrong: KnownMotion) -> None:
    assert fit_known_motion(wrong, 1.0, seen(DRIVES), DEPTH, YES, SMALL) is None


def test_a_fast_turn_is_followed_where_the_images_alone_lose_it() -> None:
    """By a quarter of the view from one frame to the next."""
    turn = KnownMotion(rotation_ypr(0.3, 0.0, 0.0), np.zeros(3))
    flow = turning_flow(turn.rotation, LOW, SMALL)
    before = picture(3, LOW).astype(np.float32) / 255
    far = np.full(LOW, 50, np.float32)
    estimator = FlowEstimator()
    now = warped(before, flow)
    known = estimator.motion(before, now, far, YES, SMALL, known=turn)
    assert not known.contradicted and known.flow is not None
    inside = _inside(flow)
    inside[:, :3] = inside[:, -3:] = False
    assert np.abs(known.flow - flow)[inside].max() < 0.3
    assert known.trust[inside].mean() > 0.7
    alone = estimator.motion(before, now, far, YES, SMALL)
    assert alone.trust[inside].mean() < 0.3


def test_a_view_without_texture_is_held_where_the_poses_say_that_the_camera_stands() -> None:
    wall = np.full((*LOW, 3), 0.5, np.float32)
    estimator = FlowEstimator()
    assert not estimator.motion(wall, wall, DEPTH, YES, SMALL).trust.any(), "nobody can tell"
    stands = estimator.motion(wall, wall, DEPTH, YES, SMALL, known=STANDS)
    assert stands.flow is None and stands.still.all() and stands.trust.min() == 1
    drives = estimator.motion(wall, wall, DEPTH, YES, SMALL, known=DRIVES, unit=1.0)
    assert drives.flow is not None and not drives.still.any() and drives.change is not None
    assert not estimator.motion(wall, wall, DEPTH, YES, SMALL, known=DRIVES).trust.any(), "the scale is unknown"


class Watched(Steadiness):
    """Notes what was wrong with the poses of each frame."""

    def __init__(self, motions: Any) -> None:
        super().__init__(motions)
        self.problems: list[str | None] = []

    def begin(self, *given: Any) -> Any:
        """See ``Steadiness``."""
        moment = super().begin(*given)
        self.problems.append(self.motion_problem)
        return moment


def told(frames: list[Frame], motions: Any, **options: Any) -> tuple[list[Any], list[str | None]]:
    """Answers, and what was wrong with the poses at each."""
    memory = Watched(motions)
    return answers(frames, Script(lambda _: planes(), **options), memory), memory.problems


def panned(count: int = 4) -> list[Frame]:
    """What is seen moves to the left by 6 pixels, which are 2 cells."""
    wide = picture(0, (SIZE[0], SIZE[1] + 6 * count))
    return [shot(noisy(wide[:, 6 * i : 6 * i + SIZE[1]], i), i) for i in range(count)]


def test_without_poses_the_images_tell_as_ever() -> None:
    def unknown(frame_id: str, before_ns: int, now_ns: int) -> KnownMotion:
        raise TransformError(f"TF has no frame {frame_id!r}: publish it")

    frames = panned()
    off, _ = told(frames, None)
    on, problems = told(frames, unknown)
    assert problems == [None, *["TF has no frame 'camera': publish it"] * 3]
    for plain, asked in zip(off, on, strict=True):
        torch.testing.assert_close(asked.depth, plain.depth, rtol=0, atol=0)


def test_poses_are_asked_for_the_two_stamps_and_a_contradiction_is_told() -> None:
    asked = []

    def moved(frame_id: str, before_ns: int, now_ns: int) -> KnownMotion:
        asked.append((frame_id, before_ns, now_ns))
        return KnownMotion(rotation_ypr(0.03 * len(asked), 0.0, 0.0), np.zeros(3))

    frames = panned()
    _, problems = told(frames, moved, claim=ScaleClaim("up-to-scale", "never"))
    assert asked == [("camera", frames[i].stamp_ns, frames[i + 1].stamp_ns) for i in range(3)]
    turn = np.arctan2(6, CAMERA.fx)
    assert turn == pytest.approx(0.04, abs=0.005)
    assert problems[0] is None and problems[1] is None and problems[3] == CONTRADICTED


def test_poses_without_a_camera_are_told_and_not_used() -> None:
    frames = [replace(frame, camera=None) for frame in panned()]
    moved = KnownMotion(rotation_ypr(0.3, 0.0, 0.0), np.zeros(3))
    off, _ = told(frames, None)
    on, problems = told(frames, lambda *_: moved)
    assert problems == [None, *[UNCALIBRATED] * 3]
    for plain, asked in zip(off, on, strict=True):
        torch.testing.assert_close(asked.depth, plain.depth, rtol=0, atol=0)


def test_what_nothing_can_tell_is_no_contradiction() -> None:
    """Of a shift by metres that nobody knows the depth's units of, on fewer cells than a fit takes."""
    shift = KnownMotion(np.eye(3), np.array([0.0, 0.0, 0.5]))
    before = np.ascontiguousarray(picture(0, (48, 64)).astype(np.float32) / 255)
    usable = np.zeros((48, 64), bool)
    usable[:3, :3] = True
    found = FlowEstimator().motion(before, before.copy(), np.ones((48, 64), np.float32), usable, CAMERA, known=shift)
    assert not found.contradicted and found.unit is None
    assert not is_told(shift, None, usable) and is_told(shift, 2.0, usable) and is_told(shift, None, ~usable)
    assert is_told(KnownMotion(np.eye(3), np.zeros(3)), None, usable)


def test_a_pose_that_jumps_leaves_a_camera_that_stands_standing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is resampled, though the flow that began at the jump never came back from there."""

    def astray(self: FlowEstimator, of: np.ndarray, to: np.ndarray, begin: np.ndarray | None = None) -> np.ndarray:
        flow = np.zeros((*of.shape, 2), np.float32)
        if begin is not None:
            flow[..., 0] = -8 * np.sign(begin[..., 0].mean())
        return flow

    monkeypatch.setattr(FlowEstimator, "_flow", astray)
    image = np.random.default_rng(2).random((*LOW, 3), np.float32)
    jump = KnownMotion(rotation_ypr(0.4, 0.0, 0.0), np.zeros(3))
    found = FlowEstimator().motion(image, image.copy(), DEPTH, YES, SMALL, known=jump)
    plain = FlowEstimator().motion(image, image.copy(), DEPTH, YES, SMALL)
    assert plain.flow is None and found.flow is None and found.contradicted and found.unit is None
    np.testing.assert_array_equal(found.trust, plain.trust)


def test_rectified_images_are_those_of_a_camera_that_looks_elsewhere() -> None:
    """R turns the rays, and so the axes in which a motion is told; a lens's own image has no use for it."""
    turn = rotation_ypr(0.0, 0.0, np.pi / 2)
    pan = KnownMotion(rotation_ypr(np.arctan2(6, CAMERA.fx), 0.0, 0.0), np.zeros(3))
    lens = Lens("plumb_bob", (0.0, 0.0, 0.0, 0.0), CAMERA)
    square = replace(CAMERA, fx=60.0, fy=60.0)
    optics = Rectification(lens, square, tuple(turn.ravel().tolist()))
    frames = [replace(frame, optics=optics) for frame in panned()]

    def of_lens(*_: Any) -> KnownMotion:
        return pan.turned(turn.T)

    assert told(frames, of_lens)[1] == [None] * 4
    assert told(frames, lambda *_: pan)[1][1:] == [CONTRADICTED] * 3
    rays = RayTable(lens)
    bent = [replace(frame, optics=rays) for frame in panned()]
    assert told(bent, of_lens)[1][1:] == [BENT] * 3
