#!/usr/bin/env python3
"""Two cameras of 1280x720: one process with one model against two processes, and against one camera alone.

    python benchmarks/several_cameras.py --json benchmarks/results/several_cameras.json

The nodes run in processes of their own, beside the cameras and one listener in this one, all on the same cores. Every case is
started anew in each round, so that they take turns. Rates, and the time between two answers of a camera, are of the answers as they
arrive; counts are the nodes' own. Where other programs have a part of the cores, two processes are given more of them than one, and
rates of cases do not compare: processor time per answer does. Memory is each process's proportional set size, in which
what processes share counts once.
"""

from __future__ import annotations

import argparse
import array
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image

from depth_retrofit_ros.coarse.engines.natural_image import natural_image
from depth_retrofit_ros.evaluation.report.summary import machine
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.node.process import NodeProcess
from depth_retrofit_ros.ros.replay.live_run import graph_node, private_domain

HEIGHT, WIDTH, RATE_HZ = 720, 1280, 15.0
SLOW_HZ, TARGET_HZ = 2.0, 3.0
SETTLE_S, SPAN_S = 5.0, 12.0
PATIENCE_S = 120.0
NAMES = ("front", "rear")
PARAMETERS = {"model": "compact", "outputs": ["depth"]}


class Camera:
    """Publishes an image of its own, and its camera_info, at ``rate_hz``, until it is stopped."""

    def __init__(self, node: Node, name: str, rate_hz: float) -> None:
        self._node, self._rate_hz = node, rate_hz
        self._images = node.create_publisher(Image, f"/{name}/image", qos_profile_sensor_data)
        self._infos = node.create_publisher(CameraInfo, f"/{name}/camera_info", qos_profile_sensor_data)
        pixels = np.roll(natural_image(HEIGHT, WIDTH).numpy(), 100 * NAMES.index(name), axis=1)
        image = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH, data=array.array("B", pixels.tobytes()))
        image.header.frame_id = name
        self._image = bytearray(serialize_message(image))
        self.sent = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def listeners(self) -> int:
        return int(self._images.get_subscription_count())

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        info = CameraInfo(height=HEIGHT, width=WIDTH)
        info.k = [1000.0, 0.0, WIDTH / 2, 0.0, 1000.0, HEIGHT / 2, 0.0, 0.0, 1.0]
        due_s = time.monotonic()
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            due_s = max(due_s + 1 / self._rate_hz, time.monotonic())
            stamp = self._node.get_clock().now().to_msg()
            self._image[4:12] = stamp.sec.to_bytes(4, "little") + stamp.nanosec.to_bytes(4, "little")
            info.header.stamp, info.header.frame_id = stamp, "camera"
            self._infos.publish(info)
            self._images.publish(bytes(self._image))
            self.sent += 1


@dataclass
class Answers:
    """What comes of one camera: when, and with what statistics."""

    times_s: list[float] = field(default_factory=list)
    stats: list[FrameStats] = field(default_factory=list)

    def take(self, message: FrameStats) -> None:
        self.times_s.append(time.monotonic())
        self.stats.append(message)

    def within(self, begin_s: float, end_s: float) -> dict[str, float]:
        """Of a span: answers per second, the time between two of them, and the median budget and age."""
        places = [place for place, at_s in enumerate(self.times_s) if begin_s <= at_s < end_s]
        gaps = np.diff([self.times_s[place] for place in places])
        stats = [self.stats[place] for place in places]
        return {
            "rate_hz": len(places) / (end_s - begin_s),
            "gap_ms_p50": 1e3 * float(np.median(gaps)),
            "gap_ms_max": 1e3 * float(gaps.max()),
            "age_ms_p50": statistics.median(each.age_ms for each in stats),
            "total_ms_p50": statistics.median(each.total_ms for each in stats),
            "budget_p50": statistics.median(each.budget for each in stats),
        }

    @property
    def counts(self) -> dict[str, int]:
        """The node's own, with its last answer."""
        return {name: int(getattr(self.stats[-1], name)) for name in ("received", "processed", "dropped", "failed")}


@dataclass(frozen=True)
class Case:
    """rates: camera → images per second. In one process, or in one each; parameters: of all. stops: of a second span of time,
    which camera stops before it."""

    rates: Mapping[str, float]
    one_process: bool
    parameters: Mapping[str, Any] = field(default_factory=dict)
    stops: str = ""


BOTH = dict.fromkeys(NAMES, RATE_HZ)
CASES = {
    "alone": Case({"front": RATE_HZ}, one_process=False),
    "one process": Case(BOTH, one_process=True),
    "two processes": Case(BOTH, one_process=False),
    "one process, one slow camera": Case({"front": RATE_HZ, "rear": SLOW_HZ}, one_process=True),
    "one process, target rate": Case(BOTH, True, {"target_fps": TARGET_HZ, "budget": 0.2}, stops="rear"),
}


