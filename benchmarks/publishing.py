#!/usr/bin/env python3
"""What sending depth and cloud costs: as Python messages, as bytes through rclpy, and from where they lie.

    python benchmarks/publishing.py --json benchmarks/results/publishing.json

Depth of 2560x1440 and its cloud at stride 2, 15 MB each, are filled and published to a subscriber in another process; the ways take
turns, so that whatever else runs on the machine slows all of them. ``wall``: time of the thread; ``cpu``: processor time of the
process, the middleware's threads included. The floor copies every output byte twice, as ``bench`` counts it. Beside it, what taking
an image of 11 MB costs as a message and as bytes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from depth_retrofit_ros.bench.live import MOVES
from depth_retrofit_ros.bench.timing import memcpy_gbps
from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.evaluation.report.summary import machine
from depth_retrofit_ros.pointcloud.organized import cloud_size, fill_cloud
from depth_retrofit_ros.ros.messages.outgoing import CloudMessage, ImageMessage
from depth_retrofit_ros.ros.replay.live_run import private_domain
from depth_retrofit_ros.ros.transport.outlet import Outlet, way_out
from depth_retrofit_ros.ros.transport.qos import LARGE_DEPTH, publish_to

HEIGHT, WIDTH, STRIDE = 1440, 2560, 2
PAUSE_S = 0.08  # between two rounds: the subscriber catches up
Times = dict[str, list[tuple[float, float]]]


def timed(times: Times, name: str, work: Callable[[], object]) -> None:
    """Note (wall, processor) time [ms] of it."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    work()
    times.setdefault(name, []).append((1e3 * (time.perf_counter() - wall_s), 1e3 * (time.process_time() - cpu_s)))


def ways(publishers: tuple[Publisher, Publisher], node: Node) -> dict[str, Callable[[], None]]:
    """Fill and send both messages, in each way; and filling alone."""
    random, camera = np.random.default_rng(0), Camera(WIDTH, HEIGHT, 2000.0, 2000.0, WIDTH / 2, HEIGHT / 2)
    depth = random.uniform(1, 5, (HEIGHT, WIDTH)).astype(np.float32)
    image = random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    pixels, points, header = ImageMessage("32FC1", np.float32, 1), CloudMessage(), Header(frame_id="camera_optical")
    outlets = [Outlet(node, publisher) for publisher in publishers]

    def fill_depth() -> None:
        np.copyto(pixels.prepare(HEIGHT, WIDTH, header), depth)

    def fill_points() -> None:
        fill_cloud(depth, image, camera, points.prepare(*cloud_size(HEIGHT, WIDTH, STRIDE), header), STRIDE)

    fill_depth()
    fill_points()
    messages = [deserialize_message(buffer.serialized.tobytes(), t) for buffer, t in ((pixels, Image), (points, PointCloud2))]
    memory = [np.frombuffer(message.data, np.float32) for message in messages]

    def as_messages() -> None:
        np.copyto(memory[0].reshape(HEIGHT, WIDTH), depth)
        publishers[0].publish(messages[0])
        fill_cloud(depth, image, camera, memory[1].reshape(*cloud_size(HEIGHT, WIDTH, STRIDE), 4), STRIDE)
        publishers[1].publish(messages[1])

    def as_bytes() -> None:
        fill_depth()
        publishers[0].publish(pixels.serialized.tobytes())
        fill_points()
        publishers[1].publish(points.serialized.tobytes())

    def in_place() -> None:
        fill_depth()
        outlets[0].publish(pixels.serialized)
        fill_points()
        outlets[1].publish(points.serialized)

    return {"messages": as_messages, "bytes": as_bytes, "in_place": in_place, "fill_depth": fill_depth, "fill_points": fill_points}


def measure_publishing(node: Node, rounds: int) -> Times:
    publishers = publish_to(node, Image, "depth", LARGE_DEPTH), publish_to(node, PointCloud2, "points", LARGE_DEPTH)
    works, times = ways(publishers, node), Times()
    while not all(publisher.get_subscription_count() for publisher in publishers):
        time.sleep(0.1)
    for _ in range(rounds):
        for name, work in works.items():
            timed(times, name, work)
            time.sleep(0.0 if name.startswith("fill") else PAUSE_S)
    return times


def take(subscription: Any, raw: bool, took: list[object]) -> None:
    """The newest message, or None."""
    took.append(subscription.handle.take_message(Image, raw))


def measure_taking(node: Node, rounds: int) -> Times:
    """Of whatever the other process sends at 10 Hz."""
    times = Times()
    newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    for raw in (False, True, False, True):
        subscription = node.create_subscription(Image, "image", lambda message: None, newest, raw=raw)
        name, taken = "take_bytes" if raw else "take_message", 0
        while taken < rounds // 2:
            with subscription.handle:
                found = Times()
                took: list[object] = []
                timed(found, name, partial(take, subscription, raw, took))
            if took[0] is None:
                time.sleep(0.005)
                continue
            times.setdefault(name, []).extend(found[name])
            taken += 1
        node.destroy_subscription(subscription)
    return times


def be_the_others() -> None:
    """A subscriber to both outputs, and a camera, until it is ended."""
    rclpy.init()
    node = Node("others")
    for topic, kind in (("depth", Image), ("points", PointCloud2)):
        node.create_subscription(kind, topic, lambda message: None, QoSProfile(depth=LARGE_DEPTH))
    image = Image(height=HEIGHT, width=WIDTH, step=3 * WIDTH, encoding="rgb8")
    image.data.frombytes(bytes(3 * HEIGHT * WIDTH))
    camera = node.create_publisher(Image, "image", qos_profile_sensor_data)
    node.create_timer(0.1, lambda: camera.get_subscription_count() and camera.publish(image))
    rclpy.spin(node)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="OUT")
    parser.add_argument("--rounds", type=int, default=80)
    parser.add_argument("--others", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.others:
        be_the_others()
        return 0
    with private_domain(None), subprocess.Popen([sys.executable, __file__, "--others"]) as others:
        try:
            rclpy.init()
            node = Node("publishing")
            times = measure_publishing(node, args.rounds) | measure_taking(node, args.rounds)
            rclpy.shutdown()
        finally:
            others.kill()
    gbps = memcpy_gbps()
    size = MOVES * (4 * HEIGHT * WIDTH + 16 * int(np.prod(cloud_size(HEIGHT, WIDTH, STRIDE))))
    document = {
        "machine": machine(),
        "published": way_out(),
        "memcpy_gbps": gbps,
        "floor_ms": size / gbps / 1e6,
        "rounds": args.rounds,
    }
    for name, pairs in times.items():
        walls, processors = np.array(pairs).T
        document[name] = {
            "wall_ms_p50": float(np.median(walls)),
            "wall_ms_min": float(walls.min()),
            "cpu_ms_p50": float(np.median(processors)),
            "cpu_ms_min": float(processors.min()),
        }
    print(json.dumps(document, indent=1))
    if args.json:
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
