"""Play a source through the node, store what comes out, and sum it up. The bag replay and the demo both end here."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from sensor_msgs.msg import PointCloud2

from depth_retrofit_ros.coarse.registry import find_model, load_coarse
from depth_retrofit_ros.evaluation.data.bag import TF_TYPE
from depth_retrofit_ros.evaluation.metrics.alignment import Mode
from depth_retrofit_ros.evaluation.report.lead import Lead, lead_files
from depth_retrofit_ros.evaluation.report.run_folder import RunFolder, StoredDepth
from depth_retrofit_ros.evaluation.report.summary import RunMode, Summary, machine, percentiles
from depth_retrofit_ros.evaluation.report.summary_page import write_summary
from depth_retrofit_ros.evaluation.sequence import SequenceEvaluator
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.io.depth_files import write_text, writing
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.pointcloud.files import write_ply
from depth_retrofit_ros.pointcloud.organized import POINT_STEP
from depth_retrofit_ros.preset_names import AUTO, refiner_of
from depth_retrofit_ros.refinement.registry import REFINERS, resolved
from depth_retrofit_ros.ros.replay.assess import Assessment, assess, spread
from depth_retrofit_ros.ros.replay.every_frame import EveryFrame, Observed, run_every_frame
from depth_retrofit_ros.ros.replay.identity import Event, tell_apart
from depth_retrofit_ros.ros.replay.lead_in import make_lead
from depth_retrofit_ros.ros.replay.live_run import NODE, LiveRun, RunResult, run_live
from depth_retrofit_ros.ros.replay.output_bag import OutputBag
from depth_retrofit_ros.ros.replay.player import NO_STAMP, TimedMessage
from depth_retrofit_ros.ros.replay.recorder import RecordedDepth, stamp_ns
from depth_retrofit_ros.ros.replay.sources import Source

STAGES = ("coarse", "upsample", "select", "refine", "fuse", "publish", "total")
HEADER_BYTES = 12  # of a serialised message: what stands before them is its stamp
MAX_NS = 1 << 63
EVALUATED = 30  # answers of a real-time run

Say = Callable[[str], None]
RunEvery: TypeAlias = "Callable[[Any, Replay, RunFolder, OutputBag | None, Say], RunResult]"


def evenly(numbers: Sequence[int]) -> Collection[int]:
    """``EVALUATED`` of them at most, evenly spread."""
    return spread(numbers, EVALUATED)


@dataclass(frozen=True, slots=True)
class Replay:
    """How to run: the model as in ``retrofit.load``, by its own name.

    mode: ``realtime``, or ``every-frame``, to which rate and domain mean nothing. rate: 2 plays twice as fast; domain: ROS domain,
    None for a free one. bag: whether a bag with inputs and outputs is written. align: see ``evaluation.alignment``. choose: gives,
    of the numbers of the answered images of a real-time run, those that are evaluated; all of an every-frame run are. leads: that
    the page begins with a moving picture of these, in their order. web_port: where on this machine a live page of a real-time run
    is served meanwhile, None for no page.
    live_stamps: whether the source's stamps are the present, so that the node's age of a frame means something.
    """

    title: str
    model: str
    weights: Path | None
    refiner: str
    budget: float
    device: str
    engine: str
    refiner_precision: str = "auto"
    coarse_size: str = "default"
    coarse_engine: str = "auto"
    coarse_precision: str = "auto"
    preset: str = "default"
    entropy_threshold: float = 0.0
    allow_download: bool = False
    trust_scale: bool = False
    selector: str = "uncertainty"
    second_model: str | None = None
    temporal: bool = False
    motion_frame: str = ""
    rectify: str = "auto"
    mode: RunMode = "realtime"
    rate: float = 1.0
    domain: int | None = None
    bag: bool = False
    align: Mode = "median"
    choose: Callable[[Sequence[int]], Collection[int]] = evenly
    leads: bool = False
    web_port: int | None = None
    live_stamps: bool = False

    def parameters(self) -> Mapping[str, str | float]:
        """Of the depth node, whose folder may be another: files are told by their whole path. Raises ModelError or WeightsError for
        a refiner that there is none of."""
        return {
            "model": self.model,
            "weights": "" if self.weights is None else whole(self.weights),
            "preset": self.preset,
            "entropy_threshold": self.entropy_threshold,
            "refiner": named_refiner(self.refiner),
            "device": self.device,
            "engine": self.engine,
            "refiner_precision": self.refiner_precision,
            "coarse_size": self.coarse_size,
            "coarse_engine": self.coarse_engine,
            "coarse_precision": self.coarse_precision,
            "allow_download": self.allow_download,
            "budget": self.budget,
            "trust_scale": self.trust_scale,
            "selector": self.selector,
            "second_model": self.second_model or "",
            "temporal": self.temporal,
            "motion_frame": self.motion_frame,
            "rectify": self.rectify,
        }


def named_refiner(refiner: str) -> str:
    """A refiner as the node is told of it: a name as it is, a path whole. Raises ModelError or WeightsError for neither."""
    if refiner in AUTO:
        return refiner
    _, path = resolved(refiner)
    return refiner if refiner in REFINERS or path is None else whole(path)


def whole(path: Path) -> str:
    """A path that means the same from any folder."""
    return str(path.expanduser().absolute())


def replay(source: Source, how: Replay, out: Path, progress: Say, say: Say, answer: RunEvery | None = None) -> Summary:
    """Run, store, compare, sum up into ``out``. progress: told what happens now; say: told results, line by line. answer: who
    answers every frame, None for this process.

    Raises GraphError, BagError, OutputError, ModelError, WeightsError.
    """
    folder = RunFolder(out)
    with OutputBag(out / "bag") if how.bag else nullcontext() as bag:
        if how.mode == "every-frame":
            run = (answer or run_here)(source, how, folder, bag, progress)
        else:
            run = _run_realtime(source, how, folder, bag, progress, say)
    say(run.delivery.line())
    if run.last_failure:
        say(f"the last failed image: {run.last_failure}")

    progress("writing pictures")
    answers = {number: entry for number, entry in zip(run.numbers, folder.stored, strict=False) if number is not None}
    folder.write_pictures(_with_frames(source, answers, folder.stored))
    stages = (*STAGES, "age") if how.live_stamps else STAGES
    write_text(out / "frames.csv", frames_csv(run, stages))
    chosen = list(answers if how.mode == "every-frame" else how.choose(sorted(answers)))

    @cache
    def model() -> Any:
        engine, precision = how.coarse_engine, how.coarse_precision
        return load_coarse(
            how.model, weights=how.weights, device=how.device, size=how.coarse_size, engine=engine, precision=precision
        )

    evaluated = {number: answers[number] for number in sorted(chosen)}
    assessment = assess(source, out, evaluated, SequenceEvaluator(how.align, find_model(how.model).claim.inverse), model, progress)
    if how.leads:
        progress("making the moving picture")
    lead = make_lead(source, evaluated, chosen, assessment, model, out, say) if how.leads else None
    remarks = _remarks(source, run)
    for remark in remarks:
        say(f"note: {remark}")
    summary = _summary(source, how, run, remarks, assessment, _files(how, run, folder, assessment, lead))
    write_summary(out, summary, assessment.pictures, lead)
    if lead is not None:
        say(lead.sentence)
    return summary


def _with_frames(
    source: Source, answers: Mapping[int, StoredDepth], stored: Sequence[StoredDepth]
) -> Iterator[tuple[StoredDepth, Frame | None]]:
    """Each stored answer, with its image where that is known."""
    for number, frame in source.frames(answers):
        yield answers[number], frame
    known = {entry.path for entry in answers.values()}
    yield from ((entry, None) for entry in stored if entry.path not in known)


def _remarks(source: Source, run: RunResult) -> list[str]:
    """What a reader of the figures must know."""
    remarks = list(source.remarks)
    if unknown := sum(number is None for number in run.numbers):
        remarks.append(
            f"{unknown} answers have a stamp that several images share, of which not all were answered: they are stored, but not "
            "compared with anything; --every-frame can tell them apart"
        )
    return remarks


def _run_realtime(source: Source, how: Replay, folder: RunFolder, bag: OutputBag | None, progress: Say, say: Say) -> RunResult:
    def store(recorded: RecordedDepth) -> None:
        folder.store(recorded.index, recorded.stamp_ns, recorded.depth, recorded.metric, recorded.camera)

    log = folder.root / "node.log"
    plan = LiveRun(
        source.types,
        source.image_topic,
        source.info_topic,
        how.parameters(),
        log,
        rate=how.rate,
        domain=how.domain,
        web_port=how.web_port,
    )
    return run_live(plan, copied(source, source.stream(), bag), store, progress, None if bag is None else bag.write, say)


def run_here(source: Source, how: Replay, folder: RunFolder, bag: OutputBag | None, progress: Say) -> RunResult:
    """Every frame by this process. Raises what ``run_every_frame`` does."""

    def store(number: int, recorded: RecordedDepth, observed: Observed) -> None:
        folder.store(recorded.index, recorded.stamp_ns, recorded.depth, recorded.metric, recorded.camera, observed.inside())

    def keep(topic: str, message: Any) -> None:
        if bag is not None:
            bag.write(topic, message)

    plan = EveryFrame(source.types, source.image_topic, source.info_topic, how.parameters())
    return run_every_frame(plan, copied(source, source.stream(), bag), store, keep, progress)


def copied(source: Source, stream: Iterable[TimedMessage], bag: OutputBag | None, last: bytes = b"") -> Iterator[TimedMessage]:
    """The messages of a source's stream, each copied to the bag on its way; a camera_info that comes twice in a row, once.

    What has no header is no message, or TF, and not copied. last: the camera_info before them.
    """
    for message in stream:
        repeated = message.topic == source.info_topic and message.data == last
        has_header = len(message.data) >= HEADER_BYTES and source.types[message.topic] != TF_TYPE
        if bag is not None and not repeated and has_header:
            bag.write_bytes(message.topic, source.types[message.topic], message.data)
        if message.topic == source.info_topic:
            last = message.data
        yield message


def _files(how: Replay, run: RunResult, folder: RunFolder, assessment: Assessment, lead: Lead | None) -> dict[str, str]:
    """Everything in the folder; writes what is not there yet."""
    inside = ", coarse depth, selection" if how.mode == "every-frame" else ""
    files = {"frames/*.npz": f"depth float32, stamp, intrinsics{inside}", "frames/*_preview.jpg": "input, depth"}
    files |= _depth_files(folder)
    if run.recording.cloud is not None:
        files["cloud.ply"] = f"the last cloud, {_write_cloud(folder.root / 'cloud.ply', run.recording.cloud)} points"
    if how.bag:
        files["bag"] = "rosbag2 (MCAP): the inputs and the node's outputs, at their header stamps"
    if how.mode == "realtime":
        files["node.log"] = "what the node said"
    if how.mode == "realtime" and how.web_port is not None:
        files["page.log"] = "what the process of the live page said"
    if lead is not None:
        files |= lead_files(lead, folder.root)
    files["frames.csv"] = "every played image: latency and stage times, or no answer"
    return files | {path.relative_to(folder.root).as_posix(): text for path, text in assessment.pictures.items()}


def _depth_files(folder: RunFolder) -> dict[str, str]:
    """What the 16-bit pictures are called and mean."""
    told = {}
    if any(entry.metric for entry in folder.stored):
        told["frames/*_depth.png"] = "depth, 16 bit, millimetres, 0 unknown"
    if folder.relative_units:
        write_text(folder.root / "relative_units.json", json.dumps(folder.relative_units, indent=2) + "\n")
        told["frames/*_relative.png"] = "relative depth, 16 bit, 0 unknown; the unit of each is in relative_units.json"
    return told


def _write_cloud(path: Path, message: PointCloud2) -> int:
    """The node's cloud, whose points are x, y, z, rgb of 4 bytes each, as PLY; returns the number of valid points."""
    if message.point_step != POINT_STEP:
        raise ValueError(f"cloud with {message.point_step} bytes per point, not {POINT_STEP}")
    points = np.frombuffer(message.data, np.float32).reshape(message.height, message.width, 4)
    with writing(path):
        return write_ply(path, points, metric=True)  # the node publishes no other


