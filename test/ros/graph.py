"""A live ROS graph for tests: a context, a thread that spins it, and a client node that plays camera and listener."""

from __future__ import annotations

import array
import functools
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.refinement.base import Needs
from depth_retrofit_ros.refinement.nothing import NoRefiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.ros.node.node import DepthNode, load_retrofit
from depth_retrofit_ros.ros.node.parameters import Settings
from depth_retrofit_ros.ros.node.resilience import ResilientExecutor
from test.waiting import PATIENCE_S as PATIENCE_S
from test.waiting import wait_until as wait_until

NODE = "/depth_retrofit"
READER_HALF_S = 0.5  # for what a subscription in another process needs to know of a publisher; before it, best effort is lost


def repeat_until(action: Callable[[], object], condition: Callable[[], Any], what: str) -> None:
    """``action`` at 20 Hz, as a camera would."""

    def act_and_look() -> Any:
        action()
        time.sleep(0.05)
        return condition()

    wait_until(act_and_look, what)


class SlantedWall:
    """A coarse model whose answer is known: depth grows with the row, from 1 to 3, whatever the image shows.

    It can be held (``hold.clear()``), made to raise, and it counts its calls.
    """

    name = "slanted-wall"
    device = torch.device("cpu")

    def __init__(self, metric: bool = True, claim: ScaleClaim | None = None) -> None:
        self.claim = claim or (ScaleClaim("metric", "camera") if metric else ScaleClaim("disparity", "never"))
        self.calls = 0
        self.error: Exception | None = None
        self.hold = threading.Event()
        self.hold.set()

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        self.calls += 1
        assert self.hold.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        depth = torch.linspace(1.0, 3.0, 12)[:, None].expand(12, 16).contiguous()
        features = torch.rand(8, 12, 16, generator=torch.Generator().manual_seed(0))
        return CoarsePrediction(depth, features)


