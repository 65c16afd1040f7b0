"""Serialized messages on a live graph: past rclpy, or through it, what arrives is the same."""

from __future__ import annotations

import ctypes
import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import rclpy
from rclpy._rclpy_pybind11 import RCLError
from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from depth_retrofit_ros.ros.transport import outlet as outlet_module
from depth_retrofit_ros.ros.transport import rcl_publish as rcl_publish_module
from depth_retrofit_ros.ros.transport.outlet import Outlet, outlet, way_out
from depth_retrofit_ros.ros.transport.rcl_publish import rcl_publish
from test.ros.graph import PATIENCE_S, Graph, image_message, wait_until


@pytest.fixture(params=("in place", "through rclpy"))
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outlet]:
    if request.param == "through rclpy":
        monkeypatch.setattr(outlet_module, "rcl_publish", lambda: None)
    return outlet


@pytest.fixture
def undetected() -> Iterator[None]:
    """What is there is looked for anew, in this test and after it."""
    rcl_publish.cache_clear()
    yield
    rcl_publish.cache_clear()


def serialized(message: Any) -> np.ndarray:
    return np.frombuffer(serialize_message(message), np.uint8).copy()


def test_both_kinds_of_message_arrive(graph: Graph, make: Callable[..., Outlet]) -> None:
    sender, arrived = make(graph.client, Image, "pictures", 2), graph.listen(Image, "/pictures")
    wait_until(lambda: sender.get_subscription_count() == 1, "the subscription")
    picture = image_message(1440, 2560)
    data = serialized(picture)
    sender.publish(data)
    wait_until(lambda: len(arrived) == 1, "the serialized one")
    data[:] = 0  # the caller's again
    sender.publish(picture)
    wait_until(lambda: len(arrived) == 2, "the other one")
    assert arrived == [picture, picture]
    sender.destroy()
    wait_until(lambda: graph.client.count_publishers("/pictures") == 0, "its end")


def test_a_destroyed_publisher_says_so(graph: Graph, make: Callable[..., Outlet]) -> None:
    sender = make(graph.client, Image, "pictures", 2)
    sender.destroy()
    with pytest.raises(InvalidHandle):
        sender.publish(serialized(image_message()))
    with pytest.raises(InvalidHandle):
        sender.get_subscription_count()


def test_after_the_end_of_the_context_rcl_refuses(make: Callable[..., Outlet]) -> None:
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node("sender", context=context)
    sender = make(node, Image, "pictures", 2)
    context.shutdown()
    for _ in range(2):  # nothing of the first is left behind
        with pytest.raises(RCLError, match="publish"):
            sender.publish(serialized(image_message()))
    node.destroy_node()


def test_a_publisher_that_is_destroyed_while_it_sends_ends_afterwards() -> None:
    """As where another choice of outputs is made in the middle of a frame: Python's lock is free while rcl works."""
    arrived: list[Image] = []
    data, context = serialized(image_message(1440, 2560)), Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node, executor = Node("sender", context=context), SingleThreadedExecutor(context=context)
    node.create_subscription(Image, "pictures", arrived.append, 10)
    executor.add_node(node)

    def send(sender: Outlet) -> None:
        with suppress(InvalidHandle):
            while True:
                sender.publish(data)

    for _ in range(5):
        sender, before = outlet(node, Image, "pictures", 2), len(arrived)
        wait_until(functools.partial(sender.get_subscription_count), "the subscription")
        thread = threading.Thread(target=send, args=(sender,))
        thread.start()
        deadline_s = time.monotonic() + PATIENCE_S
        while len(arrived) == before and time.monotonic() < deadline_s:
            executor.spin_once(timeout_sec=0.1)
        sender.destroy()
        thread.join(PATIENCE_S)
        assert len(arrived) > before and not thread.is_alive()
    executor.shutdown()
    node.destroy_node()
    context.shutdown()
    assert all(len(message.data) == 3 * 1440 * 2560 for message in arrived)


@pytest.mark.usefixtures("undetected")
def test_without_the_library_the_way_is_through_rclpy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert way_out() == "where they lie", "this rclpy; where that is not so, this tells it before somebody's benchmark does"
    rcl_publish.cache_clear()

    def none(name: str, mode: int = 0) -> ctypes.CDLL:
        raise OSError(f"{name}: not loaded")

    monkeypatch.setattr(ctypes, "CDLL", none)
    assert rcl_publish() is None
    assert "rclpy" in way_out()


@pytest.mark.usefixtures("undetected")
def test_a_struct_of_another_layout_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(ctypes.Structure):
        _fields_ = [*reversed(rcl_publish_module._Serialized._fields_[:3]), rcl_publish_module._Serialized._fields_[3]]

    monkeypatch.setattr(rcl_publish_module, "_Serialized", Other)
    assert rcl_publish() is None
