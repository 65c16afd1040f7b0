"""The ROS 2 node: images in, depth and points out. Callbacks only store the newest image; a worker does the rest.

Subscribes   image or image/compressed (rectified), camera_info; to align: sparse_depth, sparse_points
Publishes    ~/depth/image_rect, ~/depth/image_rect_raw, ~/depth/camera_info, ~/depth/preview, ~/depth/selection, ~/points,
             ~/frame_stats, /diagnostics
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from depth_retrofit_ros import retrofit
from depth_retrofit_ros.device.memory import release_memory
from depth_retrofit_ros.errors import GraphError, ModelError
from depth_retrofit_ros.io.raw_depth import compile_millimeters
from depth_retrofit_ros.pointcloud.organized import compile_cloud
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.ros.health.diagnostics import Health, diagnostics
from depth_retrofit_ros.ros.health.throttled_log import ThrottledLogger, one_line
from depth_retrofit_ros.ros.node import parameters
from depth_retrofit_ros.ros.node.parameters import Settings
from depth_retrofit_ros.ros.node.processor import Processor, unless_shut_down
from depth_retrofit_ros.ros.node.scale_fit import mode_refusal
from depth_retrofit_ros.ros.transport.qos import SMALL_DEPTH, publish_to, subscribe_newest
from depth_retrofit_ros.runtime.self_check import self_check

REPORT_S = 1.0

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


def load_retrofit(settings: Settings) -> Retrofit:
    """The method as the parameters describe it. Raises DepthRetrofitError."""
    weights, refiner = (Path(path) if path else None for path in (settings.weights, settings.refiner))
    return retrofit.load(
        settings.model,
        weights=weights,
        refiner=refiner,
        budget=settings.budget,
        device=settings.device,
        engine=settings.engine,
        cuda_graphs=settings.cuda_graphs,
        trust_scale=settings.trust_scale,
    )


class DepthNode(LifecycleNode):
    """configure: load and warm up; activate: subscribe and work; deactivate: stop; cleanup: release everything.

    load: makes the method from the parameters. node_options: those of rclpy's Node (namespace, context, parameter_overrides, …).
    """

    def __init__(
        self, name: str = "depth_retrofit", *, load: Callable[[Settings], Retrofit] = load_retrofit, **node_options: Any
    ) -> None:
        super().__init__(name, **node_options)
        self._health = Health(parameters.declare(self))
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._load = load
        self._log = ThrottledLogger(self.get_logger())
        self._processor: Processor | None = None
        self._inputs: list[Subscription] = []
        self._diagnostics = publish_to(self, DiagnosticArray, "/diagnostics", SMALL_DEPTH)
        # The stamps in the report are the node's clock's, its pace is not: where a simulation stands still, or never starts, there
        # is something to report.
        self._timer = self.create_timer(REPORT_S, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def settings(self) -> Settings:
        """The parameters as they are now."""
        return self._health.settings

    def autostart(self) -> bool:
        """Configure and activate; False where either fails."""
        return self.trigger_configure() == SUCCESS and self.trigger_activate() == SUCCESS

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and check its answer to one image. Where that fails, one line says why; the node stays unconfigured."""
        self._health.load_error = ""
        try:
            method = self._load(self.settings)
            if reason := mode_refusal(self.settings.align, self.settings.model, method.coarse.claim):
                raise ModelError(reason)
            self_check(method)
            compile_cloud()
            compile_millimeters()
            self._processor = Processor(self, method, self._health, self._log)
        except Exception as error:  # of whatever kind, from whichever driver or file: the node must live to tell it
            self._health.load_error = one_line(error)
            self.get_logger().error(f"cannot configure: {self._health.load_error}")
            return FAILURE
        self._health.device, self._health.engine = method.coarse.device, method.refiner.backend_name
        self._health.stage = "inactive"
        ready = f"{self.settings.model} is ready on {self._health.device}, sparse engine {self._health.engine}"
        self.get_logger().info(f"{ready}; its depth is {method.coarse.claim}{', and trusted' if method.trust_scale else ''}")
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe, and process what comes."""
        assert self._processor is not None  # configured
        try:
            self._subscribe(self._processor)
        except GraphError as error:
            self._unsubscribe()
            self.get_logger().error(f"cannot activate: {error}")
            return FAILURE
        self._processor.start()
        self._health.stage = "active"
        self.get_logger().info(f"waiting for {self._health.image_topic} (rectified) and {self._health.info_topic}")
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, finish the image in work."""
        self._unsubscribe()
        if self._processor is not None:
            self._processor.stop()
        self._health.stage = "inactive"
        return SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release model, buffers and publishers, and give their memory back."""
        self._release()
        release_memory()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The same, from any state."""
        self._release()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A transition raised: the same, and back to unconfigured."""
        self._release()
        release_memory()
        return SUCCESS

    def destroy_node(self) -> None:
        """Stop the worker before what it uses goes away."""
        self._release()
        super().destroy_node()

    def _release(self) -> None:
        self._unsubscribe()
        if self._processor is not None:
            self._processor.destroy()
            self._processor = None
        self._health.stage, self._health.device, self._health.engine = "unconfigured", None, ""
        self._health.claim = None

    def _subscribe(self, processor: Processor) -> None:
        def on_info(info: CameraInfo) -> None:
            processor.info = info

        compressed = self.settings.image_transport == "compressed"
        # As image_transport does it: the base topic is remapped, then the transport's suffix follows.
        topic = self.resolve_topic_name("image") + ("/compressed" if compressed else "")
        # camera_info and sparse depth first, so that they are there when the first image is.
        self._health.info_topic = self._listen(CameraInfo, "camera_info", on_info)
        self._health.sparse_topics = ()
        if self.settings.align != "none":
            sparse = ((Image, "sparse_depth"), (PointCloud2, "sparse_points"))
            self._health.sparse_topics = tuple(self._listen(kind, name, processor.offer) for kind, name in sparse)
        self._health.image_topic = self._listen(CompressedImage if compressed else Image, topic, processor.submit)

    def _listen(self, message_type: type, topic: str, callback: Callable[[Any], None]) -> str:
        """Subscribe; returns the topic's full name after remapping. Raises GraphError."""
        subscription = subscribe_newest(self, message_type, topic, callback)
        self._inputs.append(subscription)
        return subscription.topic_name

    def _unsubscribe(self) -> None:
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs.clear()

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        reason = parameters.refusal(((change.name, change.value) for change in changes), self._health.stage)
        if reason is not None:
            return SetParametersResult(successful=False, reason=reason)
        before = self.settings
        after = before.changed((change.name, change.value) for change in changes)
        claim = self._health.claim
        if claim and (reason := mode_refusal(after.align, after.model, claim)):
            return SetParametersResult(successful=False, reason=reason)
        self._health.settings = after
        if self.settings == before:  # such as the QoS overrides that a new publisher declares, from within this very callback
            return SetParametersResult(successful=True)
        try:
            if self._processor is not None:
                self._processor.settings_changed()
        except GraphError as error:  # an output whose QoS override means nothing
            self._health.settings = before
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _report(self) -> None:
        if self._processor is not None:
            self._processor.refresh()
        array = DiagnosticArray(status=diagnostics(self.get_fully_qualified_name(), self._health))
        array.header.stamp = self.get_clock().now().to_msg()
        with unless_shut_down(self):
            self._diagnostics.publish(array)
