"""The ROS 2 node: images in, depth and points out. Callbacks only store the newest image; a worker does the rest.

Subscribes   image or image/compressed (raw ones: see `rectify`; unless `lazy` is false only while somebody listens to an output),
             camera_info; to align, and for models that take it: sparse_depth, sparse_points; for these without sparse_points_pose,
             for crop_frame and for motion_frame: /tf, /tf_static
Serves       reset, of its own name: the next image is taken as the first one
Publishes    ~/depth/image_rect, ~/depth/image_rect_raw, ~/depth/camera_info, ~/depth/preview, ~/depth/selection, ~/points,
             ~/normals, ~/normals/preview, ~/depth/confidence, ~/depth/confidence_8bit, ~/frame_stats, /diagnostics;
             with views from 2 on: ~/views/points, ~/views/poses;
             on request ~/depth/image_rect/compressedDepth, ~/depth/image_rect_raw/compressedDepth, ~/depth/preview/compressed,
             ~/disparity, ~/scan
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from depth_retrofit_ros import loading
from depth_retrofit_ros.coarse.engines.assign import engine_of
from depth_retrofit_ros.confidence.estimate_cpu import compile_confidence
from depth_retrofit_ros.device.launches import has_kernels
from depth_retrofit_ros.device.memory import release_memory
from depth_retrofit_ros.errors import DepthRetrofitError, GraphError, ModelError
from depth_retrofit_ros.io.raw_depth import compile_millimeters
from depth_retrofit_ros.pointcloud.normals import compile_normals
from depth_retrofit_ros.pointcloud.organized import compile_cloud
from depth_retrofit_ros.pointcloud.ray_table import compile_cloud_along
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.ros.health.diagnostics import Health, diagnostics
from depth_retrofit_ros.ros.health.package_log import package_log
from depth_retrofit_ros.ros.health.throttled_log import ThrottledLogger, one_line
from depth_retrofit_ros.ros.node import parameters
from depth_retrofit_ros.ros.node.inputs import Inputs
from depth_retrofit_ros.ros.node.parameters import Settings
from depth_retrofit_ros.ros.node.processor import Processor
from depth_retrofit_ros.ros.node.resilience import answer_every_request, told, unless_shut_down
from depth_retrofit_ros.ros.node.scale_fit import mode_refusal
from depth_retrofit_ros.ros.node.shared_method import SharedMethod
from depth_retrofit_ros.ros.transport.graph_checks import name_problems
from depth_retrofit_ros.ros.transport.outlet import COPIES, outlet, way_out
from depth_retrofit_ros.ros.transport.qos import SMALL_DEPTH, publish_to
from depth_retrofit_ros.runtime.derived_outputs import compile_derived
from depth_retrofit_ros.runtime.filtered_cloud import compile_filters
from depth_retrofit_ros.runtime.time_limit import TookTooLong, run_within
from depth_retrofit_ros.runtime.watchdog import FIRST_S, PATIENCE_S
from depth_retrofit_ros.temporal.settled import compile_settled

REPORT_S = 1.0
CONFIGURE_S = 600.0  # a slow disk, an export and a first compilation of every kernel take minutes; more is a device that hangs
FETCH_S = 6 * 3600.0  # where it may download before: gigabytes over a poor network
LEAVE_S = 3.0  # ros2 launch sends SIGTERM five seconds after SIGINT, and SIGKILL five after that

SUCCESS, FAILURE, ERROR = (getattr(TransitionCallbackReturn, name) for name in ("SUCCESS", "FAILURE", "ERROR"))


def load_retrofit(settings: Settings) -> Retrofit:
    """The method as the parameters describe it. Raises DepthRetrofitError."""
    weights = Path(settings.weights) if settings.weights else None
    return loading.load(
        settings.model,
        weights=weights,
        refiner=settings.refiner,
        budget=settings.budget,
        device=settings.device,
        engine=settings.engine,
        refiner_precision=settings.refiner_precision,
        cuda_graphs=settings.cuda_graphs,
        trust_scale=settings.trust_scale,
        coarse_size=settings.coarse_size,
        coarse_engine=settings.coarse_engine,
        coarse_precision=settings.coarse_precision,
        preset=settings.preset,
        entropy_threshold=settings.entropy_threshold,
        allow_download=settings.allow_download,
        views=settings.views,
        selector=settings.selector,
        second_model=settings.second_model or None,
        temporal=settings.temporal,
        suits=lambda info: mode_refusal(settings.align, info.name, info.claim, settings.views),
    )


class DepthNode(LifecycleNode):
    """configure: load and warm up; activate: subscribe and work; deactivate: stop; cleanup: release everything.

    load: makes the method from the parameters. shared: what gives it to the nodes of several cameras, by its own ``load``; None: to
    this one alone. patience_s, first_s: see ``Watchdog``. node_options: those of rclpy's Node (namespace, context,
    parameter_overrides, …).
    """

    def __init__(
        self,
        name: str = "depth_retrofit",
        *,
        load: Callable[[Settings], Retrofit] = load_retrofit,
        shared: SharedMethod | None = None,
        patience_s: float = PATIENCE_S,
        first_s: float = FIRST_S,
        **node_options: Any,
    ) -> None:
        super().__init__(name, **node_options)
        try:
            self._health = Health(parameters.declare(self))
            self.add_on_set_parameters_callback(self._on_set_parameters)
            self._shared = shared or SharedMethod(load)
            self._patience_s, self._first_s = patience_s, first_s
            self._log = ThrottledLogger(self.get_logger())
            self._processor: Processor | None = None
            self.has_abandoned = False
            """Whether a thread that never ended is left behind, with whatever it holds on to."""
            self.is_misconfigured = False
            """Whether the last failure to configure or activate was the user's, and would come again with these parameters."""
            self.leave_s = LEAVE_S
            """How long ``destroy_node`` waits for the image in work."""
            self.create_service(Trigger, "~/reset", self._on_reset)
            answer_every_request(self, self._log, self._health.note_fault)
            self._inputs = Inputs(self, self._health)
            self._diagnostics = publish_to(self, DiagnosticArray, "/diagnostics", SMALL_DEPTH)
            # The stamps in the report are the node's clock's, its pace is not: where a simulation stands still, or never starts,
            # there is something to report.
            steady = Clock(clock_type=ClockType.STEADY_TIME)
            # Where rclpy tells nothing of subscribers the first is how they are found, as is everywhere when to stop.
            for callback in (self._inputs.refresh, self._report, self._check_graph):
                self.create_timer(REPORT_S, callback, clock=steady)
        except BaseException:
            self._leave_graph()
            raise

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
        if not self._health.note_fault(error):
            self._log.failure(error)

    def on_transition_error(self, callback: str, error: Exception) -> None:
        """For ``told``: what a lifecycle callback of this node raised."""
        if not self._health.note_fault(error):
            self._log.event(f"{callback} failed: {one_line(error)}")

    def autostart(self) -> bool:
        """Configure and activate; False where either fails."""
        return self.trigger_configure() == SUCCESS and self.trigger_activate() == SUCCESS

    @told
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and check its answer to one image. Where that fails, one line says why; the node stays unconfigured."""
        self._health.load_error = ""
        try:
            limit_s = FETCH_S if self.settings.allow_download else CONFIGURE_S
            method, usual_s = run_within(
                limit_s, self._prepared, name="configure", every_s=REPORT_S, meanwhile=self._report_configuring
            )
            self._processor = Processor(
                self,
                method,
                self._health,
                self._log,
                partial(outlet, matched=self._inputs.refresh),
                patience_s=self._patience_s,
                first_s=self._first_s,
                usual_s=usual_s,
                common=self._shared.common,
            )
        except Exception as error:  # of whatever kind, from whichever driver or file: the node must live to tell it
            self._health.load_error = one_line(error)
            is_hung = isinstance(error, TookTooLong)
            self.has_abandoned = self.has_abandoned or is_hung
            if is_hung:
                self._shared.give_up(self.get_fully_qualified_name())
            self._leave_method()
            self.is_misconfigured = isinstance(error, DepthRetrofitError) and not is_hung
            if not self._health.note_fault(error):
                self.get_logger().error(f"cannot configure: {self._health.load_error}")
            return FAILURE
        finally:
            self._health.configuring_s = 0.0
        self._health.device, self._health.engine = method.coarse.device, method.refiner.backend_name
        self._health.coarse = method.coarse
        self._health.stage = "inactive"
        size = f", input {self._health.coarse_size}" if self._health.coarse_size else ""
        engines = f"coarse engine {engine_of(method.coarse)}, sparse backend {self._health.engine}"
        ready = f"{self._health.model} is ready on {self._health.device}{size}, {engines}"
        self.get_logger().info(f"{ready}; its depth is {method.coarse.claim}{', and trusted' if method.trust_scale else ''}")
        self._health.way_out = way_out()
        if self._health.way_out == COPIES:
            self.get_logger().info(f"images and clouds are published {self._health.way_out}")
        return SUCCESS

    @told
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe, and process what comes."""
        assert self._processor is not None  # configured
        try:
            self._processor.remember()
            self._inputs.open(self._processor)
        except (GraphError, ModelError) as error:
            self._inputs.close()
            self.is_misconfigured = True
            self.get_logger().error(f"cannot activate: {error}")
            return FAILURE
        self._processor.start()
        self._health.stage = "active"
        self.get_logger().info(f"waiting for {self._health.image_topic} and {self._health.info_topic}")
        return SUCCESS

    @told
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, finish the image in work; one that does not end is given up, and with it the model: unconfigured."""
        self._inputs.close()
        if self._processor is not None and not self._processor.stop():
            self._abandon()
            return ERROR
        self._health.stage = "inactive"
        return SUCCESS

    @told
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release model, buffers and publishers, and give their memory back."""
        self._release()
        self._give_memory_back()
        return SUCCESS

    @told
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The same, from any state."""
        self._release()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A transition raised: the same, and back to unconfigured; where that fails too, there is no way back."""
        try:
            self._release()
            self._give_memory_back()
        except Exception as error:
            self.on_transition_error("on_error", error)
            return FAILURE
        return SUCCESS

    def take_no_more(self) -> None:
        """Begin no image any more: before several nodes are destroyed, so that none waits for what another still begins."""
        if self._processor is not None:
            self._processor.take_no_more()

    def destroy_node(self) -> None:
        """Stop the worker before what it uses goes away, in no more than ``leave_s``: this is on the way out of the process."""
        self._release(at_most_s=self.leave_s)
        self._leave_graph()

    def _leave_graph(self) -> None:
        super().destroy_node()
        # By its lifecycle rclpy keeps the node on the graph until the garbage is collected: a next one would find its name taken.
        self._state_machine.destroy_when_not_in_use()

    def _abandon(self) -> None:
        self.has_abandoned = True
        self._shared.give_up(self.get_fully_qualified_name())
        self._health.load_error = "the image in work did not end and was given up with its model: configure and activate anew"
        self.get_logger().error(self._health.load_error)

    def _leave_method(self) -> None:
        self._shared.leave(self.get_fully_qualified_name())

    def _give_memory_back(self) -> None:
        # On a device that hangs even that may wait for ever; and what other cameras work with they would have to ask for anew.
        if not self.has_abandoned and self._shared.is_released:
            release_memory()

    def _release(self, at_most_s: float = math.inf) -> None:
        self._inputs.close()
        if self._processor is not None:
            processor, self._processor = self._processor, None
            if not processor.destroy(at_most_s):
                self._abandon()
            self._leave_method()
        self._health.stage, self._health.device, self._health.engine = "unconfigured", None, ""
        self._health.claim, self._health.coarse_size, self._health.loaded_model = None, None, ""
        self._health.coarse = None

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._processor is not None and self._processor.reset()
        told = "the next image is taken as the first one; calibration, counts and statistics stay"
        response.message = told if response.success else f"nothing is remembered: the node is {self._health.stage}"
        return response

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
        except Exception as error:  # an output whose QoS override means nothing, or whatever else
            super().set_parameters_atomically(before)
            self._health.note_fault(error)
            return SetParametersResult(successful=False, reason=one_line(error))
        return result

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        """Whether we accept; others may refuse still."""
        values = [(change.name, change.value) for change in changes]
        reason = parameters.refusal(values, self._health.stage)
        if reason is None and (claim := self._health.claim):
            after = self.settings.changed(values)
            reason = mode_refusal(after.align, self._health.model, claim, after.views)
        return SetParametersResult(successful=reason is None, reason=reason or "")

    def _apply(self, changes: list[Parameter]) -> None:
        """Raises whatever keeps the changes from being made, and then makes none."""
        before = self.settings
        self._health.settings = before.changed((change.name, change.value) for change in changes)
        try:
            if self._processor is not None and self.settings != before:
                self._processor.settings_changed()
                self._inputs.settings_changed(self._processor)
        except Exception:
            self._health.settings = before
            raise

    def _prepared(self) -> tuple[Retrofit, float]:
        """The method, warm, and what an image takes [s]."""
        with package_log(self.get_logger()):
            method = self._shared.take(self.get_fully_qualified_name(), self.settings)
        if reason := mode_refusal(self.settings.align, method.coarse.name, method.coarse.claim, self.settings.views):
            raise ModelError(reason)
        usual_s = self._shared.usual_s()
        compile_cloud()
        if self.settings.rectify == "points":
            compile_cloud_along()
        compile_millimeters()
        if self.settings.temporal:
            compile_settled()
        if "points" in self.settings.outputs and not has_kernels(method.coarse.device):
            compile_filters()
        compile_derived(self.settings.outputs)
        if method.coarse.device.type == "cpu":  # whatever the outputs: ``min_confidence`` may be set while images come
            compile_confidence()
        if method.coarse.device.type == "cpu" and any(name.startswith("normals") for name in self.settings.outputs):
            compile_normals()
        return method, usual_s

    def _report_configuring(self, seconds: float) -> None:
        self._health.configuring_s = seconds
        self._report()

    def _report(self) -> None:
        if self._processor is not None:
            self._processor.refresh()
        array = DiagnosticArray(status=diagnostics(self.get_fully_qualified_name(), self._health))
        array.header.stamp = self.get_clock().now().to_msg()
        with unless_shut_down(self):
            self._diagnostics.publish(array)

    def _check_graph(self) -> None:
        found = {"the name of this node": name_problems(self), **self._inputs.problems()}
        for concern, problems in found.items():
            self._log.state(concern, "; ".join(problems) or None)
        self._log.state("range of the outputs", parameters.without_a_range(self.settings))
        self._health.graph_problems = tuple(problem for problems in found.values() for problem in problems)
        self._health.lost = self._inputs.lost