class Graph:
    """``with Graph() as graph:``; every node that it made is destroyed and the thread joined at the end."""

    def __enter__(self) -> Graph:
        self.context = Context()
        rclpy.init(context=self.context, signal_handler_options=SignalHandlerOptions.NO)
        self.errors: list[Exception] = []  # that callbacks raised, of the node under test or of a test
        self.executor = ResilientExecutor(self.errors.append, context=self.context)
        self.nodes: list[Node] = []
        self._clients: dict[str, Any] = {}
        self._logged: dict[Node, list[str]] = {}
        self.client = self.add(Node("client", context=self.context))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="spin")
        self._thread.start()
        return self

    def _spin(self) -> None:
        while self.context.ok() and not self._ended.is_set():
            self.executor.spin_once()

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self.executor.create_task(lambda: None)  # wakes it
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "a callback never returned"
        self.executor.shutdown()  # not before: rclpy's executor trips over its own end where it takes up a callback meanwhile
        for node in self.nodes:
            node.destroy_node()
        self.context.shutdown()
        assert not self.errors, f"a callback raised {self.errors!r}"

    def add(self, node: Any) -> Any:
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def depth_node(
        self, coarse: Any = None, *, start: bool = True, load: Callable[[Settings], Retrofit] = load_retrofit, **parameters: Any
    ) -> DepthNode:
        """A configured and active node with ``coarse``; without, with what ``load`` makes of its parameters."""
        name, cli_args = parameters.pop("name", "depth_retrofit"), parameters.pop("cli_args", None)
        if coarse is not None:
            load = functools.partial(small_retrofit, coarse)
        options = {key: parameters.pop(key) for key in ("patience_s", "first_s", "namespace", "shared") if key in parameters}
        parameters.setdefault("rectify", "false")  # the test camera's info has distortion, and its images are rectified
        overrides = [Parameter(key, value=value) for key, value in parameters.items()]
        node = DepthNode(name, load=load, parameter_overrides=overrides, context=self.context, cli_args=cli_args, **options)
        self._logged[node] = record(node.get_logger())
        if start:
            assert node.autostart()
        self.add(node)
        return node

    def listen(self, message_type: type, topic: str) -> list[Any]:
        """The messages on ``topic`` from now on."""
        received: list[Any] = []
        subscription = self.client.create_subscription(message_type, topic, received.append, QoSProfile(depth=100))
        wait_until(lambda: self.client.count_publishers(topic) > 0, f"a publisher of {topic}")
        # The graph knows of endpoints before they are connected; for an output without subscribers the node does no work.
        ours = [p for node in self.nodes for p in node.publishers if p.topic_name == subscription.topic_name]
        wait_until(lambda: all(p.get_subscription_count() > 0 for p in ours), f"a connection to {topic}")
        return received

    def publisher(self, message_type: type, topic: str, listeners: int = 1) -> Publisher:
        """A best-effort publisher, as drivers are, once ``listeners`` are there and know of it."""
        publisher = self.client.create_publisher(message_type, topic, qos_profile_sensor_data)
        wait_until(lambda: publisher.get_subscription_count() >= listeners, f"a listener on {topic}")
        # That was our half of the connection. Until a subscription has made its own, best effort is lost.
        readers = [s for node in self.nodes for s in node.subscriptions if s.topic_name == publisher.topic_name]
        if len(readers) >= listeners and hasattr(readers[0], "get_publisher_count"):  # not in Humble
            known = sum(other.topic_name == publisher.topic_name for other in self.client.publishers)
            wait_until(lambda: all(reader.get_publisher_count() >= known for reader in readers), f"the listener's half on {topic}")
        else:
            time.sleep(READER_HALF_S)
        return publisher

    def warnings(self, node: Node) -> list[str]:
        """What the node has logged at warning level or above.

        (/rosout would be the natural source, but within one process rcl sends what a node logs through the publisher of an earlier
        node of that name; and pytest's capture of stderr loses lines that are written while it is read.)
        """
        return list(self._logged[node])

    def infos(self, node: Node) -> list[str]:
        """What the node logs at info level from now on."""
        return record_info(node.get_logger())

    def set_parameter(self, node: Node, name: str, value: Any) -> SetParametersResult:
        """Through the service, as `ros2 param set` does it."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return self.call(SetParameters, f"{node.get_fully_qualified_name()}/set_parameters", request).results[0]

    def call_async(self, service_type: Any, name: str, request: Any) -> Any:
        """The future of a call; one client per service, which is found once."""
        if name not in self._clients:
            self._clients[name] = self.client.create_client(service_type, name)
        assert self._clients[name].wait_for_service(PATIENCE_S), f"no service {name}"
        return self._clients[name].call_async(request)

    def call(self, service_type: Any, name: str, request: Any) -> Any:
        """The response of a call."""
        future = self.call_async(service_type, name, request)
        wait_until(future.done, f"an answer of {name}")
        return future.result()


def record(logger: Any) -> list[str]:
    """The warnings and errors of ``logger`` from now on; they are logged as ever."""
    logged: list[str] = []
    warning, error = logger.warning, logger.error

    # Two functions: rclpy tells callers apart by their line, and lets each log at one level only.
    def record_warning(message: str) -> None:
        warning(message)
        logged.append(message)

    def record_error(message: str) -> None:
        error(message)
        logged.append(message)

    logger.warning, logger.error = record_warning, record_error
    return logged


def record_info(logger: Any) -> list[str]:
    """As ``record``, of what is no problem."""
    logged: list[str] = []
    info = logger.info

    def record(message: str) -> None:
        info(message)
        logged.append(message)

    logger.info = record
    return logged


class KeepCoarse(NoRefiner):
    """Asks for pixels and changes none: the node is tested here, not the method."""

    needs: Needs = "pixels"


def small_retrofit(coarse: Any, settings: Settings) -> Retrofit:
    return Retrofit(coarse, KeepCoarse(), settings.budget, settings.trust_scale)


def image_message(height: int = 48, width: int = 64, stamp_s: int = 100, frame_id: str = "camera_optical") -> Image:
    """A random rgb8 image."""
    pixels = np.random.default_rng(stamp_s).integers(0, 256, (height, width, 3), dtype=np.uint8)
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width, data=array.array("B", pixels.tobytes()))
    message.header.stamp.sec, message.header.stamp.nanosec, message.header.frame_id = stamp_s, 250_000_000, frame_id
    return message


def info_message(height: int = 48, width: int = 64) -> CameraInfo:
    info = CameraInfo(height=height, width=width, distortion_model="plumb_bob", d=[0.1, -0.2, 0.0, 0.0, 0.0])
    info.k = [50.0, 0.0, 30.0, 0.0, 55.0, 25.0, 0.0, 0.0, 1.0]
    info.p = [48.0, 0.0, 31.0, -4.8, 0.0, 52.0, 24.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    info.header.frame_id = "camera_optical"
    return info


def pixels_of(message: Any) -> np.ndarray:
    """A 32FC1 image as [H, W], a cloud as [h, w, 4] (float32), an rgb8 image as [H, W, 3]."""
    data = np.frombuffer(message.data, np.uint8)
    if hasattr(message, "point_step"):
        return data.view(np.float32).reshape(message.height, message.width, 4)
    if message.encoding == "32FC1":
        return data.view(np.float32).reshape(message.height, message.width)
    return data.reshape(message.height, message.width, 3)


def status(report: DiagnosticArray, concern: str) -> Any:
    """The status on one concern of the node under test."""
    return next(status for status in report.status if status.name == f"{NODE}: {concern}")


def value(report: DiagnosticArray, concern: str, key: str) -> str:
    return str(next(pair.value for pair in status(report, concern).values if pair.key == key))
