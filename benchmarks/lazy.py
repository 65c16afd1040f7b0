#!/usr/bin/env python3
"""What a node costs while nobody listens, with and without its lazy subscription, and what its first answer then waits for.

    python benchmarks/lazy.py --json benchmarks/results/lazy.json

The node runs in a process of its own, beside a camera of 2560x1440 rgb8 at 30 Hz in this one. Its processor time, the middleware's
threads included, is read over spans in which `lazy` takes turns, so that whatever else runs on the machine slows both. After each,
somebody begins to listen, and the time to the first answer is taken.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image

from depth_retrofit_ros.evaluation.report.summary import machine
from depth_retrofit_ros.ros.node.process import NodeProcess
from depth_retrofit_ros.ros.replay.live_run import NODE, graph_node, private_domain

HEIGHT, WIDTH, RATE_HZ = 1440, 2560, 30.0
SPAN_S, SETTLE_S = 6.0, 4.0
PATIENCE_S = 120.0


class Camera:
    """Publishes one image, and its camera_info, at ``RATE_HZ``."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._images = node.create_publisher(Image, "/image", qos_profile_sensor_data)
        self._infos = node.create_publisher(CameraInfo, "/camera_info", qos_profile_sensor_data)
        image = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH, data=array.array("B", bytes(3 * HEIGHT * WIDTH)))
        image.header.frame_id = "camera"
        self._image = bytearray(serialize_message(image))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def listeners(self) -> int:
        return int(self._images.get_subscription_count())

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        info = CameraInfo(height=HEIGHT, width=WIDTH)
        info.k = [2000.0, 0.0, WIDTH / 2, 0.0, 2000.0, HEIGHT / 2, 0.0, 0.0, 1.0]
        due_s = time.monotonic()
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            due_s = max(due_s + 1 / RATE_HZ, time.monotonic())
            stamp = self._node.get_clock().now().to_msg()
            self._image[4:12] = stamp.sec.to_bytes(4, "little") + stamp.nanosec.to_bytes(4, "little")
            info.header.stamp, info.header.frame_id = stamp, "camera"
            self._infos.publish(info)
            self._images.publish(bytes(self._image))


def wait_until(condition: Callable[[], Any], what: str) -> None:
    """Raises RuntimeError where it does not come."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"waited {PATIENCE_S:g} s in vain for {what}")
        time.sleep(0.005)


def cpu_s(pid: int) -> float:
    """Processor time [s] of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(rounds: int, process: NodeProcess, node: Node, camera: Camera) -> dict[str, Any]:
    service = node.create_client(SetParameters, f"{NODE}/set_parameters")
    wait_until(service.service_is_ready, "the node's services")
    wait_until(lambda: camera.listeners > 0, "the node's subscription")

    def choose(lazy: bool) -> None:
        future = service.call_async(SetParameters.Request(parameters=[Parameter("lazy", value=lazy).to_parameter_msg()]))
        wait_until(future.done, "the parameter")
        wait_until(lambda: (camera.listeners > 0) is not lazy, "the subscription to open or close")

    shares: dict[str, list[float]] = {"lazy": [], "always": []}
    first_ms: dict[str, list[float]] = {"lazy": [], "always": []}
    for _ in range(rounds):
        for name in ("lazy", "always"):
            choose(name == "lazy")
            time.sleep(1.0)
            before_s, begin_s = cpu_s(process.pid), time.monotonic()
            time.sleep(SPAN_S)
            shares[name].append((cpu_s(process.pid) - before_s) / (time.monotonic() - begin_s))
            came = threading.Event()
            begin_s = time.monotonic()
            listener = node.create_subscription(Image, f"{NODE}/depth/image_rect", lambda message, came=came: came.set(), 1)
            if not came.wait(PATIENCE_S):
                raise RuntimeError("no answer came")
            first_ms[name].append(1e3 * (time.monotonic() - begin_s))
            node.destroy_subscription(listener)
            time.sleep(SETTLE_S)
    cpu = {name: statistics.median(values) for name, values in shares.items()}
    return {
        "machine": machine(),
        "camera": f"{WIDTH}x{HEIGHT} rgb8 at {RATE_HZ:g} Hz, in another process",
        "rounds": rounds,
        "cpu_share_of_a_core": cpu,
        "cpu_ratio_lazy_to_always": cpu["lazy"] / cpu["always"],
        "cpu_shares": shares,
        "first_answer_ms_p50": {name: statistics.median(values) for name, values in first_ms.items()},
        "first_answers_ms": first_ms,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    ros = ["--ros-args", "-p", "model:=compact", "-p", "budget:=0.0", "-p", "min_budget:=0.0"]
    with (
        tempfile.TemporaryDirectory() as folder,
        private_domain(None),
        NodeProcess(ros, {}, Path(folder) / "log") as process,
        graph_node("lazy_benchmark") as node,
    ):
        camera = Camera(node)
        try:
            figures = measure(arguments.rounds, process, node, camera)
        finally:
            camera.stop()
    text = json.dumps(figures, indent=1) + "\n"
    print(text, end="")
    if arguments.json:
        arguments.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
