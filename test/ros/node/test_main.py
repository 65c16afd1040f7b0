"""The node as a process, with the shipped default model: what a robot starts, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace

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
from test.ros.graph import NODE, PATIENCE_S, Graph, image_message, info_message, pixels_of, repeat_until, wait_until

COMMAND = [sys.executable, "-m", "depth_retrofit_ros.ros.node.main"]


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


def test_a_signal_while_the_model_loads_ends_it_with_code_0(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(log) as process:
        maps = Path(f"/proc/{process.pid}/maps")  # empty for a process that has ended
        wait_until(lambda: "libtorch_cpu.so" in maps.read_text() or not maps.read_text(), "torch to be loaded")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) in (0, -signal.SIGTERM), log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_signal_that_comes_by_two_ways_is_one_wish_and_a_later_one_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now, ended = [100.0], []
    send = signal.raise_signal
    monkeypatch.setattr(ros_main, "time", SimpleNamespace(monotonic=lambda: now[0]))
    before = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        ros_main._end_at_once_when_told_again()
        send(signal.SIGINT)
        send(signal.SIGTERM)
        now[0] += 10.0
        monkeypatch.setattr(signal, "raise_signal", lambda number: ended.append((number, signal.getsignal(number))))
        send(signal.SIGINT)
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    assert ended == [(signal.SIGINT, signal.SIG_DFL)]


def test_a_signal_before_rclpy_is_loaded_ends_it_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rclpy, "init", interrupted)
    assert ros_main.run_node() == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-p", "model:=no-such-model"], "no-such-model"),
        (["-p", "budget:=7.0"], "budget"),
        (["--params-file", "/nowhere.yaml"], "/nowhere.yaml"),
        (["-p", "nonsense"], "nonsense"),
    ],
)
def test_a_node_that_cannot_start_says_why_and_ends_with_code_1(tmp_path: Path, arguments: list[str], told: str) -> None:
    log = tmp_path / "log"
    with running(log, "--ros-args", *arguments) as process:
        assert process.wait(PATIENCE_S) == 1
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


def test_overrides_outrank_ros_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []

    def look(node: DepthNode) -> int:
        seen.append(node.settings)
        node.destroy_node()
        rclpy.try_shutdown()
        return 0

    monkeypatch.setattr(ros_main, "_run", look)
    assert ros_main.run_node({"budget": 0.02}, ["--ros-args", "-p", "budget:=0.3", "-p", "target_fps:=4.0"]) == 0
    assert (seen[0].budget, seen[0].target_fps, seen[0].model) == (0.02, 4.0, "compact")
