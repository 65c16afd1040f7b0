"""What the worker does with one image message: decode → depth → messages out, and the bookkeeping of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from rclpy._rclpy_pybind11 import RCLError
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import CameraError
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.retrofit import Begun, Retrofit
from depth_retrofit_ros.ros.health.diagnostics import FrameHealth, Health, frame_stats
from depth_retrofit_ros.ros.health.stream_checks import NO_CLOCK, StreamWatch, clock_problem
from depth_retrofit_ros.ros.health.throttled_log import Notices, one_line
from depth_retrofit_ros.ros.messages.calibration import camera_from_info
from depth_retrofit_ros.ros.messages.images import decode
from depth_retrofit_ros.ros.node.outputs import MakeDestination, Outputs
from depth_retrofit_ros.ros.node.scale_fit import ScaleAlignment
from depth_retrofit_ros.ros.transport.qos import publish_to
from depth_retrofit_ros.runtime.governor import BudgetGovernor
from depth_retrofit_ros.runtime.memory_guard import MemoryGuard, is_out_of_memory
from depth_retrofit_ros.runtime.worker import FrameCounts, Worker
from depth_retrofit_ros.scale.fit import Mode

if TYPE_CHECKING:
    from rclpy.node import Node
    from std_msgs.msg import Header

SAMPLED = 16  # every n-th pixel in both directions
GRACE_S = 2.0  # a camera_info or a clock that comes no later than this after activation is not worth a warning


@dataclass(frozen=True, slots=True)
class AtWork:
    """An image between the worker's two steps. info: as it was when the image was taken; begin_ms: what the first step took;
    begun: None where memory was too short for it."""

    header: Header
    info: CameraInfo | None
    frame: Frame
    begun: Begun | None
    decode_ms: float
    begin_ms: float


class Processor:
    """Owns the method, the outputs and, between ``start`` and ``stop``, the worker that calls them.

    info: the newest camera_info; the node's callback sets it. alignment: takes sparse depth; None where none is asked for.
    make: of each output's publisher.
    """

    def __init__(
        self, node: Node, retrofit: Retrofit, health: Health, notices: Notices, make: MakeDestination = publish_to
    ) -> None:
        self.info: CameraInfo | None = None
        self.alignment: ScaleAlignment | None = None
        self._node = node
        self._retrofit = retrofit
        self._health = health
        self._notices = notices
        self._outputs = Outputs(node, health.settings.outputs, make)
        self._guard = MemoryGuard()
        self._governor = BudgetGovernor()
        self._watch = StreamWatch(notices)
        self._worker: Worker[Image | CompressedImage, AtWork] | None = None
        self._started_s = 0.0

    # The executor's thread

    def start(self) -> None:
        """Begin to process what ``submit`` brings; counts and statistics begin anew."""
        settings = self._health.settings
        self.info, self.alignment = None, None
        if settings.align != "none":
            topics = f"{self._health.sparse_topics[0]} or {self._health.sparse_topics[1]}"
            self.alignment = ScaleAlignment(cast(Mode, settings.align), settings.sparse_points_pose, topics)
        self._health.frames = FrameHealth()
        self._governor = BudgetGovernor()
        self._watch = StreamWatch(self._notices)
        self._started_s = time.monotonic()
        name, overlap = self._node.get_name(), self._retrofit.overlaps
        self._worker = Worker(self._begin, self._finish, self._on_failure, settings.target_fps, name, overlap)
        self._worker.start()

    def submit(self, message: Image | CompressedImage) -> None:
        """Take an image in; never blocks. Where nobody listens to any output it is only counted."""
        if self._worker is None:
            return  # the executor had it in hand when the subscription was closed
        self._health.frames.statistics.arrived()
        self._health.frames.listened = self._outputs.wanted
        if self._health.frames.listened:
            self._worker.submit(message)
        else:
            self._health.frames.unheard += 1

    def answer(self, message: Image | CompressedImage) -> FrameCounts:
        """Take an image in and wait until it is answered, or has failed; for those who must not lose one. Returns the counts."""
        if self._worker is None:
            raise ValueError("the processor is stopped: start it first")
        self.submit(message)
        self._worker.wait_until_idle()
        return self._worker.counts()

    def offer(self, message: Image | PointCloud2) -> None:
        """Take sparse depth in."""
        if self.alignment is not None:
            self.alignment.offer(message)

    def settings_changed(self) -> None:
        """The outputs change and the rate limit applies at once, also to a wait in progress; the rest is read for each image."""
        self._outputs.choose(self._health.settings.outputs)
        if self._worker is not None:
            self._worker.rate_hz = self._health.settings.target_fps

    def refresh(self) -> None:
        """Bring the counts of ``Health`` up to date, and warn where camera_info or the simulated clock has not come in time."""
        if self._worker is None:
            return
        if time.monotonic() - self._started_s > GRACE_S:
            self._notices.state("/clock", NO_CLOCK if self._simulated and self._now_ns() == 0 else None)
        frames, missing = self._health.frames, _no_info(self._health.info_topic)
        frames.counts = self._worker.counts()
        if self.info is None:
            frames.calibration_problem = missing
        elif frames.calibration_problem == missing:
            frames.calibration_problem = None  # it has come; the next image will tell whether it fits
        frames.info_lost = self.info is not None and self._node.count_publishers(self._health.info_topic) == 0
        if frames.counts.received:
            self._note_calibration()

    def stop(self) -> None:
        """Finish the image in work, drop the one that waits, end the worker."""
        if self._worker is not None:
            self._worker.stop()
            self._health.frames.counts = self._worker.counts()
            self._worker = None

    def destroy(self) -> None:
        """Stop, and take the outputs from the graph."""
        self.stop()
        self._outputs.destroy()

    # The worker's thread

    def _begin(self, message: Image | CompressedImage) -> AtWork:
        """Decode, and start the coarse model; what it raises counts the image as failed."""
        start_s = time.perf_counter()
        image = decode(message)
        decode_ms = 1e3 * (time.perf_counter() - start_s)
        info = self.info
        frame = self._frame(image, message.header, info)
        try:
            begun = self._retrofit.begin(frame)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            begun = None  # once more when the frame before it is done, and has left its memory
        return AtWork(message.header, info, frame, begun, decode_ms, 1e3 * (time.perf_counter() - start_s))

    def _finish(self, work: AtWork) -> None:
        """The rest, to the last message out; what it raises counts the image as failed."""
        start_s = time.perf_counter()
        frame, header, settings = work.frame, work.header, self._health.settings
        governed = self._governor.budget(settings.target_fps, settings.budget, settings.least_budget)
        result = self._guard.run(governed, lambda budget: self._answer(work, budget))
        self._note_memory(governed)
        result = self._align(result, frame)
        self._note_scale(result)
        self._note_blank(result)

        with unless_shut_down(self._node):
            sent_ms = self._outputs.publish(frame, result, header, work.info, settings)
            age_ms = 1e-6 * (self._now_ns() - frame.stamp_ns)
            total_ms = work.begin_ms + 1e3 * (time.perf_counter() - start_s)
            times_ms = {"decode": work.decode_ms, **result.times_ms, **sent_ms, "total": total_ms}
            self._health.frames.statistics.answered(times_ms, age_ms)
            self._note_rate(result, total_ms, settings.target_fps)
            assert self._worker is not None  # it is joined before it is forgotten
            counts = self._worker.counts()
            publish_ms, budget = math.fsum(sent_ms.values()), self._retrofit.budget
            stats = frame_stats(header, result, settings.model, budget, counts, publish_ms, total_ms, age_ms)
            self._outputs.publish_stats(stats)

    def _answer(self, work: AtWork, budget: float) -> DepthFrame:
        self._retrofit.budget = budget
        return self._retrofit.finish(work.begun or self._retrofit.begin(work.frame))

    def _align(self, result: DepthFrame, frame: Frame) -> DepthFrame:
        if self.alignment is None:
            return result
        result, report = self.alignment.align(result, frame, relative=not self._retrofit.coarse.metric)
        self._health.frames.alignment = report
        # While the last correction holds, a frame without sparse depth of its own is no news.
        problem = f"depth is not aligned: {report.problem}" if report.correction is None else None
        self._notices.state("alignment of the depth", problem)
        return result

    def _frame(self, image: np.ndarray, header: Header, info: CameraInfo | None) -> Frame:
        stamp_ns = 1_000_000_000 * header.stamp.sec + header.stamp.nanosec
        camera, problem = _camera(info, image.shape[1], image.shape[0], self._health.info_topic)
        self._health.frames.calibration_problem, self._health.frames.camera = problem, camera
        self._note_calibration()
        self._watch.see(stamp_ns, header.frame_id)
        self._health.frames.clock_problem = clock_problem(stamp_ns, self._now_ns(), self._simulated)
        return Frame(image, stamp_ns, header.frame_id, camera)

    def _note_calibration(self) -> None:
        problem = self._health.frames.calibration_problem
        if problem and self.info is None and time.monotonic() - self._started_s < GRACE_S:
            return
        self._notices.state("camera_info", problem and f"{problem}: depth is published up to scale, the cloud is not")

    def _note_memory(self, asked: float) -> None:
        limit = self._guard.limit
        self._health.frames.budget_limit = limit
        problem = f"memory ran out: {limit:g} of the pixels are refined instead of {asked:g}; lower the budget or free memory"
        self._notices.state("memory", problem if limit < asked else None)

    def _note_rate(self, result: DepthFrame, total_ms: float, target_fps: float) -> None:
        times_ms = result.times_ms
        self._governor.took(self._retrofit.budget, times_ms.get("refine", 0.0) + times_ms.get("fuse", 0.0), total_ms)
        self._health.frames.budget = self._retrofit.budget
        self._health.frames.overloaded = self._governor.overloaded
        problem = f"target_fps {target_fps:g} cannot be held even at least_budget: lower either, or use a faster model or machine"
        self._notices.state("target_fps", problem if self._governor.overloaded else None)

    def _note_scale(self, result: DepthFrame) -> None:
        """Said apart from a missing camera_info, which takes the scale from any model."""
        self._health.frames.metric = result.metric
        relative = result.camera is not None and not result.metric
        model = self._health.settings.model
        problem = f"{model} gives relative depth: it is published up to an unknown scale, not in metres, and the cloud is not"
        self._notices.state("scale of the depth", problem if relative else None)

    def _note_blank(self, result: DepthFrame) -> None:
        """A few pixels are enough to tell a model that answers nothing: a half-precision overflow, a broken engine."""
        blank = not bool(result.depth[::SAMPLED, ::SAMPLED].isfinite().any())
        self._health.frames.blank = blank
        problem = f"{self._health.settings.model} answered no depth at all (NaN): try another image, checkpoint, or device cpu"
        self._notices.state("depth", problem if blank else None)

    @property
    def _simulated(self) -> bool:
        return bool(self._node.get_parameter("use_sim_time").value)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _on_failure(self, error: Exception) -> None:
        self._health.frames.last_failure = one_line(error)
        self._notices.failure(error)


def _camera(info: CameraInfo | None, width: int, height: int, topic: str) -> tuple[Camera | None, str | None]:
    """The intrinsics of an image of this size, or why there are none."""
    if info is None:
        return None, _no_info(topic)
    try:
        camera = camera_from_info(info, width, height)
    except CameraError as error:
        return None, str(error)
    return (camera, None) if camera else (None, f"camera_info on {topic} is all zeros (not calibrated)")


def _no_info(topic: str) -> str:
    return f"no camera_info on {topic}"


@contextmanager
def unless_shut_down(node: Node) -> Iterator[None]:
    """Publishing while a signal shuts the context down raises; that is no error of ours."""
    try:
        yield
    except RCLError:
        if node.context.ok():
            raise