def frames_csv(run: RunResult, stages: Sequence[str]) -> str:
    """One line per played image, with these times of the node; empty cells where there was no answer."""
    names = [f"{stage}_ms" for stage in stages]
    stats = _stats_by_number(run)
    arrived_ns = {number: arrival.at_ns for number, arrival in zip(run.numbers, run.recording.arrivals, strict=True)}
    lines = [",".join(("stamp_ns", "played_s", "latency_ms", "refined_pixels", *names))]
    images = run.playback.images
    for number, image in enumerate(images):
        entry = stats.get(number)
        cells = ["" if image.stamp_ns == NO_STAMP else str(image.stamp_ns), f"{1e-9 * (image.at_ns - images[0].at_ns):.4f}"]
        cells.append(f"{1e-6 * (arrived_ns[number] - image.at_ns):.2f}" if number in arrived_ns else "")
        cells += [""] * (1 + len(names)) if entry is None else [str(entry.refined_pixels)]
        cells += [] if entry is None else [f"{getattr(entry, name):.2f}" for name in names]
        lines.append(",".join(cells))
    return "\n".join(lines) + "\n"


def _stats_by_number(run: RunResult) -> dict[int, FrameStats]:
    """The node's statistics of each answered image, by the image's number."""
    stats, numbers = run.recording.stats, run.numbers
    if len(stats) != len(numbers):  # some were lost on their way
        numbers = tell_apart(run.playback.images, [Event(stamp_ns(entry), MAX_NS) for entry in stats])
    return {number: entry for number, entry in zip(numbers, stats, strict=True) if number is not None}


