"""Transforms as TF defines them, against rotation matrices."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped

from depth_retrofit_ros.errors import TransformError
from depth_retrofit_ros.pointcloud.poses import IDENTITY, rotation_matrix
from depth_retrofit_ros.ros.node.transforms import FRAMES, HISTORY_S, POSES, Transforms, interpolated, inverse
from test.waiting import PATIENCE_S

SECOND = 1_000_000_000
MS = SECOND // 1000
START = 100 * SECOND
QUARTER_LEFT = (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5))  # about z


def said(
    child: str, parent: str, position: tuple[float, ...] = (0, 0, 0), turn: tuple[float, ...] = IDENTITY[3:], at_ns: int = START
) -> TransformStamped:
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(at_ns, SECOND)
    t, r = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = map(float, position)
    r.x, r.y, r.z, r.w = map(float, turn)
    return message


def static(*messages: TransformStamped) -> Transforms:
    transforms = Transforms()
    transforms.offer(messages, is_static=True)
    return transforms


def matrix(pose: tuple[float, ...]) -> np.ndarray:
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = rotation_matrix(pose[3:]), pose[:3]
    return result


def test_a_frame_in_itself_needs_nobody() -> None:
    assert Transforms("no tf2_msgs").lookup("camera", "/camera", START) == IDENTITY


def test_a_chain_up_and_down_the_tree_is_the_product_of_its_matrices() -> None:
    rng = np.random.default_rng(0)
    frames = [("base", "odom"), ("mast", "base"), ("camera", "mast"), ("roof", "base"), ("lidar", "roof")]
    poses = {}
    for child, _ in frames:
        turn = rng.normal(size=4)
        poses[child] = (*rng.normal(size=3), *(turn / np.linalg.norm(turn)))
    transforms = static(*(said(child, parent, poses[child][:3], poses[child][3:]) for child, parent in frames))
    base_from_camera = matrix(poses["mast"]) @ matrix(poses["camera"])
    base_from_lidar = matrix(poses["roof"]) @ matrix(poses["lidar"])
    expected = np.linalg.inv(base_from_camera) @ base_from_lidar
    np.testing.assert_allclose(matrix(transforms.lookup("camera", "lidar", 0)), expected, atol=1e-12)
    np.testing.assert_allclose(matrix(transforms.lookup("lidar", "camera", 0)), np.linalg.inv(expected), atol=1e-12)
    np.testing.assert_allclose(matrix(transforms.lookup("odom", "camera", 0)), matrix(poses["base"]) @ base_from_camera, atol=1e-12)
    np.testing.assert_allclose(matrix(inverse(poses["base"])), np.linalg.inv(matrix(poses["base"])), atol=1e-12)


def test_what_moves_is_interpolated_at_the_stamp() -> None:
    transforms = Transforms()
    transforms.offer(
        [said("base", "odom", (0, 0, 0), at_ns=START), said("base", "odom", (1, 2, 0), QUARTER_LEFT, START + SECOND)], False
    )
    transforms.offer([said("camera", "base", (0, 0, 1))], is_static=True)
    for share in (0.0, 0.25, 0.5, 1.0):
        pose = transforms.lookup("odom", "camera", START + int(share * SECOND))
        np.testing.assert_allclose(pose[:3], (share, 2 * share, 1), atol=1e-9)
        angle = math.pi / 2 * share
        np.testing.assert_allclose(pose[3:], (0, 0, math.sin(angle / 2), math.cos(angle / 2)), atol=1e-9)


def test_the_turn_is_the_shorter_way_at_constant_speed() -> None:
    negated = (0.0, 0.0, 0.0, *(-number for number in QUARTER_LEFT))  # the same turn
    pose = interpolated(IDENTITY, negated, 1 / 3)
    np.testing.assert_allclose(np.abs(pose[3:]), (0, 0, math.sin(math.pi / 12), math.cos(math.pi / 12)), atol=1e-12)
    assert interpolated(IDENTITY, IDENTITY, 0.3) == IDENTITY


@pytest.mark.parametrize(
    ("target", "source", "at_ns", "reason"),
    [
        ("odom", "base", START + 3 * SECOND, "TF of 'base' in 'odom' ends 2.000 s before the image"),
        ("odom", "base", START - SECOND // 2, "TF of 'base' in 'odom' begins 0.500 s after the image"),
        ("odom", "gripper", START, "TF has no frame 'gripper'"),
        ("gri\npper", "arm", START, "TF has no frame 'arm' and no frame 'gri\\npper'"),
        ("odom", "lidar", START, "TF does not connect 'lidar' and 'odom'"),
    ],
)
def test_what_cannot_be_told_is_said_in_one_line(target: str, source: str, at_ns: int, reason: str) -> None:
    transforms = static(said("lidar", "roof"))
    transforms.offer([said("base", "odom", at_ns=START), said("base", "odom", at_ns=START + SECOND)], is_static=False)
    with pytest.raises(TransformError) as error:
        transforms.lookup(target, source, at_ns)
    assert str(error.value).startswith(reason) and "\n" not in str(error.value)


def test_without_tf_at_all_the_reason_is_given() -> None:
    with pytest.raises(TransformError, match="tf2_msgs"):
        Transforms("TF needs the package tf2_msgs").lookup("a", "b", START)


@pytest.mark.parametrize(
    "broken",
    [
        said("b", "a", (math.nan, 0, 0)),
        said("b", "a", turn=(0, 0, 0, 0)),
        said("b", "a", turn=(math.inf, 0, 0, 1)),
        said("a", "a"),
        said("", "a"),
    ],
)
def test_what_means_nothing_is_left_out(broken: TransformStamped) -> None:
    transforms = static(said("c", "a"), broken)
    with pytest.raises(TransformError, match="means nothing and was left out"):
        transforms.lookup("a", "b", START)


def test_a_quaternion_of_another_length_is_that_turn() -> None:
    pose = static(said("b", "a", turn=tuple(3 * number for number in QUARTER_LEFT))).lookup("a", "b", START)
    np.testing.assert_allclose(pose[3:], QUARTER_LEFT)


def test_a_circle_ends() -> None:
    transforms = static(said("a", "b"), said("b", "c"), said("c", "a"), said("e", "d"))
    assert transforms.lookup("a", "c", START) == IDENTITY
    with pytest.raises(TransformError, match="does not connect"):
        transforms.lookup("e", "a", START)


def test_stamps_may_come_in_any_order_and_the_last_word_on_one_counts() -> None:
    transforms = Transforms()
    for ms, x in ((0, 0), (200, 2), (100, 1), (200, 3)):
        transforms.offer([said("b", "a", (x, 0, 0), at_ns=START + ms * MS)], is_static=False)
    assert [round(transforms.lookup("a", "b", START + ms * MS)[0], 9) for ms in (50, 100, 150, 200)] == [0.5, 1, 2, 3]


def test_time_that_goes_back_begins_anew_for_the_frames_that_do() -> None:
    transforms = static(said("camera", "base"))
    for at_ns, x in ((START, 0), (START + 5 * SECOND, 5), (START + SECOND, 7)):
        transforms.offer([said("base", "odom", (x, 0, 0), at_ns=at_ns)], is_static=False)
    assert transforms.lookup("odom", "camera", START + SECOND)[0] == 7
    with pytest.raises(TransformError, match=r"ends 1\.000 s before"):
        transforms.lookup("odom", "camera", START + 2 * SECOND)


def test_a_frame_may_get_another_parent() -> None:
    transforms = static(said("tool", "hand", (1, 0, 0)))
    transforms.offer([said("tool", "rack", (2, 0, 0))], is_static=True)
    assert transforms.lookup("rack", "tool", START)[0] == 2
    with pytest.raises(TransformError):
        transforms.lookup("hand", "tool", START)


def test_memory_is_bounded_in_time_in_poses_and_in_frames() -> None:
    transforms = Transforms()
    for second in range(30):
        transforms.offer([said("b", "a", at_ns=START + second * SECOND)], is_static=False)
    last_ns = START + 29 * SECOND
    assert transforms.lookup("a", "b", last_ns - int(HISTORY_S * SECOND)) == IDENTITY
    with pytest.raises(TransformError, match="begins"):
        transforms.lookup("a", "b", last_ns - int(HISTORY_S * SECOND) - MS)
    transforms.offer((said("b", "a", at_ns=last_ns + number) for number in range(POSES + 100)), is_static=False)
    assert len(transforms._links["b"].stamps_ns) == POSES
    transforms.offer((said(f"f{number}", "a") for number in range(FRAMES + 100)), is_static=True)
    assert len(transforms._links) == FRAMES


def test_forgetting_keeps_what_is_static() -> None:
    transforms = static(said("camera", "base", (1, 0, 0)))
    transforms.offer([said("base", "odom")], is_static=False)
    transforms.forget()
    assert transforms.lookup("base", "camera", START)[0] == 1
    with pytest.raises(TransformError, match="no frame 'odom'"):
        transforms.lookup("odom", "camera", START)


def test_a_transform_that_is_on_its_way_is_waited_for() -> None:
    transforms = Transforms()
    transforms.offer([said("base", "odom", at_ns=START)], is_static=False)
    found, begun = [], threading.Event()

    def work() -> None:
        begun.set()
        found.append(transforms.lookup("odom", "base", START + 10 * MS, PATIENCE_S))

    worker = threading.Thread(target=work)
    worker.start()
    assert begun.wait(PATIENCE_S)
    transforms.offer([said("base", "odom", (2, 0, 0), at_ns=START + 20 * MS)], is_static=False)
    worker.join(PATIENCE_S / 2)
    assert found and found[0][0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("target", "source", "at_ns"),
    [
        ("odom", "gripper", START),
        ("odom", "lidar", START),
        ("odom", "base", START - SECOND),
        ("odom", "base", START + 5 * SECOND),
    ],
    ids=["nobody publishes it", "not connected", "before the first", "ended long before"],
)
def test_what_is_not_about_to_come_holds_up_no_image(target: str, source: str, at_ns: int) -> None:
    transforms = static(said("lidar", "roof"))
    transforms.offer([said("base", "odom", at_ns=START)], is_static=False)
    transforms._came.wait = lambda timeout=None: pytest.fail("it waits")  # type: ignore[method-assign]
    with pytest.raises(TransformError):
        transforms.lookup(target, source, at_ns, PATIENCE_S)


def test_what_is_late_is_taken_as_it_was_last_known_without_a_wait() -> None:
    """All of it at one time: the last that the latest of the frames between knows of."""
    transforms = Transforms()
    transforms._came.wait = lambda timeout=None: pytest.fail("it waits")  # type: ignore[method-assign]
    for ms in (0, 40, 80):
        transforms.offer([said("base", "odom", (ms, 0, 0), at_ns=START + ms * MS)], is_static=False)
    for ms in (0, 60):
        transforms.offer([said("camera", "base", (0, ms, 0), at_ns=START + ms * MS)], is_static=False)
    assert transforms.newest("odom", "camera", START + 50 * MS, 0.1)[:2] == pytest.approx((50, 50))
    assert transforms.newest("odom", "camera", START + 150 * MS, 0.1)[:2] == pytest.approx((60, 60))
    with pytest.raises(TransformError, match=r"TF of 'camera' in 'base' ends 0\.101 s before the image"):
        transforms.newest("odom", "camera", START + 161 * MS, 0.1)
    with pytest.raises(TransformError, match="begins"):
        transforms.newest("odom", "camera", START - MS, 0.1)
