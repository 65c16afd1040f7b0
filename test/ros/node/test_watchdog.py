"""Images come in and nothing goes out: it is told, deactivating ends in time, and a lost device ends the process."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import Image

from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.ros.node import node as node_module
from depth_retrofit_ros.ros.node.node import LEAVE_S
from depth_retrofit_ros.ros.node.parameters import Settings
from depth_retrofit_ros.runtime.watchdog import FIRST
from depth_retrofit_ros.runtime.worker import Worker
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


@pytest.mark.usefixtures("often")
def test_an_image_that_does_not_end_is_an_error_with_the_reason_and_its_end_ends_that(graph: Graph) -> None:
    wall = SlantedWall()
    node = graph.depth_node(wall, patience_s=1.0, first_s=1.0)
    graph.listen(Image, f"{NODE}/depth/image_rect")
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    hung(graph, wall)
    wait_until(lambda: reports and status(reports[-1], "pipeline").level == DiagnosticStatus.ERROR, "the error")
    assert "does not end" in status(reports[-1], "pipeline").message
    wait_until(lambda: any("start it anew" in line for line in graph.warnings(node)), "the line about it")
    assert len([line for line in graph.warnings(node) if "does not end" in line]) == 1
    wall.hold.set()
    wait_until(lambda: status(reports[-1], "pipeline").level == DiagnosticStatus.OK, "the end of it")


@pytest.mark.usefixtures("often")
def test_a_first_image_whose_kernels_are_compiled_is_a_warning_and_no_hang(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retrofit, "compiles_for_size", property(lambda self: True))  # as on CUDA
    wall = SlantedWall()
    node = graph.depth_node(wall, patience_s=0.2)
    depths, reports = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(DiagnosticArray, "/diagnostics")
    hung(graph, wall)
    wait_until(lambda: reports and status(reports[-1], "pipeline").level != DiagnosticStatus.OK, "the news")
    pipeline = status(reports[-1], "pipeline")
    assert (pipeline.level, pipeline.message) == (DiagnosticStatus.WARN, FIRST)
    assert graph.warnings(node) == [FIRST]
    wall.hold.set()
    wait_until(lambda: depths and status(reports[-1], "pipeline").level == DiagnosticStatus.OK, "the end of it")


@pytest.mark.usefixtures("often")
def test_an_image_of_another_size_may_take_as_long_and_is_told_once(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retrofit, "compiles_for_size", property(lambda self: True))  # as on CUDA
    wall = SlantedWall()
    node = graph.depth_node(wall, patience_s=0.2)
    infos = graph.infos(node)
    depths, reports = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(DiagnosticArray, "/diagnostics")
    images = graph.publisher(Image, "/image")

    def counted(number: str) -> bool:
        pairs = [(pair.key, pair.value) for report in reports[-1:] for pair in status(report, "model").values]
        return ("warm-ups for image sizes", number) in pairs

    repeat_until(lambda: images.publish(image_message(48, 64)), lambda: len(depths) >= 2, "answers")
    wait_until(lambda: counted("1"), "the count")
    wall.hold.clear()
    calls = wall.calls
    repeat_until(lambda: images.publish(image_message(33, 44)), lambda: wall.calls > calls, "the model to be busy")
    wait_until(lambda: status(reports[-1], "pipeline").message == FIRST, "the news")
    wall.hold.set()
    wait_until(lambda: (33, 44) in [(depth.height, depth.width) for depth in depths], "the answer")
    wait_until(lambda: counted("2"), "the count")
    assert not any("hang" in line for line in graph.warnings(node))
    told = [line for line in infos if line.startswith("warmed up in ")]
    assert [line.split("once for ")[1] for line in told] == [f"{size} images, camera_info unknown" for size in ("64x48", "44x33")]


def test_a_size_is_warmed_up_for_before_anybody_listens(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retrofit, "compiles_for_size", property(lambda self: True))  # as on CUDA
    wall = SlantedWall()
    node = graph.depth_node(wall)
    infos, images, calls = graph.infos(node), graph.publisher(Image, "/image"), wall.calls
    repeat_until(lambda: images.publish(image_message(48, 64)), lambda: wall.calls > calls, "the warm-up")
    for _ in range(3):
        images.publish(image_message(48, 64))
    depths = graph.listen(Image, f"{NODE}/depth/image_rect")
    repeat_until(lambda: images.publish(image_message(48, 64)), lambda: depths, "an answer")
    assert len([line for line in infos if line.startswith("warmed up in ")]) == 1


def test_after_an_image_was_given_up_no_memory_is_asked_back_from_its_device(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the device hangs, torch.cuda.empty_cache() would wait for it, in the executor's thread."""
    released: list[None] = []
    monkeypatch.setattr(node_module, "release_memory", lambda: released.append(None))
    stuck = SlantedWall()
    models = iter((stuck, SlantedWall()))
    graph.depth_node(load=lambda settings: small_retrofit(next(models), settings), patience_s=0.2, first_s=0.2)
    graph.listen(Image, f"{NODE}/depth/image_rect")
    hung(graph, stuck)
    assert not change(graph, Transition.TRANSITION_DEACTIVATE), "on_error"
    assert change(graph, Transition.TRANSITION_CONFIGURE) and change(graph, Transition.TRANSITION_CLEANUP)
    assert not released
    stuck.hold.set()


