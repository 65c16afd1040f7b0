#!/usr/bin/env python3
"""Depth images from one process to another at camera rate, with the transport that launch file, CLI and demo set: does each arrive?

python benchmarks/delivery.py --json benchmarks/results/delivery.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from depth_retrofit_ros.evaluation.report.summary import machine
from depth_retrofit_ros.ros.messages.outgoing import ImageMessage
from depth_retrofit_ros.ros.replay.live_run import private_domain
from depth_retrofit_ros.ros.transport.domain_isolation import claimed_domain
from depth_retrofit_ros.ros.transport.outlet import outlet
from depth_retrofit_ros.ros.transport.qos import LARGE_DEPTH, subscribe_newest

TOPIC = "/depth"


def publish(height: int, width: int, rate_hz: float, count: int) -> None:
    """As the node does it: one reused message, a reliable publisher. The stamp counts the images; the first pixel is it again."""
    rclpy.init()
    node = Node("camera")
    publisher, message = outlet(node, Image, TOPIC, LARGE_DEPTH), ImageMessage("32FC1", np.float32, 1)
    while publisher.get_subscription_count() == 0:
        time.sleep(0.01)
    time.sleep(0.5)
    depth, begin_s = np.ones((height, width), np.float32), time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, begin_s + number / rate_hz - time.monotonic()))
        header = Header()
        header.stamp.sec, header.stamp.nanosec = divmod(time.monotonic_ns(), 1_000_000_000)
        header.frame_id = str(number)
        depth[0, 0] = depth[-1, -1] = number
        np.copyto(message.prepare(height, width, header), depth)
        publisher.publish(message.serialized)
    time.sleep(1.0)
    rclpy.shutdown()


def receive(process: subprocess.Popen[bytes]) -> tuple[list[int], list[float], int]:
    """Numbers of the images that came, their latency [ms], and how many were not whole."""
    numbers: list[int] = []
    latencies_ms: list[float] = []
    broken = [0]

    def on_image(message: Image) -> None:
        now_ns = time.monotonic_ns()
        pixels = np.frombuffer(message.data, np.float32)
        numbers.append(int(message.header.frame_id))
        latencies_ms.append(1e-6 * (now_ns - 1_000_000_000 * message.header.stamp.sec - message.header.stamp.nanosec))
        broken[0] += not (len(pixels) == message.height * message.width and pixels[0] == pixels[-1] == numbers[-1])

    rclpy.init()
    node = Node("listener")
    subscribe_newest(node, Image, TOPIC, on_image)
    while process.poll() is None:
        rclpy.spin_once(node, timeout_sec=0.1)
    rclpy.shutdown()
    return numbers, latencies_ms, broken[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="OUT")
    parser.add_argument("--width", type=int, default=2560)
    parser.add_argument("--height", type=int, default=1440)
    parser.add_argument("--rate-hz", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--publish", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    count = round(args.rate_hz * args.seconds)
    if args.publish:
        publish(args.height, args.width, args.rate_hz, count)
        return 0
    with claimed_domain() as domain, private_domain(domain):
        size = ["--width", str(args.width), "--height", str(args.height)]
        rate = ["--rate-hz", str(args.rate_hz), "--seconds", str(args.seconds)]
        with subprocess.Popen([sys.executable, __file__, "--publish", *size, *rate]) as process:
            numbers, latencies_ms, broken = receive(process)
    p50, p99 = np.percentile(latencies_ms, (50, 99)) if latencies_ms else (np.nan, np.nan)
    document = {
        "machine": machine(),
        "size": [args.height, args.width],
        "rate_hz": args.rate_hz,
        "published": count,
        "received": len(set(numbers)),
        "broken": broken,
        "latency_ms_p50": float(p50),
        "latency_ms_p99": float(p99),
    }
    print(json.dumps(document, indent=1))
    if args.json:
        args.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0 if document["received"] == count and not broken else 1


if __name__ == "__main__":
    sys.exit(main())
