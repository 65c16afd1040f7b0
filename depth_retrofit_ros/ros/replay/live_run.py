"""One run of the real graph: player → depth node (a process of its own) → recorder. The bag replay and the demo are both this."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from depth_retrofit_ros.errors import GraphError
from depth_retrofit_ros.evaluation.data.bag import COMPRESSED_TYPE
from depth_retrofit_ros.evaluation.report.delivery import DeliveryReport
from depth_retrofit_ros.ros.context import ros_start
from depth_retrofit_ros.ros.node.process import NodeProcess
from depth_retrofit_ros.ros.replay.identity import tell_apart
from depth_retrofit_ros.ros.replay.live_page import LivePage
from depth_retrofit_ros.ros.replay.player import Playback, Player, TimedMessage
from depth_retrofit_ros.ros.replay.recorder import RecordedDepth, Recorder, Recording
from depth_retrofit_ros.ros.transport.dds_profile import configure_transport
from depth_retrofit_ros.ros.transport.domain_isolation import claimed_domain, private_environment

NODE = "/depth_retrofit"
_START_S = 180.0  # loading a large model from a slow disk, and its warm-up on two cores
_MEETING_S = 0.5  # the other end of a connection may learn of it a little later
_FINISH_S = 60.0  # without any change in the counts, once everything was played
_STABLE_REPORTS = 3  # with unchanged counts; the first of them may be from before the last image


@dataclass(frozen=True, slots=True)
class LiveRun:
    """What to run.

    types: topic → message type of everything that is played; image_topic, info_topic: among them (the latter may be None).
    parameters: of the depth node. log: file that takes the node's output. cloud: whether the points are subscribed to.
    rate: 2 plays twice as fast. domain: ROS domain, None for a free one. web_port: where a live page is served meanwhile, by a
    process that logs beside ``log``; None for no page.
    """

    types: Mapping[str, str]
    image_topic: str
    info_topic: str | None
    parameters: Mapping[str, str | float]
    log: Path
    cloud: bool = True
    rate: float = 1.0
    domain: int | None = None
    web_port: int | None = None

    def node_arguments(self) -> list[str]:
        """Topics and parameters as ROS arguments."""
        compressed = self.types[self.image_topic] == COMPRESSED_TYPE
        image = self.image_topic.removesuffix("/compressed") if compressed else self.image_topic
        remaps = {"image": image, "camera_info": self.info_topic or f"{NODE}/no_camera_info"}
        parameters = {**self.parameters, "image_transport": "compressed" if compressed else "raw"}
        arguments = [part for name, topic in remaps.items() for part in ("-r", f"{name}:={topic}")]
        # As YAML strings: a path such as `1e3` or `yes` must stay a string.
        values = {name: json.dumps(value) for name, value in parameters.items()}
        return ["--ros-args", *arguments, *(part for name, value in values.items() for part in ("-p", f"{name}:={value}"))]


@dataclass(frozen=True, slots=True)
class RunResult:
    """playback and recording as they were; the delivery report; how long the node's start and the playing took [s].

    numbers: of the image that each answer belongs to, in the order of arrival; None where that cannot be told.
    last_failure: why the last failed image failed, where that is known; failures: the same by number, of an every-frame run.
    """

    playback: Playback
    recording: Recording
    numbers: Sequence[int | None]
    delivery: DeliveryReport
    start_s: float
    run_s: float
    last_failure: str = ""
    failures: Mapping[int, str] = field(default_factory=dict)

    @property
    def latency_ms(self) -> list[float]:
        """From the publication of each image to the arrival of its depth in the recorder, in the order of arrival; of those answers
        whose image is known.
        """
        images, arrivals = self.playback.images, self.recording.arrivals
        return [
            1e-6 * (arrival.at_ns - images[number].at_ns)
            for number, arrival in zip(self.numbers, arrivals, strict=True)
            if number is not None
        ]


def run_live(
    plan: LiveRun,
    stream: Iterable[TimedMessage],
    store: Callable[[RecordedDepth], None],
    progress: Callable[[str], None],
    keep: Callable[[str, Any], None] | None = None,
    say: Callable[[str], None] = print,
) -> RunResult:
    """Run it to the end; ``progress`` is told one line about every second, ``say`` where the live page is. store, keep: see
    ``Recorder``.

    Raises GraphError (the node ended or does not answer), and whatever ``stream`` and ``store`` raise.
    """
    with (
        private_domain(plan.domain),
        NodeProcess(plan.node_arguments(), {}, plan.log) as process,
        _page(plan) as page,
        graph_node("depth_retrofit_replay") as node,
    ):
        recorder = Recorder(node, NODE, store, plan.cloud, keep)
        player = Player(node, plan.types, plan.image_topic, plan.rate)
        try:
            start_s = _wait_for_node(process, player, recorder, plan.log, progress)
            if page is not None:  # which starts beside the node, and is there before the node is measured
                say(page.wait())
            begin_s = time.monotonic()
            player.start(stream)
            while not player.join(1.0):
                process.require_alive()
                recorder.check()
                progress(_progress(player, recorder, time.monotonic() - begin_s))
            run_s = time.monotonic() - begin_s
            counts = _wait_for_counts(process, player, recorder, progress)
        finally:
            player.stop()
            recorder.close()
    recorder.check()
    playback, recording = player.playback, recorder.recording
    delivery = DeliveryReport.from_counts(counts, playback.played, recording.answers, len(playback.unreadable))
    delivery.check()
    numbers = tell_apart(playback.images, recording.arrivals)
    reason = recording.reports.get(f"{NODE}: input", {}).get("last failure", "")
    return RunResult(playback, recording, numbers, delivery, start_s, run_s, reason or playback.last_failure)


def _page(plan: LiveRun) -> AbstractContextManager[LivePage | None]:
    return nullcontext() if plan.web_port is None else LivePage(plan.web_port, plan.log.with_name("page.log"))


@contextmanager
def private_domain(domain: int | None) -> Iterator[None]:
    """This process, and those that it starts, in a domain of their own on this machine."""
    with claimed_domain() if domain is None else nullcontext(domain) as chosen:
        before = dict(os.environ)
        os.environ.update(private_environment(chosen))
        configure_transport()
        changed = {name: before.get(name) for name, value in os.environ.items() if before.get(name) != value}
        try:
            yield
        finally:  # these alone: other threads go on reading the rest
            for name, value in changed.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


@contextmanager
def graph_node(name: str) -> Iterator[Node]:
    """A node whose callbacks run in a thread of their own; the thread is joined before anything it uses goes away."""
    context = rclpy.Context()
    with ros_start():
        context.init(args=[])  # not this program's own, among which a file's name need not be UTF-8
        node = Node(name, context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def spin() -> None:
        with suppress(ExternalShutdownException):
            executor.spin()

    thread = threading.Thread(target=spin, name="graph", daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown()
        thread.join()
        node.destroy_node()
        context.try_shutdown()


def _wait_for_node(process: NodeProcess, player: Player, recorder: Recorder, log: Path, progress: Callable[[str], None]) -> float:
    """Until the node is active and everything is connected; returns how long that took [s]."""
    begin_s = time.monotonic()
    while not (player.subscribers() > 0 and player.reaches(NODE) and recorder.connected()):
        process.require_alive()
        waited_s = time.monotonic() - begin_s
        if waited_s > _START_S:
            raise GraphError(f"the depth node was not active after {_START_S:.0f} s: {process.last_error()} (log: {log})")
        progress(f"starting the depth node ({waited_s:.0f} s)")
        time.sleep(0.2)
    time.sleep(_MEETING_S)
    return time.monotonic() - begin_s


def _wait_for_counts(process: NodeProcess, player: Player, recorder: Recorder, progress: Callable[[str], None]) -> dict[str, int]:
    """The node's counts, once every played image is accounted for or, where some were lost on the way, nothing changes any more."""
    recording = recorder.recording
    before: tuple[object, ...] = ()
    while True:
        process.require_alive()
        recorder.check()
        counts = _counts(recorder)
        now = (counts, recording.answers)
        if now != before:
            before, changed_s, reports = now, time.monotonic(), recording.reports_count
        idle = counts["pending"] == 0
        published = player.playback.played - len(player.playback.unreadable)
        if idle and counts["received"] == published and recording.answers == counts["processed"]:
            return counts
        if idle and recording.reports_count >= reports + _STABLE_REPORTS:
            return counts
        if time.monotonic() - changed_s > _FINISH_S:
            raise GraphError(f"the depth node stopped working on a frame: {counts}, nothing new for {_FINISH_S:.0f} s")
        progress(f"waiting for the last frames ({counts['pending']} pending)")
        time.sleep(0.1)


def _counts(recorder: Recorder) -> dict[str, int]:
    """From the node's diagnostics. What came while it saw no listener (we had not met yet) it counts apart: dropped, for us."""
    values = recorder.recording.reports.get(f"{NODE}: input", {})
    counts = {name: int(values.get(name, 0)) for name in ("received", "processed", "dropped", "failed", "pending")}
    unsubscribed = int(values.get("without subscribers", 0))
    return {**counts, "received": counts["received"] + unsubscribed, "dropped": counts["dropped"] + unsubscribed}


def _progress(player: Player, recorder: Recorder, elapsed_s: float) -> str:
    played, answered = player.playback.played, recorder.recording.answers
    return f"{elapsed_s:5.1f} s: played {played} ({played / elapsed_s:.1f} Hz), answered {answered} ({answered / elapsed_s:.1f} Hz)"