def wait_until(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> None:
    """Raises RuntimeError where it does not come."""
    deadline_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"waited {patience_s:g} s in vain for {what}")
        time.sleep(0.01)


def pss_mb(pid: int) -> float:
    """Proportional set size of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3


def cpu_s(pid: int) -> float:
    """Processor time [s] of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def started(case: Case, folder: Path) -> Iterator[list[NodeProcess]]:
    """The processes of a case."""
    parameters = {**PARAMETERS, **case.parameters}
    with ExitStack() as stack:
        if case.one_process:
            file = folder / "cameras.yaml"
            cameras = [{"name": name, "image": "image"} for name in case.rates]
            file.write_text(json.dumps({"cameras": cameras, "parameters": parameters}))  # JSON is YAML
            yield [stack.enter_context(NodeProcess([str(file)], {}, folder / "log", "cameras_main"))]
            return
        given = [word for name, value in parameters.items() for word in ("-p", f"{name}:={json.dumps(value)}")]
        yield [
            stack.enter_context(NodeProcess(["--ros-args", "-r", f"__ns:=/{name}", *given], {}, folder / f"log-{name}"))
            for name in case.rates
        ]


def run(case: Case, node: Node) -> dict[str, Any]:
    """One round of a case."""
    cameras = {name: Camera(node, name, rate) for name, rate in case.rates.items()}
    answers = {name: Answers() for name in case.rates}
    listeners = []
    for name, of_camera in answers.items():
        listeners.append(node.create_subscription(FrameStats, f"/{name}/depth_retrofit/frame_stats", of_camera.take, 100))
        depth = f"/{name}/depth_retrofit/depth/image_rect"
        listeners.append(node.create_subscription(Image, depth, lambda message: None, QoSProfile(depth=1), raw=True))
    with tempfile.TemporaryDirectory() as folder, started(case, Path(folder)) as processes:
        try:
            for name, camera in cameras.items():
                wait_until(lambda camera=camera: camera.listeners > 0, f"the node of {name}")  # type: ignore[misc]
            for camera in cameras.values():
                camera.start()
            for name in cameras:
                wait_until(lambda name=name: answers[name].times_s, f"an answer of {name}")  # type: ignore[misc]
            time.sleep(SETTLE_S)
            begin_s, used_s = time.monotonic(), sum(cpu_s(process.pid) for process in processes)
            time.sleep(SPAN_S)
            end_s = time.monotonic()
            used_s = sum(cpu_s(process.pid) for process in processes) - used_s
            result: dict[str, Any] = {name: each.within(begin_s, end_s) for name, each in answers.items()}
            result["cpu_share_of_a_core"] = used_s / (end_s - begin_s)
            count = sum(begin_s <= at_s < end_s for each in answers.values() for at_s in each.times_s)
            result["cpu_ms_per_answer"] = 1e3 * used_s / count
            result["pss_mb"] = sum(pss_mb(process.pid) for process in processes)
            if case.stops:
                cameras[case.stops].stop()
                time.sleep(2 * SETTLE_S)
                begin_s = time.monotonic()
                time.sleep(SPAN_S / 2)
                rest = {name: each for name, each in answers.items() if name != case.stops}
                result["after_one_stopped"] = {name: each.within(begin_s, time.monotonic()) for name, each in rest.items()}
        finally:
            for camera in cameras.values():
                camera.stop()
        adds_up = lambda counts: counts["received"] == counts["processed"] + counts["dropped"] + counts["failed"]  # noqa: E731
        wait_until(lambda: all(adds_up(each.counts) for each in answers.values()), "counts that add up", 10.0)
        for name, each in answers.items():
            result[name]["counts"] = {"sent": cameras[name].sent, **each.counts}
    for listener in listeners:
        node.destroy_subscription(listener)
    return result


def summary(rounds: list[dict[str, Any]]) -> Any:
    """The median of each figure over the rounds; counts of all of them together."""
    first = rounds[0]
    if isinstance(first, dict):
        return {
            key: {name: sum(each[key][name] for each in rounds) for name in first[key]}
            if key == "counts"
            else summary([each[key] for each in rounds])
            for key in first
        }
    return round(statistics.median(rounds), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in CASES}
    with private_domain(None), graph_node("several_cameras_benchmark") as node:
        for _ in range(arguments.rounds):
            for name, case in CASES.items():
                results[name].append(run(case, node))
                print(name, json.dumps(results[name][-1]), flush=True)
    figures = {
        "machine": machine(),
        "cores": len(os.sched_getaffinity(0)),
        "cameras": f"{WIDTH}x{HEIGHT} rgb8 at {RATE_HZ:g} Hz each, in another process on the same cores",
        "slow_hz": SLOW_HZ,
        "target_hz": TARGET_HZ,
        "rounds": arguments.rounds,
        "span_s": SPAN_S,
        "cases": {name: summary(rounds) for name, rounds in results.items()},
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
