"""The camera's own motion by TF, from a recording's or a graph's messages to the memory over time."""

from __future__ import annotations

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import CameraInfo, Image

from depth_retrofit_ros.errors import TransformError
from depth_retrofit_ros.ros.node.camera_motion import motions_by_tf
from depth_retrofit_ros.ros.node.transforms import Transforms
from test.ros.graph import NODE, Graph, SlantedWall, image_message, info_message, value, wait_until

SECOND = 1_000_000_000


def said(child: str, parent: str, at_ns: int = 0, position: tuple[float, ...] = (0, 0, 0), yaw: float = 0.0) -> TransformStamped:
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(at_ns, SECOND)
    t, r = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = map(float, position)
    r.z, r.w = float(np.sin(yaw / 2)), float(np.cos(yaw / 2))
    return message


def test_it_is_where_the_camera_sees_a_point_again() -> None:
    """By the mast on a robot that drives and turns; at stamps between those that TF has."""
    transforms = Transforms()
    mast = said("camera", "base", position=(0.3, 0.1, 1.2))
    r = mast.transform.rotation
    r.x, r.y, r.z, r.w = -0.5, 0.5, -0.5, 0.5  # x right, y down, z ahead
    transforms.offer([mast], is_static=True)
    for k in range(3):
        transforms.offer([said("base", "odom", k * SECOND, (0.5 * k, 0.2 * k, 0), 0.1 * k)], is_static=False)
    moved = motions_by_tf(transforms, "odom")
    assert moved is not None
    before_ns, now_ns = SECOND // 2, 3 * SECOND // 2

    def seen(at_ns: int) -> np.ndarray:
        """A point of the world, by the camera."""
        yaw, x, y = 1e-10 * at_ns, 0.5e-9 * at_ns, 0.2e-9 * at_ns
        dx, dy = 4.0 - x, 1.0 - y
        ahead, left, up = np.cos(yaw) * dx + np.sin(yaw) * dy - 0.3, np.cos(yaw) * dy - np.sin(yaw) * dx - 0.1, 2.0 - 1.2
        return np.array([-left, -up, ahead])

    motion = moved("camera", before_ns, now_ns)
    np.testing.assert_allclose(motion.rotation @ seen(now_ns) + motion.shift, seen(before_ns), atol=1e-9)
    assert motion.angle == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("fixed", "frame_id", "now_ns", "told"),
    [
        ("odom", "camera", 3 * SECOND, "ends 1.000 s before"),
        ("map", "camera", SECOND, "no frame 'map'"),
        ("odom", "", SECOND, "motion_frame must be a frame that stands still"),
        ("/camera", "camera", SECOND, "motion_frame must be a frame that stands still"),
    ],
)
def test_what_tf_does_not_tell_is_one_line_and_nothing_waits(fixed: str, frame_id: str, now_ns: int, told: str) -> None:
    transforms = Transforms()
    transforms._came.wait = lambda timeout=None: pytest.fail("it waits")  # type: ignore[method-assign]
    for k in range(3):
        transforms.offer([said("camera", "odom", k * SECOND)], is_static=False)
    moved = motions_by_tf(transforms, fixed)
    assert moved is not None
    with pytest.raises(TransformError, match=told):
        moved(frame_id, 0, now_ns)
    assert motions_by_tf(transforms, "") is None


def test_tf_that_does_not_tell_leaves_it_to_the_images_and_is_told_once(graph: Graph) -> None:
    """Live; the stamps of what comes are the test's. TF comes by the door of those that have no tf2_msgs."""
    node = graph.depth_node(SlantedWall(), temporal=True)
    assert node._processor is not None and not node._processor.needs_transforms
    reports, depths = graph.listen(DiagnosticArray, "/diagnostics"), graph.listen(Image, f"{NODE}/depth/image_rect")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    transforms = node._processor.transforms
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)

    def answered(second: int) -> None:
        message = image_message(stamp_s=second)
        message.data = pixels.tobytes()
        before = len(depths)
        images.publish(message)
        wait_until(lambda: len(depths) > before, f"the answer to {second}")

    def told() -> list[str]:
        return [line for line in graph.warnings(node) if "the camera's motion is told by the images alone" in line]

    answered(100)
    assert graph.set_parameter(node, "motion_frame", "odom").successful
    assert node._processor.needs_transforms
    for second in (101, 102, 103):
        answered(second)
    assert len(told()) == 1
    transforms.offer([said("camera_optical", "odom", second * SECOND) for second in range(90, 106)], is_static=False)
    answered(104)
    assert node._health.frames.motion_problem is None
    for second in (105, 106):  # TF has ended: another reason, in which the seconds are no news
        answered(second)
    assert len(told()) == 2 and "ends" in told()[1]
    assert node._health.frames.motion_missed == 5
    wait_until(lambda: reports and value(reports[-1], "pipeline", "images without motion by TF") == "5", "the count")
    assert value(reports[-1], "pipeline", "camera motion").startswith("by the images alone: TF of 'camera_optical'")
    assert graph.set_parameter(node, "motion_frame", "").successful
    answered(107)
    assert node._health.frames.motion_missed == 5
