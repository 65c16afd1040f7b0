"""Images come in and nothing goes out: it is told, deactivating ends in time, and a lost device ends the process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image

from depth_retrofit_ros.msg import FrameStats
from test.ros.graph import (
    NODE,
    PATIENCE_S,
    Graph,
    SlantedWall,
    image_message,
    repeat_until,
    small_retrofit,
    status,
    value,
    wait_until,
)
from test.ros.node.test_lifecycle import change, state
from test.ros.node.test_main import running_command

ILLEGAL = "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be asynchronously reported"


def hung(graph: Graph, wall: SlantedWall) -> None:
    """Returns when the model has an image and keeps it."""
    images = graph.publisher(Image, "/image")
    wall.hold.clear()
    calls = wall.calls
    repeat_until(lambda: images.publish(image_message()), lambda: wall.calls > calls, "the model to be busy")


def test_an_image_that_does_not_end_is_an_error_with_the_reason_and_its_end_ends_that(graph: Graph) -> None:
    wall = SlantedWall()
    node = graph.depth_node(wall, patience_s=1.0)
    graph.listen(Image, f"{NODE}/depth/image_rect")
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    hung(graph, wall)
    wait_until(lambda: reports and status(reports[-1], "pipeline").level == DiagnosticStatus.ERROR, "the error")
    assert "does not end" in status(reports[-1], "pipeline").message
    wait_until(lambda: any("start it anew" in line for line in graph.warnings(node)), "the line about it")
    assert len([line for line in graph.warnings(node) if "does not end" in line]) == 1
    wall.hold.set()
    wait_until(lambda: status(reports[-1], "pipeline").level == DiagnosticStatus.OK, "the end of it")


def test_images_that_all_fail_are_an_error_with_the_reason(graph: Graph) -> None:
    wall = SlantedWall()
    graph.depth_node(wall, patience_s=1.0)
    graph.listen(Image, f"{NODE}/depth/image_rect")
    reports, images = graph.listen(DiagnosticArray, "/diagnostics"), graph.publisher(Image, "/image")
    wall.error = RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED")
    repeat_until(
        lambda: images.publish(image_message()),
        lambda: reports and status(reports[-1], "pipeline").level == DiagnosticStatus.ERROR,
        "the error",
    )
    assert status(reports[-1], "pipeline").message.endswith(
        "every image fails: RuntimeError: cuDNN error: CUDNN_STATUS_NOT_SUPPORTED"
    )
    wall.error = None
    repeat_until(
        lambda: images.publish(image_message()),
        lambda: status(reports[-1], "pipeline").level == DiagnosticStatus.OK,
        "the end of it",
    )


def test_deactivating_gives_up_an_image_that_does_not_end_and_the_node_can_be_configured_anew(graph: Graph) -> None:
    stuck = SlantedWall()
    models = iter((stuck, SlantedWall()))
    node = graph.depth_node(load=lambda settings: small_retrofit(next(models), settings), patience_s=0.2)
    graph.listen(Image, f"{NODE}/depth/image_rect")
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    hung(graph, stuck)
    assert not change(graph, Transition.TRANSITION_DEACTIVATE)
    assert state(graph) == State.PRIMARY_STATE_UNCONFIGURED
    (line,) = [line for line in graph.warnings(node) if "given up" in line]
    assert "configure" in line
    wait_until(lambda: reports and status(reports[-1], "model").message == line, "the reason in the diagnostics")
    counts = {key: int(value(reports[-1], "input", key)) for key in ("received", "processed", "dropped", "failed", "pending")}
    assert counts["received"] == sum(counts.values()) - counts["received"] and counts["pending"] == 0 and counts["failed"] == 1

    assert change(graph, Transition.TRANSITION_CONFIGURE) and change(graph, Transition.TRANSITION_ACTIVATE)
    depths, stats = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(FrameStats, f"{NODE}/frame_stats")
    stuck.hold.set()  # what was given up ends after all, and has nothing to say any more
    images = graph.publisher(Image, "/image", listeners=1)
    repeat_until(lambda: images.publish(image_message(stamp_s=900)), lambda: depths and stats, "an answer of the new model")
    assert {depth.header.stamp.sec for depth in depths} == {900}
    assert (stats[0].received, stats[0].failed) == (1, 0)


@pytest.mark.parametrize("error", [RuntimeError(ILLEGAL), RuntimeError("CUDA error: device-side assert triggered")])
def test_a_lost_device_is_an_error_and_the_node_knows(graph: Graph, error: Exception) -> None:
    wall = SlantedWall()
    node = graph.depth_node(wall)
    graph.listen(Image, f"{NODE}/depth/image_rect")
    reports, images = graph.listen(DiagnosticArray, "/diagnostics"), graph.publisher(Image, "/image")
    assert not node.device_fault
    wall.error = error
    repeat_until(lambda: images.publish(image_message()), lambda: node.device_fault, "the fault to be known")
    wait_until(lambda: reports and status(reports[-1], "pipeline").level == DiagnosticStatus.ERROR, "the error")
    assert str(error).splitlines()[0] in status(reports[-1], "pipeline").message
    assert not graph.warnings(node), "the one line is main's"


def test_a_device_lost_while_configuring_is_known_too(graph: Graph) -> None:
    wall = SlantedWall()
    node = graph.depth_node(wall, start=False)
    wall.error = RuntimeError(ILLEGAL)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert "illegal memory access" in node.device_fault


FAULTY = """
import functools, os, sys, threading
from depth_retrofit_ros.ros.node import main, node
from test.ros.graph import SlantedWall, small_retrofit

wall = SlantedWall()
node.DepthNode.__init__.__kwdefaults__.update(load=functools.partial(small_retrofit, wall), patience_s=0.5)
warm = wall.predict

def predict(image, camera):
    if wall.calls > 1:  # the self-check has two
        {fault}
    return warm(image, camera)

wall.predict = predict
main.main()
"""


def test_a_lost_device_ends_the_process_with_one_line_and_code_1(graph: Graph, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = FAULTY.format(fault=f"raise RuntimeError({ILLEGAL!r})")
    with running_command(log, [sys.executable, "-c", script]) as process:
        graph.listen(Image, f"{NODE}/depth/image_rect")
        images = graph.publisher(Image, "/image")
        repeat_until(lambda: images.publish(image_message()), lambda: process.poll() is not None, "the end of the process")
        assert process.returncode == 1, log.read_text()
    (line,) = [line for line in log.read_text().splitlines() if "illegal memory access" in line]
    assert "the device is lost to this process, which ends" in line
    assert "Traceback" not in log.read_text()


def test_a_signal_ends_a_process_whose_model_hangs(graph: Graph, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running_command(
        log, [sys.executable, "-c", FAULTY.format(fault="print('hangs', flush=True); threading.Event().wait()")]
    ) as process:
        graph.listen(Image, f"{NODE}/depth/image_rect")
        images = graph.publisher(Image, "/image")
        repeat_until(lambda: images.publish(image_message()), lambda: "hangs" in log.read_text(), "the model to hang")
        process.terminate()
        assert process.wait(PATIENCE_S) == 1, log.read_text()
    assert "did not end and was given up" in log.read_text()
    assert "Traceback" not in log.read_text()
