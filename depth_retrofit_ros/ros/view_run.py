"""One run of the viewer, from the start of its node to the signal that ends it."""

from __future__ import annotations

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from depth_retrofit_ros.ros.transport import configure_transport
from depth_retrofit_ros.ros.viewer import Sink, Viewer


def show(name: str, sink: Sink, width: int, rate_hz: float, domain: int | None) -> int:
    """View the node ``name`` until SIGINT; returns how many frames were shown. Raises what ``sink`` raises.

    width, rate_hz: see ``Viewer``. domain: None for that of the environment.
    """
    configure_transport()
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = Node("depth_retrofit_view", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    viewer = Viewer(node, name, sink, width, rate_hz)
    try:
        executor.spin()
    except KeyboardInterrupt:
        pass
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()
    return viewer.shown
