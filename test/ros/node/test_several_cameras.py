"""Several cameras in one process: one model, one thread, and of everything else each has its own."""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.past import Past
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.ros.node.cameras_main import main
from depth_retrofit_ros.ros.node.node import DepthNode
from depth_retrofit_ros.ros.node.parameters import Settings
from depth_retrofit_ros.ros.node.shared_method import SharedMethod
from depth_retrofit_ros.runtime.worker import FrameCounts
from test.ros.graph import (
    PATIENCE_S,
    Graph,
    KeepCoarse,
    SlantedWall,
    image_message,
    info_message,
    repeat_until,
    small_retrofit,
    wait_until,
)

NAMES = ("front", "rear")


class Remembering(SlantedWall):
    """Also remembers the frames of one camera."""

    def __init__(self) -> None:
        super().__init__()
        self.past = Past(100)

    def for_another_stream(self) -> Remembering:
        return Remembering()

    @property
    def remembered(self) -> int:
        return self.past.count

    def forget(self) -> None:
        self.past.forget()

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        place = self.past.place(hints.stamp_ns, None)
        self.past.answered(place, hints.stamp_ns, None)
        return super().predict(image, camera)


def status_of(reports: list[Any], node: str, concern: str) -> dict[str, str]:
    """The newest values of a node's status."""
    for report in reversed(reports):
        for status in report.status:
            if status.name == f"{node}: {concern}":
                return {pair.key: pair.value for pair in status.values}
    return {}


def settings_of(**changes: Any) -> Settings:
    from depth_retrofit_ros.ros.node.parameters import PARAMETERS

    return Settings(**{**{row.name: row.default for row in PARAMETERS}, **changes})


