"""One run of the viewer, from the start of its node to the signal that ends it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from depth_retrofit_ros.ros.context import ros_start
from depth_retrofit_ros.ros.transport.dds_profile import configure_transport
from depth_retrofit_ros.ros.view.viewer import Sink, Viewer

_LOOK_S = 0.2  # how often it is looked whether a signal came


def show(
    name: str, sink: Sink, width: int, rate_hz: float, domain: int | None, attach: Callable[[Node], None] | None = None
) -> int:
    """View the node ``name`` until SIGINT or SIGTERM; returns how many frames were shown. Raises what ``sink`` raises.

    width, rate_hz: see ``Viewer``. domain: None for that of the environment. attach: given the viewer's node before it is spun.
    To be called in the main thread, which gets signals.
    """
    configure_transport()
    with _signalled() as ended:
        context = rclpy.Context()
        with ros_start():
            rclpy.init(args=[], context=context, domain_id=domain)  # not this program's own arguments: names need not be UTF-8
            node = Node("depth_retrofit_view", context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        viewer = Viewer(node, name, sink, width, rate_hz)
        if attach is not None:
            attach(node)
        try:
            while not ended.is_set():
                executor.spin_once(timeout_sec=_LOOK_S)
        finally:
            executor.shutdown()
            node.destroy_node()
            context.try_shutdown()
    return viewer.shown


@contextmanager
def _signalled() -> Iterator[threading.Event]:
    """Set by SIGINT and SIGTERM, which raise nothing meanwhile: that would leave half a message in a recording, or discard it."""
    ended = threading.Event()
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
