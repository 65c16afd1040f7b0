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
from depth_retrofit_ros.device.faults import is_device_fault
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
from depth_retrofit_ros.ros.node.resilience import answer_every_request, told
from depth_retrofit_ros.ros.node.scale_fit import mode_refusal
from depth_retrofit_ros.ros.transport.graph_checks import LossWatch, name_problems, type_problems
from depth_retrofit_ros.ros.transport.qos import SMALL_DEPTH, publish_to, subscribe_newest
from depth_retrofit_ros.runtime.self_check import self_check
from depth_retrofit_ros.runtime.watchdog import PATIENCE_S

REPORT_S = 1.0

SUCCESS, FAILURE, ERROR = (getattr(TransitionCallbackReturn, name) for name in ("SUCCESS", "FAILURE", "ERROR"))


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

    load: makes the method from the parameters. patience_s: see ``Watchdog``. node_options: those of rclpy's Node (namespace,
    context, parameter_overrides, …).
    """

    def __init__(
        self,
        name: str = "depth_retrofit",
        *,
        load: Callable[[Settings], Retrofit] = load_retrofit,
        patience_s: float = PATIENCE_S,
        **node_options: Any,
    ) -> None:
        super().__init__(name, **node_options)
        self._health = Health(parameters.declare(self))
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._load = load
        self._patience_s = patience_s
        self._log = ThrottledLogger(self.get_logger())
        self._losses = LossWatch()
        self._processor: Processor | None = None
        self.has_abandoned = False
        """Whether a thread that never ended is left behind, with whatever it holds on to."""
        answer_every_request(self, self._log)
        self._inputs: list[Subscription] = []
        self._diagnostics = publish_to(self, DiagnosticArray, "/diagnostics", SMALL_DEPTH)
        # The stamps in the report are the node's clock's, its pace is not: where a simulation stands still, or never starts, there
        # is something to report.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        for callback in (self._report, self._check_graph):
            self.create_timer(REPORT_S, callback, clock=steady)

    @property
    def settings(self) -> Settings:
        """The parameters as they are now."""
        return self._health.settings

    @property
    def device_fault(self) -> str:
        """Why this process can use its device no more, whatever it tries; empty where it can. Only a new process helps."""
        return self._health.device_fault

    def on_callback_error(self, error: Exception) -> None:
        """For the executor: what a callback of this node raised."""
        self._log.failure(error)

    def autostart(self) -> bool:
        """Configure and activate; False where either fails."""
        return self.trigger_configure() == SUCCESS and self.trigger_activate() == SUCCESS

    @told
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and check its answer to one image. Where that fails, one line says why; the node stays unconfigured."""
        self._health.load_error = ""
        try:
            method = self._load(self.settings)
            if reason := mode_refusal(self.settings.align, self.settings.model, method.coarse.claim):
                raise ModelError(reason)
            usual_s = self_check(method)
            compile_cloud()
            compile_millimeters()
            self._processor = Processor(self, method, self._health, self._log, patience_s=self._patience_s, usual_s=usual_s)
        except Exception as error:  # of whatever kind, from whichever driver or file: the node must live to tell it
            self._health.load_error = one_line(error)
            if is_device_fault(error):
                self._health.device_fault = self._health.load_error
            self.get_logger().error(f"cannot configure: {self._health.load_error}")
            return FAILURE
        self._health.device, self._health.engine = method.coarse.device, method.refiner.backend_name
        self._health.stage = "inactive"
        ready = f"{self.settings.model} is ready on {self._health.device}, sparse backend {self._health.engine}"
        self.get_logger().info(f"{ready}; its depth is {method.coarse.claim}{', and trusted' if method.trust_scale else ''}")
        return SUCCESS

    @told
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

    @told
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, finish the image in work; one that does not end is given up, and with it the model: unconfigured."""
        self._unsubscribe()
        if self._processor is not None and not self._processor.stop():
            self._abandon()
            return ERROR
        self._health.stage = "inactive"
        return SUCCESS

    @told
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release model, buffers and publishers, and give their memory back."""
        self._release()
        release_memory()
        return SUCCESS

    @told
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The same, from any state."""
        self._release()
        return SUCCESS

    @told
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A transition raised: the same, and back to unconfigured."""
        self._release()
        release_memory()
        return SUCCESS

    def destroy_node(self) -> None:
        """Stop the worker before what it uses goes away."""
        self._release()
        super().destroy_node()

    def _abandon(self) -> None:
        self.has_abandoned = True
        self._health.load_error = "the image in work did not end and was given up with its model: configure and activate anew"
        self.get_logger().error(self._health.load_error)

    def _release(self) -> None:
        self._unsubscribe()
        if self._processor is not None:
            if not self._processor.destroy():
                self._abandon()
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
        self._losses = losses = LossWatch()

        def on_image(message: Image | CompressedImage) -> None:
            losses.arrived()
            processor.submit(message)

        self._health.image_topic = self._listen(CompressedImage if compressed else Image, topic, on_image, losses.lost)

    def _listen(
        self, message_type: type, topic: str, callback: Callable[[Any], None], lost: Callable[[int], None] | None = None
    ) -> str:
        """Subscribe; returns the topic's full name after remapping. Raises GraphError."""
        subscription = subscribe_newest(self, message_type, topic, callback, lost)
        self._inputs.append(subscription)
        return subscription.topic_name

    def _unsubscribe(self) -> None:
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs.clear()

    def set_parameters(self, parameter_list: list[Parameter]) -> list[SetParametersResult]:
        """See rclpy's Node: one by one."""
        return [self.set_parameters_atomically([change]) for change in parameter_list]

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """See rclpy's Node; the services come through here too. Applied when all callbacks, ours and others', have accepted.

        (Humble has neither pre-set nor post-set callbacks.)
        """
        for change in parameter_list:
            if reason := parameters.renamed(change.name):
                return SetParametersResult(successful=False, reason=reason)
        changes = parameters.converted(parameter_list)
        before = [self.get_parameter(change.name) for change in changes if change.name in parameters.NAMES]
        result = super().set_parameters_atomically(changes)
        if not result.successful:
            return result
        try:
            self._apply(changes)
        except GraphError as error:  # an output whose QoS override means nothing
            super().set_parameters_atomically(before)
            return SetParametersResult(successful=False, reason=str(error))
        return result

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        """Whether we accept; others may refuse still."""
        values = [(change.name, change.value) for change in changes]
        reason = parameters.refusal(values, self._health.stage)
        if reason is None and (claim := self._health.claim):
            after = self.settings.changed(values)
            reason = mode_refusal(after.align, after.model, claim)
        return SetParametersResult(successful=reason is None, reason=reason or "")

    def _apply(self, changes: list[Parameter]) -> None:
        """Raises GraphError, and then changes nothing."""
        before = self.settings
        self._health.settings = before.changed((change.name, change.value) for change in changes)
        try:
            if self._processor is not None and self.settings != before:
                self._processor.settings_changed()
        except GraphError:
            self._health.settings = before
            raise

    def _report(self) -> None:
        if self._processor is not None:
            self._processor.refresh()
        array = DiagnosticArray(status=diagnostics(self.get_fully_qualified_name(), self._health))
        array.header.stamp = self.get_clock().now().to_msg()
        with unless_shut_down(self):
            self._diagnostics.publish(array)

    def _check_graph(self) -> None:
        found = {
            "the name of this node": name_problems(self),
            "types on the graph": type_problems(self, self._inputs),
            "transport of the images": self._losses.check(self._health.image_topic) if self._inputs else [],
        }
        for concern, problems in found.items():
            self._log.state(concern, "; ".join(problems) or None)
        self._health.graph_problems = tuple(problem for problems in found.values() for problem in problems)
        self._health.lost = self._losses.total
