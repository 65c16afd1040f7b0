"""The node as a process, with the shipped default model: what a robot starts, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.node import main as ros_main
from depth_retrofit_ros.ros.node.node import DepthNode
from depth_retrofit_ros.ros.node.parameters import Settings
from depth_retrofit_ros.ros.node.signals import STOPPING, StopSignals
from test.ros.graph import NODE, PATIENCE_S, Graph, image_message, info_message, pixels_of, repeat_until, wait_until

COMMAND = [sys.executable, "-m", "depth_retrofit_ros.ros.node.main"]


@pytest.fixture
def own_signals() -> Iterator[None]:
    """A test that takes the signals, as the node's process does for good, gives them back."""
    before = [(number, signal.getsignal(number)) for number in STOPPING]
    yield
    for number, handler in before:
        signal.signal(number, handler)


def running(log: Path, *arguments: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return running_command(log, [*COMMAND, *arguments])


@contextmanager
def running_command(log: Path, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_the_default_node_answers_and_ends_on_sigint(graph: Graph, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(log, "--ros-args", "-p", "trust_scale:=true") as process:
        depths, clouds = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(PointCloud2, f"{NODE}/points")
        stats = graph.listen(FrameStats, f"{NODE}/frame_stats")
        infos, images = graph.publisher(CameraInfo, "/camera_info"), graph.publisher(Image, "/image")
        image = image_message(240, 320)

        def send() -> None:
            infos.publish(info_message())
            images.publish(image)

        repeat_until(send, lambda: depths and clouds and stats, "depth, cloud and statistics")
        process.send_signal(signal.SIGINT)  # most likely in the middle of an inference
        assert process.wait(PATIENCE_S) == 0, log.read_text()
    z = pixels_of(depths[0])
    assert z.shape == (240, 320) and np.isfinite(z).all() and z.min() > 0
    assert depths[0].header == image.header
    assert clouds[0].header == image.header and (clouds[0].height, clouds[0].width) == (120, 160)
    assert (stats[0].model, stats[0].metric, stats[0].scale_source) == ("compact", True, "user")
    assert "its depth is metric for rendered rooms and streets only, and trusted" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_sigterm_ends_an_idle_node_with_code_0(graph: Graph, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(log) as process:
        wait_until(lambda: "waiting for /image" in log.read_text(), "the node to be active")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_second_signal_is_the_same_wish_unless_it_comes_later(own_signals: None, monkeypatch: pytest.MonkeyPatch) -> None:
    now, ended, send = [100.0], list[int](), signal.raise_signal
    signals = StopSignals(clock_s=lambda: now[0])
    signals.install()
    signals.finish_first()
    send(signal.SIGINT)
    send(signal.SIGTERM)
    assert signals.came
    now[0] += 10.0
    monkeypatch.setattr(os, "_exit", ended.append)
    signals.leaving_by(lambda: pytest.fail("that is what it does not want to wait for"))
    send(signal.SIGTERM)
    assert ended == [0], "at once, and as ever"


def test_a_signal_when_all_is_ended_changes_nothing(own_signals: None) -> None:
    signals = StopSignals()
    signals.install()
    signals.ignore()
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert not signals.came


def test_a_signal_within_a_block_that_must_not_be_cut_takes_effect_after_it() -> None:
    program = (
        "import signal; from depth_retrofit_ros.ros.node.signals import StopSignals; s = StopSignals(); s.install(); "
        "s.leaving_by(lambda: print('cleaned up'))\n"
        "with s.noting():\n    signal.raise_signal(signal.SIGTERM); print('whole', end=', ')\n"
        "print('never')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "whole, cleaned up\n", "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-p", "model:=no-such-model"], "no-such-model"),
        (["-p", "budget:=7.0"], "budget"),
        (["--params-file", "/nowhere.yaml"], "/nowhere.yaml"),
        (["-p", "nonsense"], "nonsense"),
        (["-p", "qos_overrides./diagnostics.publisher.reliability:=sometimes"], "qos_overrides./diagnostics"),
        (["-p", "qos_overrides./diagnostics.publisher.depth:=-1"], "qos_overrides./diagnostics"),
        (["-p", "qos_overrides./depth_retrofit/points.publisher.depth:=-1"], "qos_overrides./depth_retrofit/points"),
        (["-p", "sparse_points_pose:=[0.1, 0, 0, 0, 0, 0, 1]"], "write all numbers of a list alike, 0.0 rather than 0"),
    ],
)
def test_a_node_that_cannot_start_as_configured_says_why_and_ends_with_code_2(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    log = tmp_path / "log"
    with running(log, "--ros-args", *arguments) as process:
        assert process.wait(PATIENCE_S) == ros_main.MISCONFIGURED == 2
    text = log.read_text()
    assert "Traceback" not in text
    telling = [line for line in text.splitlines() if told in line and "error" in line.lower()]
    assert telling, text


def test_without_autostart_it_waits_for_transitions(graph: Graph, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(log, "--ros-args", "-p", "autostart:=false", "-p", "model:=no-such-model") as process:
        state = graph.call(GetState, f"{NODE}/get_state", GetState.Request()).current_state
        assert state.id == State.PRIMARY_STATE_UNCONFIGURED
        assert graph.client.count_subscribers("/image") == 0
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0


def test_overrides_outrank_ros_arguments(own_signals: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []

    def look(nodes: list[DepthNode], signals: StopSignals) -> int:
        (node,) = nodes
        seen.append(node.settings)
        node.destroy_node()
        rclpy.try_shutdown()
        return 0

    monkeypatch.setattr(ros_main, "_run", look)
    assert ros_main.run_node({"budget": 0.02}, ["--ros-args", "-p", "budget:=0.3", "-p", "target_fps:=4.0"]) == 0
    assert (seen[0].budget, seen[0].target_fps, seen[0].device) == (0.02, 4.0, "auto")
