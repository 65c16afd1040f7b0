"""What becomes of one image message, step by step: decode → launch → refine → collect → scale → publish."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.input_size import size_of
from depth_retrofit_ros.coarse.past import forget, remembered_by
from depth_retrofit_ros.coarse.window import ViewWindow
from depth_retrofit_ros.device.faults import is_out_of_memory
from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.reconstruction.refined_view import ViewRefiner
from depth_retrofit_ros.retrofit import InFlightFrame, RefiningFrame, Retrofit
from depth_retrofit_ros.ros.health.diagnostics import Health, frame_stats
from depth_retrofit_ros.ros.health.monitor import FrameMonitor
from depth_retrofit_ros.ros.health.throttled_log import ThrottledLogger
from depth_retrofit_ros.ros.messages.images import check_layout, decode
from depth_retrofit_ros.ros.messages.stamps import nanoseconds
from depth_retrofit_ros.ros.node.calibrations import Calibrations
from depth_retrofit_ros.ros.node.camera_motion import motions_by_tf
from depth_retrofit_ros.ros.node.crop_frame import crops_by_tf
from depth_retrofit_ros.ros.node.in_flight import DecodedImage, InFlightImage
from depth_retrofit_ros.ros.node.outputs import MakeDestination, Outputs
from depth_retrofit_ros.ros.node.parameters import NO_POSE
from depth_retrofit_ros.ros.node.prompts import NO_PROMPT, Prompts
from depth_retrofit_ros.ros.node.resilience import unless_shut_down
from depth_retrofit_ros.ros.node.scale_fit import ScaleFitter
from depth_retrofit_ros.ros.node.shared_method import Common
from depth_retrofit_ros.ros.node.sparse_input import SparseInput
from depth_retrofit_ros.ros.node.tf_listener import missing
from depth_retrofit_ros.ros.node.transforms import Transforms
from depth_retrofit_ros.ros.node.views import window_of
from depth_retrofit_ros.ros.transport.outlet import outlet
from depth_retrofit_ros.runtime.governor import BudgetGovernor
from depth_retrofit_ros.runtime.memory_guard import MemoryGuard
from depth_retrofit_ros.runtime.warm_sizes import WarmSizes
from depth_retrofit_ros.runtime.watchdog import FIRST_S, PATIENCE_S, Watchdog
from depth_retrofit_ros.runtime.worker import FrameCounts, Worker
from depth_retrofit_ros.scale.fit import Mode
from depth_retrofit_ros.temporal.settled import compile_settled
from depth_retrofit_ros.temporal.steadiness import Steadiness

if TYPE_CHECKING:
    from rclpy.node import Node

    from depth_retrofit_ros.ros.node.parameters import Settings


class Processor:
    """Owns the method, the outputs and, between ``start`` and ``stop``, the worker that takes images through the steps.

    transforms: for whoever needs one frame in another; the node feeds it while ``needs_transforms``.
    make: of each output's publisher. patience_s, first_s: see ``Watchdog``. usual_s: what an image is thought to take until one is
    answered. common: shared with the processors of other cameras, whose methods have the same networks; None: with nobody.
    """

    def __init__(
        self,
        node: Node,
        retrofit: Retrofit,
        health: Health,
        log: ThrottledLogger,
        make: MakeDestination = outlet,
        *,
        patience_s: float = PATIENCE_S,
        first_s: float = FIRST_S,
        usual_s: float = 0.0,
        common: Common | None = None,
    ) -> None:
        self.transforms = Transforms(missing())
        self._calibrations = Calibrations(health)
        self._has_image = False  # one that can be read came since the start
        self._size: tuple[int, int] | None = None  # of the first (H, W), where its header tells
        self._is_to_forget = threading.Event()
        self._sparse: SparseInput | None = None
        self._prompts: Prompts | None = None
        self._alignment: ScaleFitter | None = None
        self._node = node
        self._retrofit = retrofit
        self._common = common or Common(retrofit)
        self._health = health
        self._log = log
        self._patience_s = patience_s
        self._first_s = first_s if retrofit.compiles_for_size else patience_s
        self._expected_s = usual_s
        views = isinstance(retrofit.coarse, ViewWindow)
        self._outputs = Outputs(node, health.settings.outputs, make, views, self.transforms)
        of_model = retrofit.coarse.name, retrofit.coarse.claim
        self._view_refiner = ViewRefiner(*of_model, retrofit.refiner, retrofit.budget, parts=retrofit.parts)
        self._sizes = WarmSizes(retrofit)
        self._guard = MemoryGuard()
        self._governor = BudgetGovernor()
        self._monitor = FrameMonitor(node, health, log, retrofit.coarse.claim)
        self._watchdog = Watchdog(patience_s, self._first_s)
        self._worker: Worker[Any, InFlightImage] | None = None  # of messages, which it decodes
        # Last: only of a processor that there is.
        health.loaded_model, health.coarse_size = retrofit.coarse.name, size_of(retrofit.coarse)
        health.claim = retrofit.coarse.claim

    @property
    def wants_sparse(self) -> bool:
        """Whether sparse depth is of use: to align depth by, or to the model."""
        return self._health.settings.align != "none" or self._retrofit.uses_sparse

    @property
    def needs_transforms(self) -> bool:
        """Whether TF is of use: to sparse points, the cloud's box, or the camera's motion. It may change with any parameter."""
        settings = self._health.settings
        follows = settings.temporal and bool(settings.motion_frame)
        return (self.wants_sparse and settings.sparse_points_pose == NO_POSE) or crops_by_tf(settings) or follows

    @property
    def wants_images(self) -> bool:
        """Whether an image is of use: to whoever listens or, once, to be warmed up for."""
        return self._outputs.wanted or not self._has_image

    @property
    def info(self) -> CameraInfo | None:
        """The newest camera_info."""
        return self._calibrations.newest

    # The executor's thread

    def remember(self) -> None:
        """What earlier images leave for later ones begins anew, or is left off. Raises ModelError where it cannot be."""
        self._retrofit.temporal = Steadiness() if self._health.settings.temporal else None
        if self._retrofit.temporal is not None:
            compile_settled()

    def start(self) -> None:
        """Begin to process what ``submit`` brings; counts and statistics begin anew."""
        settings = self._health.settings
        self._calibrations.forget()
        self._has_image, self._size, self._sparse = False, None, None
        if self.wants_sparse:
            topics = " or ".join(self._health.sparse_topics)
            self._sparse = SparseInput(settings.sparse_points_pose, topics, self.transforms)
        self._begin_scale(settings)
        self._governor = BudgetGovernor()
        self._is_to_forget.clear()
        self._monitor = FrameMonitor(self._node, self._health, self._log, self._retrofit.coarse.claim)
        self._watchdog = Watchdog(self._patience_s, self._first_s)
        name, overlap = self._node.get_name(), self._retrofit.overlaps
        steps = self._launch, self._collect, self._monitor.failed
        self._worker = Worker(
            *steps, settings.target_fps, name, overlap, self._refine, prepare=self._decode, thread=self._common.thread
        )
        self._common.enter(self)
        self._worker.start()

    def submit(self, message: Image | CompressedImage) -> None:
        """Take an image in; never blocks. Where nobody subscribes to any output it is only counted."""
        if self._worker is None:
            return  # the executor had it in hand when the subscription was closed
        self._note_first(message)
        subscribed = self._outputs.wanted
        self._monitor.arrived(subscribed)
        if subscribed:
            self._worker.submit(message)
        elif isinstance(message, Image) and self._is_to_warm_up_for(message):
            self._worker.run_when_idle(partial(self._warm_up_unasked, message.height, message.width))

    def answer(self, message: Image | CompressedImage) -> FrameCounts:
        """Take an image in and wait until it is answered, or has failed; for those who must not lose one. Returns the counts."""
        if self._worker is None:
            raise ValueError("the processor is stopped: start it first")
        self.submit(message)
        self._worker.wait_until_idle()
        return self._worker.counts()

    def offer_info(self, info: CameraInfo) -> None:
        """Take a camera_info in. After the first image, whose size is warm without a camera alone, it warms up for that."""
        self._calibrations.offer(info)
        if self._worker is not None and self._size and self._sizes.is_wanted(*self._size, True) and not self._outputs.wanted:
            self._worker.run_when_idle(partial(self._warm_up_unasked, *self._size))

    def reset(self) -> bool:
        """Have the next image taken as the first one: all that is remembered between frames is forgotten before it (see
        ``_forget``). False where nothing is, because the processor is stopped."""
        self._is_to_forget.set()
        return self._worker is not None

    def offer(self, message: Image | PointCloud2) -> None:
        """Take sparse depth in."""
        if self._sparse is not None:
            self._sparse.offer(message)

    def settings_changed(self) -> None:
        """The outputs change and the rate limit applies at once, also to a wait in progress; the rest is read for each image."""
        self._outputs.choose(self._health.settings.outputs)
        if self._worker is not None:
            self._worker.rate_hz = self._health.settings.target_fps

    def refresh(self) -> None:
        """Bring ``Health`` up to date between frames."""
        if self._worker is None:
            return
        counts, target_fps = self._worker.counts(), self._health.settings.target_fps
        self._monitor.refresh(counts, self.info is not None)
        period_s = 1.0 / target_fps if target_fps > 0 else 0.0
        common = self._common  # an image waits for what those of other cameras take, too
        busy = common.is_warming, common.is_building
        self._monitor.watched(self._watchdog.check(counts, common.usual_s, period_s, *busy))
        self._health.cameras, self._health.share = common.count, self._governor.share

    def take_no_more(self) -> None:
        """Begin no image any more: what is left to ``stop`` is the one in work."""
        if self._worker is not None:
            self._worker.close()

    def stop(self, at_most_s: float = math.inf) -> bool:
        """Finish the image in work, drop the one that waits, end the worker.

        False where the image in work does not end in the time that the watchdog allows, or ``at_most_s`` [s]: it is abandoned, and
        the thread that has it still uses the method.
        """
        if self._worker is None:
            return True
        common = self._common
        is_first = self._worker.counts().processed == 0 or common.is_warming or common.is_building
        ended = self._worker.stop(min(self._watchdog.limit_s(common.usual_s, is_first), at_most_s))
        common.leave(self)
        self._monitor.ended(self._worker.counts())
        self._worker, self._has_image = None, False
        return ended

    def destroy(self, at_most_s: float = math.inf) -> bool:
        """Stop, and take the outputs from the graph. See ``stop``."""
        ended = self.stop(at_most_s)
        self._outputs.destroy()
        return ended

    def _note_first(self, message: Image | CompressedImage) -> None:
        """Of a raw image the header must fit, or it is none."""
        if self._has_image:
            return
        if isinstance(message, Image):
            try:
                check_layout(message)
            except ImageError:
                return
            self._size = message.height, message.width
        self._has_image = True

    def _is_to_warm_up_for(self, message: Image) -> bool:
        """Whether for an image that nobody asked about. What is none makes nobody wait, and is told when somebody asks."""
        if not self._sizes.is_wanted(message.height, message.width, self.info is not None):
            return False
        try:
            check_layout(message)
        except ImageError:
            return False
        return True

    # For ``Common``

    @property
    def usual_s(self) -> float:
        """What an image usually takes [s]."""
        total = self._health.frames.statistics.stages_ms.get("total")
        return 1e-3 * total.p50 if total else self._expected_s

    @property
    def is_warming(self) -> bool:
        """Whether the device is being made ready for a size."""
        return self._sizes.is_busy

    @property
    def is_building(self) -> bool:
        """Whether a program, or a calibration's rays, are being made."""
        return self._retrofit.is_building or self._calibrations.is_busy

    # The worker's thread: what these raise counts the image as failed

    def _decode(self, message: Image | CompressedImage) -> DecodedImage:
        """The frame that the message is, with what is known of it."""
        if self._is_to_forget.is_set():
            self._is_to_forget.clear()
            self._forget()
        start_s = time.perf_counter()
        image = decode(message)
        decode_ms = _since_ms(start_s)
        matched = self._calibrations.matched(message.header)
        self._monitor.matched(matched)
        rectify_s = time.perf_counter()
        camera, problem, rectified = self._calibrations.of(matched.info, image.shape[1], image.shape[0])
        image, info = rectified.image(image), rectified.info(matched.info)
        decode_ms += _since_ms(rectify_s)
        header = message.header
        stamp_ns = nanoseconds(header.stamp)
        frame = Frame(image, stamp_ns, header.frame_id, camera, optics=rectified.optics)
        self._monitor.decoded(frame, problem, has_info=info is not None)
        self._monitor.rectified(rectified)
        prompt = NO_PROMPT
        if self._prompts is not None:
            prompt = self._prompts.of(frame)
            self._monitor.prompted(prompt.problem, prompt.age_s)
            frame = dataclasses.replace(frame, sparse=prompt.sparse)
        start_s += self._warm_up(image.shape[0], image.shape[1], camera)  # which is no time of this image
        known = header, info, frame, prompt, self._alignment
        return DecodedImage(*known, decode_ms, _since_ms(start_s), self._retrofit)

    def _launch(self, decoded: DecodedImage) -> InFlightImage:
        """Start the coarse model."""
        start_s = time.perf_counter()
        launched = self._launched(decoded.frame)
        return decoded.launched(launched, _since_ms(start_s))

    def _refine(self, work: InFlightImage) -> InFlightImage:
        """Start the rest of the method, before the next image is decoded."""
        start_s = time.perf_counter()
        settings, worker = self._health.settings, self._worker
        if worker is not None:  # not abandoned, see ``stop``
            self._governor.share = worker.share
        asked = self._governor.budget(settings.target_fps, settings.budget, settings.min_budget)
        refining = self._guard.run(asked, lambda budget: self._refining(work, budget))
        spent_ms = work.spent_ms + _since_ms(start_s)
        return dataclasses.replace(work, in_flight=None, refining=refining, asked=asked, spent_ms=spent_ms)

    def _collect(self, work: InFlightImage) -> None:
        """The rest, to the last message out."""
        assert work.refining is not None
        start_s = time.perf_counter()
        settings = self._health.settings
        with self._retrofit.stream():
            refined = self._retrofit.finish(work.refining)
            self._monitor.refined(refined, work.asked, self._guard.limit, remembered_by(self._retrofit.coarse))
            if (memory := self._retrofit.temporal) is not None and memory.motions is not None:
                self._monitor.moved(memory.motion_problem)
            result = self._scaled(refined, work)
            with unless_shut_down(self._node):
                sent = self._outputs.publish(work.frame, result, work.header, work.info, settings)
                if (window := window_of(work.refining.coarse, refined, result, work.frame.optics)) is not None:
                    self._view_refiner.budget = self._retrofit.budget
                    of_views = self._outputs.publish_views(window, self._view_refiner, work.header, settings)
                    sent.times_ms.update(of_views.times_ms)
                    sent.failed.update(of_views.failed)
                self._monitor.sent(sent.failed)
                self._tell(work, result, sent.times_ms, work.spent_ms + _since_ms(start_s))

    def _forget(self) -> None:
        """What earlier frames left behind: those that a model remembers and those that ``temporal`` does, the scale and the sparse
        depth that it came from, what moves in TF, and what the governor and the memory guard have learned. Calibration, counts and
        statistics stay."""
        forget(self._retrofit.coarse)
        forget(self._retrofit.second)
        if self._retrofit.temporal is not None:
            self._retrofit.temporal.reset()
        if self._sparse is not None:
            self._sparse.forget()
        self._begin_scale(self._health.settings)
        self.transforms.forget()
        self._governor, self._guard = BudgetGovernor(), MemoryGuard()
        self._node.get_logger().info("reset: this image is taken as the first one")

    def _begin_scale(self, settings: Settings) -> None:
        """What brings depth to metres, and the model's prompts, without anything that came before."""
        self._prompts = self._alignment = None
        if self._sparse is None:
            return
        claim = self._retrofit.coarse.claim
        if self._retrofit.uses_sparse:
            self._prompts = Prompts(self._sparse, claim)
        if settings.align != "none":
            self._alignment = ScaleFitter(cast(Mode, settings.align), claim, settings.max_residual, self._sparse.of)

    def _warm_up_unasked(self, height: int, width: int) -> None:
        """While nobody listens, and so has to wait for it."""
        camera, _, _ = self._calibrations.of(self.info, width, height)
        if self._sizes.is_wanted(height, width, camera is not None):  # camera_info may be there and not fit
            self._warm_up(height, width, camera)

    def _warm_up(self, height: int, width: int, camera: Camera | None) -> float:
        """For images of this size, where that is to be done; returns what it took [s]."""
        took_s = self._sizes.prepare(height, width, camera)
        if took_s is None:
            return 0.0
        self._monitor.warmed_up((height, width), camera, took_s, self._sizes.count)
        return took_s

    def _launched(self, frame: Frame) -> InFlightFrame | None:
        try:
            return self._retrofit.launch(frame)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return None  # once more when the frame before it is done, and has left its memory

    def _refining(self, work: InFlightImage, budget: float) -> RefiningFrame:
        self._retrofit.budget = budget
        if (memory := self._retrofit.temporal) is not None:
            memory.motions = motions_by_tf(self.transforms, self._health.settings.motion_frame)
        return self._retrofit.refine(work.in_flight or self._retrofit.launch(work.frame))

    def _scaled(self, result: DepthFrame, work: InFlightImage) -> DepthFrame:
        report = None
        if work.alignment is not None:
            of_another = bool(work.prompt.age_s)  # it says nothing of this frame
            frame = dataclasses.replace(work.frame, sparse=None) if of_another else work.frame
            result, report = work.alignment.align(result, frame)
        self._monitor.scaled(result, report)
        return result

    def _tell(self, work: InFlightImage, result: DepthFrame, sent_ms: dict[str, float], total_ms: float) -> None:
        """Statistics of the frame: to the governor, to the diagnostics, and to whoever subscribes to them."""
        budget, times_ms = self._retrofit.budget, result.times_ms
        self._governor.took(budget, times_ms.get("refine", 0.0) + times_ms.get("fuse", 0.0), total_ms)
        assert work.frame.stamp_ns is not None  # a message has one
        age_ms = 1e-6 * (self._monitor.now_ns() - work.frame.stamp_ns)
        all_ms = {"decode": work.decode_ms, **times_ms, **sent_ms, "total": total_ms}
        self._monitor.published(all_ms, age_ms, budget, self._governor.overloaded)
        worker = self._worker
        if worker is None:
            return  # abandoned, see ``stop``
        counts, publish_ms = worker.counts(), math.fsum(sent_ms.values())
        model = self._retrofit.coarse.name
        stats = frame_stats(work.header, result, model, budget, counts, publish_ms, total_ms, age_ms)
        self._outputs.publish_stats(stats)


def _since_ms(start_s: float) -> float:
    return 1e3 * (time.perf_counter() - start_s)
