"""What is noted of each frame while it passes: for the diagnostics, and in the log where its state changes."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.device.cuda_streams import Download
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.ros.health.diagnostics import FrameHealth, Health, not_aligned
from depth_retrofit_ros.ros.health.stream_checks import NO_CLOCK, StreamWatch, clock_problem
from depth_retrofit_ros.ros.health.throttled_log import ThrottledLogger, one_line
from depth_retrofit_ros.runtime.watchdog import FAILING, FIRST
from depth_retrofit_ros.runtime.worker import FrameCounts
from depth_retrofit_ros.selection.threshold import CAP

if TYPE_CHECKING:
    from rclpy.node import Node

    from depth_retrofit_ros.ros.messages.rectification import Rectified
    from depth_retrofit_ros.ros.node.camera_infos import MatchedInfo
    from depth_retrofit_ros.ros.node.scale_fit import ScaleReport

SAMPLED = 16  # every n-th pixel in both directions
REASONS = 20  # that are remembered as told; frames of TF may have any names
GRACE_S = 2.0  # a camera_info or a clock that comes no later than this after activation is not worth a warning


class FrameMonitor:
    """The bookkeeping beside the steps of ``Processor``: one per activation, from which on it counts anew.

    claim: of the model; ``health`` loses its own when the node is cleaned up, and an abandoned frame may end after that.
    """

    def __init__(self, node: Node, health: Health, log: ThrottledLogger, claim: ScaleClaim) -> None:
        self._node = node
        self._health = health
        self._log = log
        self._claim = claim
        self._watch = StreamWatch(log)
        self._started_s = time.monotonic()
        self._has_info = False
        self._scale_problem: str | None = None
        self._told_motion: set[str] = set()  # reasons, without their numbers
        self._sample: Download | None = None  # made with the first answer, which knows the device
        self._frames = health.frames = FrameHealth()  # ours, whoever comes after us: an abandoned frame may end late

    def arrived(self, subscribed: bool) -> None:
        """An image came in; subscribed: whether anybody wants an answer."""
        frames = self._frames
        frames.statistics.arrived()
        frames.subscribed = subscribed
        if not subscribed:
            frames.unsubscribed += 1

    def decoded(self, frame: Frame, calibration_problem: str | None, has_info: bool) -> None:
        """An image became a frame. calibration_problem: why it has no intrinsics; has_info: whether camera_info came at all."""
        assert frame.stamp_ns is not None  # a message has one
        frames = self._frames
        self._has_info = has_info
        frames.calibration_problem, frames.camera = calibration_problem, frame.camera
        self._tell_calibration()
        self._watch.see(frame.stamp_ns, frame.frame_id)
        frames.clock_problem = clock_problem(frame.stamp_ns, self.now_ns(), self._simulated)

    def matched(self, info: MatchedInfo) -> None:
        """The image's camera_info was looked for. That none is of its time is told once, and counted; the diagnostics go on."""
        frames = self._frames
        frames.info = info
        self._log.state("frame of camera_info", info.frame_problem)
        if info.stamp_problem:
            frames.unmatched += 1
            if frames.unmatched == 1:
                self._log.event(info.stamp_problem)

    def rectified(self, how: Rectified) -> None:
        """How the frame's image was rectified."""
        self._frames.rectification, self._frames.rectification_doubt = how.told, how.doubt
        self._log.state("rectification", how.doubt)

    def warmed_up(self, size: tuple[int, int], camera: Camera | None, took_s: float, count: int) -> None:
        """The device was made ready for images of this size (H, W). count: how often it was, for any."""
        height, width = size
        self._frames.warm_ups = count
        kind = f"{width}x{height} images, camera_info {'known' if camera else 'unknown'}"
        self._node.get_logger().info(f"warmed up in {took_s:.1f} s, once for {kind}")

    def prompted(self, problem: str | None, age_s: float | None) -> None:
        """The frame's sparse depth was looked for, for a model that takes it. problem, age_s: see ``Prompt``."""
        self._frames.prompt_problem, self._frames.prompt_age_s = problem, age_s

    def refined(self, result: DepthFrame, asked: float, limit: float, remembered: int | None) -> None:
        """A frame has its depth. asked: the budget that the governor chose; limit: the largest that memory allows at present;
        remembered: frames that the model remembers, None of one that never does."""
        self._frames.budget_limit, self._frames.remembered = limit, remembered
        problem = f"memory ran out: {limit:g} of the pixels are refined instead of {asked:g}; lower the budget or free memory"
        self._log.state("memory", problem if limit < asked else None)
        self._frames.left_out = result.selection.left_out
        if result.selection.left_out:
            told = f"more pixels are uncertain than are refined, which are {CAP:g} times the budget at most"
            self._log.event(f"{told}: raise it, or entropy_threshold")
        self._tell_blank(result)

    def moved(self, problem: str | None) -> None:
        """The camera's motion was asked of TF. problem: why the images alone told it, None where TF did: a reason is told once, and
        counted; the diagnostics go on."""
        frames = self._frames
        frames.motion_problem = problem
        if problem is None:
            return
        frames.motion_missed += 1
        if (kind := without_numbers(problem)) not in self._told_motion:
            self._told_motion = {kind, *self._told_motion} if len(self._told_motion) < REASONS else {kind}
            self._log.event(f"the camera's motion is told by the images alone: {problem}")

    def scaled(self, result: DepthFrame, alignment: ScaleReport | None) -> None:
        """The depth's scale is final. alignment: what came of that with sparse depth, None where none is asked for; while the last
        correction holds, a frame without sparse depth of its own is no news."""
        frames = self._frames
        frames.answered, frames.scale_source, frames.alignment = True, result.scale_source, alignment
        if alignment is not None:
            problem = None if alignment.correction else f"depth is {not_aligned(alignment.problem, result.scale_source)}"
        elif frames.prompt_problem and not result.metric:
            problem = f"depth is relative, not in metres: {frames.prompt_problem}"
        elif result.camera is None and not result.metric:
            return  # told as such, and it says nothing about the model
        else:
            problem = None if result.metric else relative_depth(self._health.model, self._claim)
        if problem is None or without_numbers(problem) != without_numbers(self._scale_problem or ""):
            self._scale_problem = problem  # a residual that is another with every frame is no news
        self._log.state("scale of the depth", self._scale_problem)

    def published(self, times_ms: Mapping[str, float], age_ms: float, budget: float, overloaded: bool) -> None:
        """A frame is answered. times_ms: of its stages, ``total`` among them; budget: with which it was refined."""
        frames, target_fps = self._frames, self._health.settings.target_fps
        frames.statistics.answered(times_ms, age_ms)
        frames.budget, frames.overloaded = budget, overloaded
        problem = f"target_fps {target_fps:g} cannot be held even at min_budget: lower either, or use a faster model or machine"
        self._log.state("target_fps", problem if overloaded else None)

    def sent(self, failed: Mapping[str, Exception]) -> None:
        """A frame went out, but for these of its outputs."""
        self._frames.missing_outputs = {name: one_line(error) for name, error in failed.items()}
        for name, error in failed.items():
            self._frames.last_failure = f"{name} alone: {one_line(error)}"
            if not self._health.note_fault(error):
                self._log.event(f"a frame goes out without {name}: {one_line(error)}")

    def failed(self, error: Exception) -> None:
        """A frame has no answer. Where no later one can have one either, the node's main ends the process, and says so itself."""
        self._frames.last_failure = one_line(error)
        if not self._health.note_fault(error):
            self._log.failure(error)

    def watched(self, problem: str | None) -> None:
        """What the watchdog says."""
        self._frames.first_takes = problem if problem == FIRST else None
        self._frames.no_answer = {FIRST: None, FAILING: f"{FAILING}: {self._frames.last_failure}"}.get(problem or "", problem)
        # Failures have lines of their own in the log, each text one.
        self._log.state("answering the images", None if problem == FAILING else problem)

    def refresh(self, counts: FrameCounts, has_info: bool) -> None:
        """Bring ``Health`` up to date between frames, and warn where camera_info or the simulated clock has not come in time."""
        if time.monotonic() - self._started_s > GRACE_S:
            self._log.state("/clock", NO_CLOCK if self._simulated and self.now_ns() == 0 else None)
        frames, missing = self._frames, no_info(self._health.info_topic)
        frames.counts, self._has_info = counts, has_info
        if not has_info:
            frames.calibration_problem = missing
        elif frames.calibration_problem == missing:
            frames.calibration_problem = None  # it has come; the next image will tell whether it fits, and the log
        frames.info_lost = has_info and self._node.count_publishers(self._health.info_topic) == 0
        if counts.received and not has_info:
            self._tell_calibration()

    def ended(self, counts: FrameCounts) -> None:
        """The last counts of this activation."""
        self._frames.counts = counts

    def now_ns(self) -> int:
        """The node's clock."""
        return int(self._node.get_clock().now().nanoseconds)

    @property
    def _simulated(self) -> bool:
        return bool(self._node.get_parameter("use_sim_time").value)

    def _tell_calibration(self) -> None:
        problem = self._frames.calibration_problem
        if problem and not self._has_info and time.monotonic() - self._started_s < GRACE_S:
            return
        aligned = self._health.settings.align != "none" or self._claim.word == "sensor"
        depth = "depth is in metres by sparse_depth alone" if aligned else "depth is published up to scale"
        self._log.state("camera_info", problem and f"{problem}: {depth}, the cloud is not published")

    def _tell_blank(self, result: DepthFrame) -> None:
        """A few pixels are enough to tell a model that answers nothing: a half-precision overflow, a broken engine."""
        if self._sample is None:
            self._sample = Download(result.depth.device)
        blank = not self._sample(result.depth[::SAMPLED, ::SAMPLED].isfinite().any()).values()
        self._frames.blank = blank
        problem = f"{self._health.model} answered no depth at all (NaN): try another image, checkpoint, or device cpu"
        self._log.state("depth", problem if blank else None)


def relative_depth(model: str, claim: ScaleClaim) -> str:
    """Why a model's depth is relative although the camera is known, and what to do."""
    relative = (
        f"{model} is {claim}: depth is relative, not in metres, and there is no cloud; "
        "set align to scale-shift and give sparse_depth or sparse_points"
    )
    if not claim.needs_trust:
        return relative
    seen = "is that one" if claim.word == "one camera" else "sees just these"
    return f"{relative}, or set trust_scale to true if the camera {seen}"


def without_numbers(text: str) -> str:
    """To compare two problems' kinds."""
    return re.sub(r"\d+", "", text)


def no_info(topic: str) -> str:
    """Why there are no intrinsics where no camera_info came."""
    return f"no camera_info on {topic}"