def _summary(
    source: Source, how: Replay, run: RunResult, remarks: Sequence[str], assessment: Assessment, files: Mapping[str, str]
) -> Summary:
    stats = run.recording.stats
    scale = _scale(stats[-1]) if stats else "no answer"
    model = run.recording.reports.get(f"{NODE}: model", {})
    size = f"input {model['input']}, " if model.get("input") else ""
    size += f"coarse engine {model['coarse engine']}, " if model.get("coarse engine") else ""
    where = f"{size}on {model.get('device', how.device)}, sparse backend {model.get('engine', how.engine)}"
    preset = "" if how.preset == "default" else f"preset {how.preset}, "
    facts = {
        "source": source.described,
        "model": f"{how.model} ({scale}), {preset}refiner {Path(refiner_of(how.preset, how.refiner)).name}, {where}",
        "budget": f"{how.budget:g} of the pixels; refined {stats[-1].refined_pixels if stats else 0} in the last image",
        "software": f"torch {torch.__version__}, ROS 2 {os.environ.get('ROS_DISTRO', 'Jazzy from wheels')}",
    }
    if source.reference is not None:
        facts["reference"] = source.reference
    if remarks:
        facts["remarks"] = "; ".join(remarks)
    speed = "each image after the one before it" if how.mode == "every-frame" else f"at {how.rate:g} times the recorded rate"
    circumstances = {"machine": machine(), "played": f"{run.run_s:.1f} s, {speed}", "node ready after": f"{run.start_s:.1f} s"}
    if run.playback.late_s:
        circumstances["player late by"] = _lateness(run.playback.late_s)
    images_s, answers_s = _times_s(run)
    return Summary(
        title=how.title,
        mode=how.mode,
        facts=facts,
        circumstances=circumstances,
        delivery=run.delivery,
        input_hz=(len(images_s) - 1) / images_s[-1] if images_s and images_s[-1] > 0 else float("nan"),
        output_hz=_output_hz(run),
        images_s=images_s,
        answers_s=answers_s,
        latency_ms=run.latency_ms,
        stages_ms={stage: [float(getattr(entry, f"{stage}_ms")) for entry in stats] for stage in STAGES},
        age_ms=[float(entry.age_ms) for entry in stats] if how.live_stamps else [],
        accuracy=assessment.accuracy,
        flicker=assessment.flicker,
        files=files,
        last_failure=run.last_failure,
    )


def _scale(stats: FrameStats) -> str:
    """Whether the node's depth is in metres, and on whose word."""
    return f"metric on the word of the {stats.scale_source}" if stats.metric else "relative"


def _output_hz(run: RunResult) -> float:
    """Answers, from the first image to the last of them."""
    arrivals = run.recording.arrivals
    return len(arrivals) / (1e-9 * (arrivals[-1].at_ns - run.playback.images[0].at_ns)) if arrivals else 0.0


def _times_s(run: RunResult) -> tuple[list[float], list[float]]:
    """When each image was published and each answer whose image is known arrived, seconds after the first image."""
    images = run.playback.images
    first_ns = images[0].at_ns if images else 0
    arrived = [arrival for number, arrival in zip(run.numbers, run.recording.arrivals, strict=True) if number is not None]
    return [1e-9 * (event.at_ns - first_ns) for event in images], [1e-9 * (event.at_ns - first_ns) for event in arrived]


def _lateness(late_s: Sequence[float]) -> str:
    late = percentiles(late_s)
    return f"{1e3 * late.p50:.1f} ms (p50), {1e3 * late.p99:.1f} ms (p99)"
