"""FrameStats, generated from msg/FrameStats.msg, over the real middleware."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from depth_retrofit_ros.msg import FrameStats
from test.paths import ROOT
from test.waiting import PATIENCE_S

IDL_NAMES = {"float32": "float", "bool": "boolean"}
VALUES = {
    "coarse_ms": 31.5,
    "upsample_ms": 0.25,
    "select_ms": 2.0,
    "refine_ms": 12.0,
    "fuse_ms": 0.5,
    "publish_ms": 4.75,
    "total_ms": 51.0,
    "age_ms": 63.125,
    "refined_pixels": 2560 * 1440,
    "budget": 0.125,
    "received": 2**40,
    "processed": 2**40 - 3,
    "dropped": 2,
    "failed": 1,
    "metric": True,
    "scale_source": "sensor",
    "temporal_scale": 1.25,
    "model": "compact",
}


@pytest.fixture
def node() -> Iterator[Node]:
    """A node in a context of its own."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("test_frame_stats", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_every_field_survives_publication(node: Node) -> None:
    received: list[FrameStats] = []
    node.create_subscription(FrameStats, "stats", received.append, 10)
    publisher = node.create_publisher(FrameStats, "stats", 10)
    sent = FrameStats(**VALUES)
    sent.header.stamp.sec, sent.header.stamp.nanosec, sent.header.frame_id = 1_700_000_000, 999_999_999, "camera_optical_frame"

    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    deadline = time.monotonic() + PATIENCE_S
    while not received and time.monotonic() < deadline:
        publisher.publish(sent)
        executor.spin_once(timeout_sec=0.1)
    executor.shutdown()

    assert received, f"no message within {PATIENCE_S:.0f} s"
    assert received[0] == sent
    assert {name: getattr(received[0], name) for name in VALUES} == VALUES


def test_the_generated_message_is_that_of_the_definition() -> None:
    """A definition that was edited without `make messages` shows here."""
    definition = (ROOT / "msg" / "FrameStats.msg").read_text(encoding="utf-8")
    lines = [line.split("#")[0].split() for line in definition.splitlines()]
    fields = {name: IDL_NAMES.get(kind, kind) for kind, name in filter(None, lines)}
    assert list(fields) == ["header", *VALUES]
    assert FrameStats.get_fields_and_field_types() == fields
