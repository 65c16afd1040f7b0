"""A bag, or a part of one, through the node's own processor. What needs ROS is imported when there is a bag."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depth_retrofit_ros.batch.outputs import Outputs, described
from depth_retrofit_ros.batch.settings import BatchSettings
from depth_retrofit_ros.batch.tasks import Done, Row, Task, packed
from depth_retrofit_ros.batch.videos import WARM_UP
from depth_retrofit_ros.coarse.registry import find_model
from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.ros.environment import require_ros

if TYPE_CHECKING:
    from depth_retrofit_ros.ros.replay.bag_source import BagSource
    from depth_retrofit_ros.ros.replay.every_frame import Observed
    from depth_retrofit_ros.ros.replay.recorder import RecordedDepth
    from depth_retrofit_ros.ros.replay.sources import Pair

ACCURACY = ("abs_rel", "edge_abs_rel", "delta1")


def divide(path: Path, settings: BatchSettings) -> list[Row]:
    """The parts of a bag, see ``tasks.packed``; one part where its result is one bag, or it has a reference. Raises BagError."""
    source = _source(path, settings)
    is_whole = settings.depth == "bag" or settings.depth_topic is not None
    warm = WARM_UP if settings.temporal or "the past" in find_model(settings.model["model"]).uses else 0
    parts = source.parts(float("inf") if is_whole else settings.part_s, warm)
    if not parts:
        raise BagError(f"{path.name} has no images: record it while the camera runs")
    return [packed(part) for part in parts]


def answer_bag(
    path: Path, task: Task, retrofit: Retrofit, outputs: Outputs, staging: Path, settings: BatchSettings, done: Done
) -> None:
    """Every image of the task's part, each a row with its answer or with the reason why there is none. Raises
    DepthRetrofitError."""
    source, part = _source(path, settings), task.part
    assert part is not None
    from depth_retrofit_ros.ros.replay.every_frame import EveryFrame, run_every_frame
    from depth_retrofit_ros.ros.replay.live_run import NODE
    from depth_retrofit_ros.ros.replay.output_bag import OutputBag
    from depth_retrofit_ros.ros.replay.replay import copied

    rows: dict[int, Row] = {}
    total_ms: list[float | None] = [None]  # of the newest image; its statistics come before its depth is stored
    references = _References(source, part.first + part.count, settings) if settings.depth_topic is not None else None

    def store(number: int, recorded: RecordedDepth, observed: Observed) -> None:
        result = observed.last
        row: Row = {"frame": part.first + number, "stamp_ns": recorded.stamp_ns, **described(result)}
        row |= {"metric": recorded.metric, "total_ms": total_ms[0]}
        outputs.write(f"{task.item.name}/{part.first + number:06d}", recorded.depth, result, row)
        if references is not None:
            row |= references.accuracy(part.first + number, recorded, observed)
        rows[number] = row

    def keep(topic: str, message: Any) -> None:
        if topic == f"{NODE}/frame_stats":
            total_ms[0] = round(message.total_ms, 3)
        if bag is not None:
            bag.write(topic, message)

    plan = EveryFrame(source.types, source.image_topic, source.info_topic, _parameters(settings), part.warm)
    bag: OutputBag | None = None
    with ExitStack() as opened:
        if settings.depth == "bag":
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(dir=staging, ignore_cleanup_errors=True))) / "bag"
            with OutputBag(folder) as bag:
                run = run_every_frame(plan, copied(source, source.stream(part), bag), store, keep, _silent, retrofit)
            for file in sorted(folder.iterdir()):
                outputs.publish(file, f"{task.item.name}/{file.name}")
        else:
            plan = replace(plan, outputs=("depth",))
            run = run_every_frame(plan, source.stream(part), store, keep, _silent, retrofit)
    if run.playback.played != part.count:
        raise BagError(f"{path.name} gave {run.playback.played} images where it had {part.count} before: it is damaged, or changed")
    for number in range(part.count):
        stamp_ns = run.playback.images[number].stamp_ns
        told = {"frame": part.first + number, "stamp_ns": stamp_ns, "reason": run.failures.get(number, "no answer")}
        done.rows.append(rows.get(number, told))
    done.remarks += source.remarks


class _References:
    """The bag's own depth beside its images, in their order."""

    def __init__(self, source: BagSource, count: int, settings: BatchSettings) -> None:
        self._pairs: Iterator[Pair] = source.pairs(range(count))
        self._settings, self._inverse = settings, find_model(settings.model["model"]).claim.inverse

    def accuracy(self, number: int, recorded: RecordedDepth, observed: Observed) -> Row:
        from depth_retrofit_ros.evaluation.sequence import Answer, measure, upsampled

        pair = next((pair for pair in self._pairs if pair.number == number), None)
        if pair is None or pair.reference is None:
            return {}
        inside = observed.inside()
        answer = Answer(pair.frame, recorded.depth, inside.coarse, recorded.metric, inside.selected, pair.reference)
        methods = measure(answer, upsampled(answer), self._settings.align, self._inverse).entry["methods"]
        told = {name: methods["refined"][name] for name in ACCURACY}
        return told | {f"coarse_{name}": methods["bilinear"][name] for name in ACCURACY}


def _source(path: Path, settings: BatchSettings) -> BagSource:
    require_ros()
    from depth_retrofit_ros.ros.replay.bag_source import BagSource

    topics = settings.image_topic, settings.info_topic, settings.depth_topic
    return BagSource(path, *topics, settings.tolerance_s, settings.frames, settings.rectify)


def _parameters(settings: BatchSettings) -> dict[str, str | float]:
    from depth_retrofit_ros.ros.replay.replay import Replay

    return dict(Replay("", **settings.model, rectify=settings.rectify).parameters())


def _silent(text: str) -> None: ...