def test_each_camera_is_answered_and_counted_and_reset_for_itself(graph: Graph) -> None:
    loads: list[Settings] = []

    def load(settings: Settings) -> Retrofit:
        loads.append(settings)
        return Retrofit(Remembering(), KeepCoarse(), settings.budget, settings.trust_scale)

    shared = SharedMethod(load)
    nodes: dict[str, DepthNode] = {
        name: graph.depth_node(load=load, namespace=f"/{name}", shared=shared, budget=budget)
        for name, budget in zip(NAMES, (0.1, 0.2), strict=True)
    }
    assert len(loads) == 1 and shared.common is not None and shared.common.thread.count == 2
    stats = {name: graph.listen(FrameStats, f"/{name}/depth_retrofit/frame_stats") for name in NAMES}
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    images = {name: graph.publisher(Image, f"/{name}/image") for name in NAMES}
    for name in NAMES:
        graph.publisher(CameraInfo, f"/{name}/camera_info").publish(info_message())

    def send(name: str, stamp_s: int, **changes: Any) -> None:
        message = image_message(stamp_s=stamp_s)
        for field, value in changes.items():
            setattr(message, field, value)
        images[name].publish(message)

    def counts(name: str) -> FrameCounts:
        return nodes[name]._processor._worker.counts()  # type: ignore[union-attr]

    def answered(name: str, count: int) -> bool:
        return len(stats[name]) >= count

    for number in range(5):  # each of the rear's second ones cannot be read
        send("front", 100 + number)
        if number % 2:
            send("rear", 100 + number, encoding="no such encoding")
            failed = number // 2 + 1
            wait_until(lambda failed=failed: counts("rear").failed == failed, "the failure")  # type: ignore[misc]
        else:
            send("rear", 100 + number)
            wait_until(functools.partial(answered, "rear", number // 2 + 1), "the rear's answer")
        wait_until(functools.partial(answered, "front", number + 1), "the front's answer")
    for name, expected in (("front", ("5", "5", "0", "0")), ("rear", ("5", "3", "0", "2"))):
        node = f"/{name}/depth_retrofit"
        keys = ("received", "processed", "dropped", "failed")
        wait_until(
            lambda node=node, keys=keys, expected=expected: (  # type: ignore[misc]
                tuple(status_of(reports, node, "input").get(key) for key in keys) == expected
            ),
            f"the counts of {name}",
        )
        assert status_of(reports, node, "pipeline")["cameras of this process"] == "2"
    assert [stats[name][-1].budget for name in NAMES] == pytest.approx([0.1, 0.2])
    assert graph.warnings(nodes["front"]) == [] and any("no such encoding" in line for line in graph.warnings(nodes["rear"]))

    def remembered(name: str) -> str:
        return status_of(reports, f"/{name}/depth_retrofit", "model").get("frames remembered", "")

    wait_until(lambda: (remembered("front"), remembered("rear")) == ("5", "3"), "what each remembers")
    assert graph.call(Trigger, "/front/depth_retrofit/reset", Trigger.Request()).success
    for name in NAMES:
        send(name, 105)
        wait_until(functools.partial(answered, name, 6 if name == "front" else 4), f"the answer of {name}")
    wait_until(lambda: (remembered("front"), remembered("rear")) == ("1", "4"), "one begins anew, the other goes on")

    assert graph.set_parameter(nodes["front"], "budget", 0.05).successful
    refused = graph.set_parameter(nodes["front"], "model", "meter-nyu")
    assert not refused.successful and "is fixed while active" in refused.reason
    assert (nodes["front"].settings.budget, nodes["rear"].settings.budget) == (0.05, 0.2)

    nodes["rear"].trigger_deactivate()
    nodes["rear"].trigger_cleanup()
    repeat_until(lambda: send("front", 106), lambda: len(stats["front"]) > 6, "the front alone")
    assert stats["front"][-1].budget == pytest.approx(0.05) and shared.common.thread.count == 1
    assert nodes["rear"].autostart() and len(loads) == 1 and shared.common.thread.count == 2
    for name in NAMES:
        nodes[name].trigger_deactivate()
        nodes[name].trigger_cleanup()
    assert shared.common is None
    assert nodes["front"].autostart() and len(loads) == 2


def test_one_process_serves_the_cameras_of_a_list_and_ends_on_sigint(graph: Graph, tmp_path: Path) -> None:
    cameras = [{"name": name, "image": "image", "parameters": {"outputs": ["depth"]}} for name in NAMES]
    file, log = tmp_path / "cameras.yaml", tmp_path / "log"
    file.write_text(yaml.safe_dump({"cameras": cameras, "parameters": {"model": "compact", "budget": 0.02}}))
    command = [sys.executable, "-m", "depth_retrofit_ros.ros.node.cameras_main", str(file)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            depths = {name: graph.listen(Image, f"/{name}/depth_retrofit/depth/image_rect") for name in NAMES}
            images = {name: graph.publisher(Image, f"/{name}/image") for name in NAMES}
            for number, name in enumerate(NAMES):
                send = functools.partial(images[name].publish, image_message(60 + number, 80))
                repeat_until(send, lambda name=name: depths[name], f"depth of {name}")  # type: ignore[misc]
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 0, log.read_text()
        finally:
            process.kill()
    assert [depths[name][0].height for name in NAMES] == [60, 61]
    assert "Traceback" not in log.read_text() and log.read_text().count("is ready on cpu") == 2


@pytest.mark.parametrize("arguments", [[], ["--ros-args"], ["one.yaml", "two.yaml"], ["--help"]])
def test_a_process_without_its_list_says_how_it_is_started(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and capsys.readouterr().err.startswith("error: usage: depth_cameras FILE")


def test_cameras_of_one_process_cannot_have_two_models() -> None:
    shared = SharedMethod(functools.partial(small_retrofit, SlantedWall()))
    first = shared.take("/front", settings_of(budget=0.3))
    other = shared.take("/rear", settings_of(budget=0.1, align="scale"))
    assert other is not first and other.coarse is first.coarse and (first.budget, other.budget) == (0.3, 0.1)
    told = r"^model is 'compact' here and 'auto' for /front: cameras of one process share one model; [^\n]*$"
    with pytest.raises(ModelError, match=told):
        shared.take("/left", settings_of(model="compact"))
    shared.leave("/front")
    shared.leave("/left")
    assert shared.common is not None
    shared.leave("/rear")
    assert shared.common is None
    assert shared.take("/left", settings_of(model="compact")) is not first


def test_a_method_that_was_given_up_is_loaded_anew_and_those_that_have_it_keep_it() -> None:
    shared = SharedMethod(functools.partial(small_retrofit, SlantedWall()))
    first, second = shared.take("/front", settings_of()), shared.take("/rear", settings_of())
    before = shared.common
    shared.give_up()
    shared.leave("/front")
    again = shared.take("/front", settings_of())
    assert again not in (first, second) and shared.common is not before
    shared.leave("/rear")  # of the old one
    assert shared.common is not None


def test_a_load_that_was_given_up_and_ends_late_is_nobody_s() -> None:
    shared: SharedMethod

    def slow(settings: Settings) -> Retrofit:
        shared.give_up()  # meanwhile
        return small_retrofit(SlantedWall(), settings)

    shared = SharedMethod(slow)
    shared.take("/front", settings_of())
    assert shared.common is None


def test_a_model_that_remembers_and_cannot_be_asked_for_another_is_refused() -> None:
    class Plugin(SlantedWall):
        def forget(self) -> None:
            """What it remembers."""

    shared = SharedMethod(functools.partial(small_retrofit, Plugin()))
    shared.take("/front", settings_of())
    with pytest.raises(ModelError, match=r"^slanted-wall remembers the images of one camera, and cannot be shared: [^\n]*$"):
        shared.take("/rear", settings_of())
