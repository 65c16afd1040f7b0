"""Every image of a source through the node's own processor, in order, one at a time: nothing is dropped and no clock decides.

What the node does with an image, from decoding to the messages, is ``Processor``, and it is that here too. Only its two ends
differ: images come by a call instead of a subscription, and messages go to whoever asked for them instead of a publisher.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image

from depth_retrofit_ros.coarse.engines.assign import engine_of
from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data import bag
from depth_retrofit_ros.evaluation.data.bag import TF_TYPE
from depth_retrofit_ros.evaluation.data.cdr import require_image
from depth_retrofit_ros.evaluation.report.delivery import DeliveryReport
from depth_retrofit_ros.evaluation.report.run_folder import Inside
from depth_retrofit_ros.frame import DepthFrame
from depth_retrofit_ros.retrofit import RefiningFrame, Retrofit
from depth_retrofit_ros.ros.context import ros_start
from depth_retrofit_ros.ros.health.diagnostics import Health
from depth_retrofit_ros.ros.health.throttled_log import ThrottledLogger
from depth_retrofit_ros.ros.messages.calibration import intrinsics
from depth_retrofit_ros.ros.node import parameters
from depth_retrofit_ros.ros.node.node import load_retrofit
from depth_retrofit_ros.ros.node.processor import Processor
from depth_retrofit_ros.ros.node.tf_listener import TF_STATIC
from depth_retrofit_ros.ros.replay.identity import Event
from depth_retrofit_ros.ros.replay.live_run import NODE, RunResult, private_domain
from depth_retrofit_ros.ros.replay.player import MESSAGE_CLASSES, Playback, TimedMessage
from depth_retrofit_ros.ros.replay.recorder import RecordedDepth, Recording, depth_array
from depth_retrofit_ros.runtime.self_check import self_check

TF_AHEAD_S = 0.2
OUTPUTS = ("depth", "points")  # beside camera_info and statistics; a picture for people can be made of the depth at any time

Keep = Callable[[str, Any], None]
Store: TypeAlias = "Callable[[int, RecordedDepth, Observed], None]"


@dataclass(frozen=True, slots=True)
class EveryFrame:
    """types: topic → message type of what comes; image_topic, info_topic (or None): among them; parameters: of the depth node.

    warm: images at the start that are answered for what is remembered of them alone: they are neither stored nor counted. outputs:
    of ``OUTPUTS``, see the parameter of that name.
    """

    types: Mapping[str, str]
    image_topic: str
    info_topic: str | None
    parameters: Mapping[str, str | float]
    warm: int = 0
    outputs: Sequence[str] = OUTPUTS


def run_every_frame(
    plan: EveryFrame,
    stream: Iterable[TimedMessage],
    store: Store,
    keep: Keep,
    progress: Callable[[str], None],
    retrofit: Retrofit | None = None,
) -> RunResult:
    """Answer every image of ``stream``. store: takes an image's number, its depth, and the method to look into; keep: takes topic
    and message of every output; retrofit: the method that the parameters describe, where it is loaded already and remembers no
    frame.

    Raises ModelError, WeightsError, BagError, and whatever ``store`` and ``keep`` raise.
    """
    begin_s = time.monotonic()
    with private_domain(None), _node({**plan.parameters, "outputs": list(plan.outputs)}) as node:
        settings = parameters.declare(node)
        health = Health(settings, image_topic=plan.image_topic, info_topic=plan.info_topic or "(none)")
        if retrofit is None:
            progress("loading the model")
            retrofit = load_retrofit(health.settings)
            self_check(retrofit)
        observed = Observed.of(retrofit)
        health.device, health.engine = observed.coarse.device, observed.refiner.backend_name
        outbox = Outbox()
        processor = Processor(node, observed, health, ThrottledLogger(node.get_logger()), outbox.destination)
        processor.start()
        ready_s = time.monotonic()
        try:
            run = _Run(plan, processor, health, observed, outbox, store, keep)
            for message in transforms_first(stream, plan.types):
                run.take(message)
                progress(f"{time.monotonic() - ready_s:5.1f} s: {run.playback.played} images")
        finally:
            processor.destroy()
        run.recording.reports[f"{NODE}: model"] = {
            "device": str(health.device),
            "engine": health.engine,
            "coarse engine": engine_of(observed.coarse),
        }
        run_s, playback, recording = time.monotonic() - ready_s, run.playback, run.recording
        counts = {name: count - run.before.get(name, 0) for name, count in asdict(health.frames.counts).items()}
        delivery = DeliveryReport.from_counts(counts, playback.played, recording.answers, len(playback.unreadable))
        delivery.check()
        return RunResult(playback, recording, run.numbers, delivery, ready_s - begin_s, run_s, run.last_failure, run.failures)


class _Run:
    """One message of the source after the other, and what became of it: see ``RunResult``."""

    def __init__(
        self,
        plan: EveryFrame,
        processor: Processor,
        health: Health,
        retrofit: Observed,
        outbox: Outbox,
        store: Store,
        keep: Keep,
    ) -> None:
        self.playback, self.recording = Playback(), Recording()
        self.numbers: list[int] = []
        self.failures: dict[int, str] = {}
        self._plan, self._processor, self._health, self._retrofit, self._outbox = plan, processor, health, retrofit, outbox
        self._store, self._keep = store, keep
        self._failed = 0
        self._warming = plan.warm
        self.before: dict[str, int] = {}  # counts of the images that are answered for what is remembered of them

    def take(self, timed: TimedMessage) -> None:
        msgtype = self._plan.types[timed.topic]
        if msgtype == TF_TYPE:
            self._take_transforms(timed)
        elif timed.topic == self._plan.info_topic:
            self._take_info(timed.data, msgtype)
        elif self._warming:
            self._warm_up(timed.data, msgtype)
        elif self.playback.note(timed.data, msgtype):
            number = self.playback.played - 1
            try:
                message = deserialize(timed.data, msgtype)
            except BagError as error:
                self.playback.unreadable[number] = self.failures[number] = str(error)
            else:
                self._answer(number, message)
        else:
            self.failures[self.playback.played - 1] = self.playback.last_failure

    @property
    def last_failure(self) -> str:
        """Why the last failed image failed; empty without any."""
        return next(reversed(self.failures.values()), "")

    def _take_info(self, data: bytes, msgtype: str) -> None:
        """One that cannot be read costs no image: as with a lossy transport, the one before it goes on to be used."""
        with suppress(BagError):
            self._processor.offer_info(deserialize(data, msgtype))

    def _take_transforms(self, timed: TimedMessage) -> None:
        """One that cannot be read costs no image either."""
        with suppress(BagError):
            message = bag.deserialize(timed.data, TF_TYPE)  # tf2_msgs is in no Python wheel
            self._processor.transforms.offer(message.transforms, is_static=timed.topic == TF_STATIC)

    def _warm_up(self, data: bytes, msgtype: str) -> None:
        """One that cannot be read leaves no memory."""
        self._warming -= 1
        with suppress(BagError):
            require_image(data, msgtype)
            self._failed = self._processor.answer(deserialize(data, msgtype)).failed
        self._outbox.take()
        self.before = asdict(self._health.frames.counts)

    def _answer(self, number: int, message: Any) -> None:
        counts = self._processor.answer(message)
        outputs = self._outbox.take()
        # What it had published before it failed is no answer, nor is a frame whose depth could not be made.
        if counts.failed > self._failed or f"{NODE}/depth/image_rect" not in outputs:
            self._failed, self.failures[number] = counts.failed, self._health.frames.last_failure
            return
        arrival = Event(self.playback.images[number].stamp_ns, time.monotonic_ns())
        stats, info = outputs.get(f"{NODE}/frame_stats"), outputs.get(f"{NODE}/depth/camera_info")
        self.recording.stats += [] if stats is None else [stats]
        self.recording.cloud = outputs.get(f"{NODE}/points", self.recording.cloud)
        for topic, output in outputs.items():
            self._keep(topic, output)
        depth = outputs[f"{NODE}/depth/image_rect"]
        is_metric = stats is not None and stats.metric  # as in ``Recorder``: unless it is said to be, it is not called metres
        self._store(number, self._recorded(arrival.stamp_ns, depth, info, is_metric), self._retrofit)
        self.recording.arrivals.append(arrival)
        self.numbers.append(number)

    def _recorded(self, stamp_ns: int, message: Image, info: CameraInfo | None, metric: bool) -> RecordedDepth:
        depth = depth_array(message)
        camera = None if info is None else intrinsics(info, depth.shape[1], depth.shape[0])
        return RecordedDepth(self.recording.answers, stamp_ns, depth, metric, camera)


class Observed(Retrofit):
    """The method, whose last answer can be looked into."""

    last: DepthFrame

    @classmethod
    def of(cls, retrofit: Retrofit) -> Observed:
        """The same, observed."""
        settings = retrofit.budget, retrofit.trust_scale, retrofit.uses_sparse, retrofit.parts, retrofit.second, retrofit.temporal
        return cls(retrofit.coarse, retrofit.refiner, *settings)

    def finish(self, refining: RefiningFrame) -> DepthFrame:
        """See ``Retrofit``."""
        self.last = super().finish(refining)
        return self.last

    def inside(self) -> Inside:
        """Of the last answer."""
        return Inside(self.last.coarse.cpu().numpy(), self.last.selection.mask().cpu().numpy())


class Outbox:
    """Where the outputs go: the messages of one image by topic, until they are taken."""

    def __init__(self) -> None:
        self._sent: dict[str, Any] = {}

    def destination(self, node: Node, message_type: type, topic: str, depth: int) -> _Slot:
        """See ``outputs.MakeDestination``."""
        return _Slot(self._sent, message_type, node.resolve_topic_name(topic))

    def take(self) -> dict[str, Any]:
        """The messages since the last call."""
        taken = dict(self._sent)
        self._sent.clear()
        return taken


class _Slot:
    def __init__(self, sent: dict[str, Any], message_type: type, topic: str) -> None:
        self._sent, self._type, self._topic = sent, message_type, topic

    def publish(self, message: Any) -> None:
        is_serialized = isinstance(message, np.ndarray)
        self._sent[self._topic] = deserialize_message(message.tobytes(), self._type) if is_serialized else message

    def get_subscription_count(self) -> int:
        return 1

    def destroy(self) -> None: ...


def transforms_first(stream: Iterable[TimedMessage], types: Mapping[str, str]) -> Iterator[TimedMessage]:
    """TF up to ``TF_AHEAD_S`` before everything else: that of an image's time is recorded after it, and live it comes while the
    model works."""
    if TF_TYPE not in types.values():
        yield from stream
        return
    waiting: deque[TimedMessage] = deque()
    for message in stream:
        if types[message.topic] == TF_TYPE:
            yield message
        else:
            waiting.append(message)
        while waiting and waiting[0].at_s <= message.at_s - TF_AHEAD_S:
            yield waiting.popleft()
    yield from waiting


@contextmanager
def _node(values: Mapping[str, str | float | list[str]]) -> Iterator[Node]:
    """A node that nobody spins: it has parameters, a clock and a logger, and nothing subscribed."""
    context = rclpy.Context()
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    with ros_start():
        context.init(args=[])  # not this program's own, among which a file's name need not be UTF-8
        node = Node(NODE.strip("/"), context=context, parameter_overrides=overrides, start_parameter_services=False)
    try:
        yield node
    finally:
        node.destroy_node()
        context.try_shutdown()


def deserialize(data: bytes, msgtype: str) -> Any:
    """As the middleware gives it to a subscription; msgtype: one of ``player.MESSAGE_CLASSES``. Raises BagError."""
    try:
        return deserialize_message(data, MESSAGE_CLASSES[msgtype])
    except Exception as error:  # the middleware's parser, over untrusted bytes
        raise BagError(f"a message of {len(data)} bytes does not parse as {msgtype} ({type(error).__name__})") from error
