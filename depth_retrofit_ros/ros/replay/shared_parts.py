"""An every-frame run that is shared among workers: what each makes of a part of the bag, and how these become one run again.

Workers read the bag and write beside the results, so that those of other machines need both in a file system that all have.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import PointCloud2

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.bag import Bag
from depth_retrofit_ros.evaluation.report.delivery import DeliveryReport
from depth_retrofit_ros.evaluation.report.run_folder import RunFolder
from depth_retrofit_ros.io.depth_files import writing
from depth_retrofit_ros.loading import load
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.replay.bag_parts import BagPart
from depth_retrofit_ros.ros.replay.bag_source import BagSource
from depth_retrofit_ros.ros.replay.every_frame import EveryFrame, Observed, run_every_frame
from depth_retrofit_ros.ros.replay.identity import Event
from depth_retrofit_ros.ros.replay.live_run import RunResult
from depth_retrofit_ros.ros.replay.output_bag import OutputBag, type_name
from depth_retrofit_ros.ros.replay.player import Playback, TimedMessage
from depth_retrofit_ros.ros.replay.recorder import RecordedDepth, Recording
from depth_retrofit_ros.ros.replay.replay import Replay, Say, copied
from depth_retrofit_ros.runtime.self_check import self_check

CLOUD = "cloud.cdr"
COUNTS = ("received", "processed", "dropped", "failed")
LOADED = (
    *("model", "weights", "refiner", "budget", "device", "engine", "refiner_precision", "coarse_size", "coarse_engine"),
    *("coarse_precision", "preset", "entropy_threshold", "allow_download", "trust_scale", "selector", "second_model", "temporal"),
)
"""Of ``Replay``, what ``load`` takes by the same names."""


@dataclass(frozen=True, slots=True)
class PartTask:
    """A part of the bag, and the folder that takes what comes of it."""

    part: BagPart
    folder: Path


@dataclass(frozen=True, slots=True)
class PartResult:
    """A ``RunResult`` as plain data: messages as their bytes, events as pairs. root: the part's folder; stored: path, stamp and
    unit of each depth."""

    root: Path
    images: list[tuple[int, int]]
    unreadable: dict[int, str]
    failures: dict[int, str]
    numbers: list[int]
    arrivals: list[tuple[int, int]]
    stats: list[bytes]
    reports: dict[str, dict[str, str]]
    delivery: dict[str, int]
    stored: list[tuple[Path, int, bool]]
    start_s: float
    run_s: float


class ReplayWork:
    """See ``batch.engine.Work``. source: what ``BagSource`` takes. Raises DepthRetrofitError."""

    def __init__(self, source: tuple[Any, ...], how: Replay) -> None:
        self._source, self._how = BagSource(*source), how
        self._retrofit = load(**{name: getattr(how, name) for name in LOADED})
        self_check(self._retrofit)

    def prepare(self, task: PartTask) -> None:
        """Nothing: a bag is read as it is answered."""

    def run(self, task: PartTask, prepared: None) -> PartResult:
        shutil.rmtree(task.folder, ignore_errors=True)  # of a worker that ended
        folder, source, how = RunFolder(task.folder), self._source, self._how

        def store(number: int, recorded: RecordedDepth, observed: Observed) -> None:
            folder.store(recorded.index, recorded.stamp_ns, recorded.depth, recorded.metric, recorded.camera, observed.inside())

        plan = EveryFrame(source.types, source.image_topic, source.info_topic, how.parameters(), task.part.warm)
        retrofit = self._retrofit.for_another_camera(how.budget, how.trust_scale)
        with OutputBag(task.folder / "bag") as bag:
            run = run_every_frame(plan, _copied(source, task.part, bag), store, bag.write, _silent, retrofit)
        if run.playback.played != task.part.count:
            raise BagError(f"the bag gave {run.playback.played} images where it had {task.part.count} before: it has changed")
        recording = run.recording
        if recording.cloud is not None:
            with writing(task.folder / CLOUD):
                (task.folder / CLOUD).write_bytes(bytes(serialize_message(recording.cloud)))
        return PartResult(
            task.folder,
            [(event.stamp_ns, event.at_ns) for event in run.playback.images],
            dict(run.playback.unreadable),
            dict(run.failures),
            [number for number in run.numbers if number is not None],
            [(event.stamp_ns, event.at_ns) for event in recording.arrivals],
            [bytes(serialize_message(stats)) for stats in recording.stats],
            recording.reports,
            asdict(run.delivery),
            [(entry.path, entry.stamp_ns, entry.metric) for entry in folder.stored],
            run.start_s,
            run.run_s,
        )

    def close(self) -> None:
        """See ``batch.engine.Work``."""


def replay_work(settings: Mapping[str, Any]) -> ReplayWork:
    """See ``batch.engine.Job``."""
    return ReplayWork(settings["source"], settings["how"])


class MergedParts:
    """The parts' results, one after the other, as one."""

    def __init__(self, folder: RunFolder, bag: OutputBag | None, count: int, progress: Say) -> None:
        self._folder, self._bag, self._count, self._progress = folder, bag, count, progress
        self._playback, self._recording = Playback(), Recording()
        self._numbers: list[int | None] = []
        self._failures: dict[int, str] = {}
        self._delivery = DeliveryReport(0, 0, 0, 0, 0, 0)
        self._counts = dict.fromkeys(COUNTS, 0)  # of the parts before
        self._start_s = self._run_s = 0.0
        self._taken = 0
        self._end_ns = 0

    def take(self, part: PartResult) -> None:
        """The next part. Its times are put behind those of the part before, as of one process."""
        base = self._playback.played
        shift_ns = self._end_ns - part.images[0][1] if base else 0
        self._playback.images += [Event(stamp_ns, at_ns + shift_ns) for stamp_ns, at_ns in part.images]
        self._playback.unreadable |= {base + number: reason for number, reason in part.unreadable.items()}
        self._failures |= {base + number: reason for number, reason in part.failures.items()}
        self._numbers += [base + number for number in part.numbers]
        self._recording.arrivals += [Event(stamp_ns, at_ns + shift_ns) for stamp_ns, at_ns in part.arrivals]
        self._recording.reports |= part.reports
        self._end_ns = max(at_ns + shift_ns for _, at_ns in (*part.images, *part.arrivals)) + 1
        summed = {name: count + part.delivery[name] for name, count in asdict(self._delivery).items()}
        self._delivery = DeliveryReport(**summed)
        self._start_s, self._run_s = max(self._start_s, part.start_s), self._run_s + part.run_s
        for path, stamp_ns, metric in part.stored:
            self._folder.adopt(path, stamp_ns, metric)
        self._take_stats(part.stats)
        self._taken += 1
        self._take_files(part.root)
        here, unreadable = self._delivery, len(self._playback.unreadable)  # of which the node knows nothing
        counts = here.received - unreadable, here.answered, here.dropped, here.failed - unreadable
        self._counts = dict(zip(COUNTS, counts, strict=True))
        self._progress(f"{self._taken} of {self._count} parts: {self._playback.played} images")

    def result(self) -> RunResult:
        """Of all parts."""
        self._delivery.check()
        last = next(reversed(self._failures.values()), "")
        return RunResult(
            self._playback, self._recording, self._numbers, self._delivery, self._start_s, self._run_s, last, self._failures
        )

    def _take_stats(self, stats: list[bytes]) -> None:
        for data in stats:
            self._recording.stats.append(self._whole(deserialize_message(data, FrameStats)))

    def _whole(self, stats: FrameStats) -> FrameStats:
        """With the totals of all parts so far."""
        for name in COUNTS:
            setattr(stats, name, getattr(stats, name) + self._counts[name])
        return stats

    def _take_files(self, root: Path) -> None:
        if (root / CLOUD).exists():
            self._recording.cloud = deserialize_message((root / CLOUD).read_bytes(), PointCloud2)
        if self._bag is not None:
            kind = type_name(FrameStats)
            with Bag(root / "bag") as part:
                for message in part.messages(list(part.topics)):
                    if (msgtype := part.topics[message.topic].msgtype) == kind:
                        self._bag.write(message.topic, self._whole(deserialize_message(message.data, FrameStats)))
                    else:
                        self._bag.write_bytes(message.topic, msgtype, message.data)
        shutil.rmtree(root, ignore_errors=True)


def _copied(source: BagSource, part: BagPart, bag: OutputBag) -> Iterator[TimedMessage]:
    """The part's messages, each copied to the bag; not the camera_info ahead of its first image, which the part before has."""
    stream, last = source.stream(part), b""
    if part.first:
        for message in stream:
            if message.topic == source.image_topic:
                stream = chain((message,), stream)
                break
            last = message.data if message.topic == source.info_topic else last
            yield message
    yield from copied(source, stream, bag, last)


def _silent(text: str) -> None: ...