def test_a_cleanup_in_order_gives_memory_back(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[None] = []
    monkeypatch.setattr(node_module, "release_memory", lambda: released.append(None))
    graph.depth_node(SlantedWall())
    assert change(graph, Transition.TRANSITION_DEACTIVATE) and change(graph, Transition.TRANSITION_CLEANUP)
    assert len(released) == 1


def test_the_way_out_of_the_process_waits_no_longer_than_ros2_launch_does(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float | None] = []
    stop = Worker.stop

    def noted(self: Worker[Any, Any], timeout_s: float | None = None) -> bool:
        waits.append(timeout_s)
        return stop(self, timeout_s)

    monkeypatch.setattr(Worker, "stop", noted)
    node = graph.depth_node(SlantedWall(), patience_s=60.0)
    assert change(graph, Transition.TRANSITION_DEACTIVATE) and change(graph, Transition.TRANSITION_ACTIVATE)
    graph.executor.remove_node(node)
    node.destroy_node()
    assert waits[0] is not None and waits[0] >= 60.0, "a transition has time"
    assert waits[1] == LEAVE_S <= 3.0, "SIGTERM comes five seconds after SIGINT"


@pytest.mark.usefixtures("often")
def test_configuring_that_does_not_end_is_reported_and_given_up_with_one_line(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "CONFIGURE_S", 0.5)
    release = threading.Event()

    def never(settings: Settings) -> Retrofit:
        release.wait(PATIENCE_S)
        raise RuntimeError("too late to matter")

    node = graph.depth_node(load=never, start=False)
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    assert not change(graph, Transition.TRANSITION_CONFIGURE)
    assert state(graph) == State.PRIMARY_STATE_UNCONFIGURED and node.has_abandoned and not node.is_misconfigured
    (line,) = graph.warnings(node)
    assert line.startswith("cannot configure: configure did not end within 0.5 s and is given up: ")
    wait_until(lambda: any(status(report, "model").message.startswith("configuring for") for report in reports), "the reports")
    wait_until(lambda: status(reports[-1], "model").level == DiagnosticStatus.ERROR, "the reason")
    release.set()


def test_configuring_may_take_as_long_as_a_download_where_one_is_allowed(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "CONFIGURE_S", 0.05)

    def slow(settings: Settings) -> Retrofit:
        time.sleep(0.5)
        return small_retrofit(SlantedWall(), settings)

    assert not graph.depth_node(load=slow, start=False, name="hasty").autostart()
    assert graph.depth_node(load=slow, start=False, name="patient", allow_download=True).autostart()


@pytest.mark.usefixtures("often")
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
    node = graph.depth_node(load=lambda settings: small_retrofit(next(models), settings), patience_s=0.2, first_s=0.2)
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
    assert not graph.warnings(node), "the one line is main's"


@pytest.mark.parametrize("where", ["callback", "service", "transition", "on_error"])
def test_a_device_lost_outside_of_a_frame_is_known_too(graph: Graph, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    node = graph.depth_node(SlantedWall())

    def lost(*arguments: Any) -> Any:
        raise RuntimeError(ILLEGAL)

    if where == "callback":
        node.on_callback_error(RuntimeError(ILLEGAL))
    elif where == "service":
        monkeypatch.setattr(node, "set_parameters_atomically", lost)
        assert not graph.set_parameter(node, "budget", 0.5).successful
    elif where == "transition":
        monkeypatch.setattr(node._inputs, "close", lost)
        assert not change(graph, Transition.TRANSITION_DEACTIVATE)
    else:
        monkeypatch.setattr(node_module, "release_memory", lost)
        assert node.on_error(LifecycleState("active", 3)) == TransitionCallbackReturn.FAILURE
    assert "illegal memory access" in node.device_fault
    assert not graph.warnings(node), "the one line is main's"
    monkeypatch.undo()


FAULTY = """
import functools, os, sys, threading
from depth_retrofit_ros.ros.node import main, node
from test.ros.graph import SlantedWall, small_retrofit

wall = SlantedWall()
node.DepthNode.__init__.__kwdefaults__.update(load=functools.partial(small_retrofit, wall), patience_s=0.5, first_s=0.5)
warm = wall.predict

def predict(image, camera, hints):
    if wall.calls > 1:  # the self-check has two
        {fault}
    return warm(image, camera, hints)

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
