"""What the node says of itself on ``/diagnostics``: a status each for input, graph, calibration, metric scale, pipeline, model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.engines.assign import engine_of
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.device.faults import is_device_fault
from depth_retrofit_ros.device.memory import device_mb, resident_mb
from depth_retrofit_ros.frame import DepthFrame, ScaleSource
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.health.throttled_log import one_line
from depth_retrofit_ros.runtime.statistics import FrameStatistics
from depth_retrofit_ros.runtime.worker import FrameCounts

if TYPE_CHECKING:
    from std_msgs.msg import Header

    from depth_retrofit_ros.ros.node.camera_infos import MatchedInfo
    from depth_retrofit_ros.ros.node.parameters import Settings, Stage
    from depth_retrofit_ros.ros.node.scale_fit import ScaleReport

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass(slots=True)
class FrameHealth:
    """What became of the images since the last activation.

    unsubscribed: images that came while nobody subscribed to any output; no other count has them. subscribed: somebody did, last
    time. clock_problem: why their age means nothing, None where it does. calibration_problem: why there are no intrinsics, None
    where there are. info: the camera_info of the last image, and how it was found; unmatched: images for which none of their time
    was there. camera: the last image's. info_lost: camera_info came, and is not published any more. prompt_problem: why the
    last image has no sparse depth of its own for a model that takes it, None where it has some or needs none. prompt_age_s: how
    much older than the image the sparse depth is that the model was given, None where it was given none. answered: there is a
    depth.
    scale_source, alignment, blank: of the last one; blank has no finite value. budget: of the last depth. budget_limit: what
    memory allows. overloaded: the target rate is out of reach. no_answer: why images come in and nothing goes out, None where
    something does. first_takes: why the first one takes so long, None where it does not. missing_outputs: output → why
    the last frame went out without it. remembered: frames that the model remembers at present, None of one that never does.
    left_out: pixels of the last frame that were uncertain and, by the bound on their number, not refined.
    warm_ups: for how many image sizes the device was made ready. rectification: what is done to the images, empty where nothing is
    known; rectification_doubt: why that may be wrong, None where it is not. reported_failures: how many are told already.
    motion_problem: why the images alone told the last one's motion although TF was asked, None where it was not or did;
    motion_missed: how often.
    """

    statistics: FrameStatistics = field(default_factory=FrameStatistics)
    counts: FrameCounts = field(default_factory=FrameCounts)
    unsubscribed: int = 0
    subscribed: bool = False
    last_failure: str = ""
    clock_problem: str | None = None
    calibration_problem: str | None = None
    info: MatchedInfo | None = None
    unmatched: int = 0
    camera: Camera | None = None
    info_lost: bool = False
    prompt_problem: str | None = None
    prompt_age_s: float | None = None
    answered: bool = False
    scale_source: ScaleSource | None = None
    alignment: ScaleReport | None = None
    blank: bool = False
    budget: float | None = None
    budget_limit: float = float("inf")
    overloaded: bool = False
    no_answer: str | None = None
    first_takes: str | None = None
    missing_outputs: dict[str, str] = field(default_factory=dict)
    remembered: int | None = None
    left_out: int = 0
    warm_ups: int = 0
    rectification: str = ""
    rectification_doubt: str | None = None
    reported_failures: int = 0
    motion_problem: str | None = None
    motion_missed: int = 0


@dataclass(slots=True)
class Health:
    """How the node is, kept up to date by node and processor. Fields are replaced as a whole, so any thread may read them.

    loaded_model: the name of the coarse model, once there is one; device, claim, coarse_size: its own; None while there is none.
    engine: of the refiner's sparse convolutions. coarse: the model; what runs it may change with the size of the images.
    way_out: how images and clouds are published. asleep: the image is not subscribed, because nobody listens.
    sparse_topics: depth image, points; empty where nothing takes them.
    device_fault: why this process can use its device no more; empty where it can. configuring_s: for how long it has been
    configuring, 0 where it is not. graph_problems: what on the graph keeps images away or mixes nodes up. lost: images that the
    transport lost since activation. cameras: that this process works for in turn; share: of its time, that this one may use.
    """

    settings: Settings
    loaded_model: str = ""
    stage: Stage = "unconfigured"
    load_error: str = ""
    device_fault: str = ""
    configuring_s: float = 0.0
    graph_problems: tuple[str, ...] = ()
    lost: int = 0
    device: torch.device | None = None
    claim: ScaleClaim | None = None
    coarse_size: InputSize | None = None
    engine: str = ""
    coarse: CoarseModel | None = None
    way_out: str = ""
    asleep: bool = False
    image_topic: str = ""
    info_topic: str = ""
    sparse_topics: tuple[str, ...] = ()
    cameras: int = 1
    share: float = 1.0
    frames: FrameHealth = field(default_factory=FrameHealth)

    @property
    def model(self) -> str:
        """The model's name: of the one that is loaded, before that of the one that is asked for."""
        return self.loaded_model or self.settings.model

    def note_fault(self, error: BaseException) -> bool:
        """Whether the device is lost to this process by this error, wherever it was raised. It is noted then, and the node's main
        ends the process with one line: no other is needed."""
        if not is_device_fault(error):
            return False
        self.device_fault = self.device_fault or one_line(error)
        return True


def diagnostics(node: str, health: Health) -> list[DiagnosticStatus]:
    """One status per concern. Failures are reported once: as a warning in the report that follows them."""
    statuses = [
        _status(node, "input", *_input(health)),
        _status(node, "graph", *_graph(health)),
        _status(node, "calibration", *_calibration(health)),
        _status(node, "metric scale", *_metric_scale(health)),
        _status(node, "pipeline", *_pipeline(health)),
        _status(node, "model", *_model(health)),
    ]
    health.frames.reported_failures = health.frames.counts.failed
    return statuses


def frame_stats(
    header: Header,
    result: DepthFrame,
    model: str,
    budget: float,
    counts: FrameCounts,
    publish_ms: float,
    total_ms: float,
    age_ms: float,
) -> FrameStats:
    """The message about one answered frame. ``counts`` are from before the worker counts it; the message does count it."""
    stats = FrameStats(header=header, publish_ms=publish_ms, total_ms=total_ms, age_ms=age_ms)
    for stage in ("coarse", "upsample", "select", "refine", "fuse"):
        setattr(stats, f"{stage}_ms", result.times_ms.get(stage, 0.0))  # a stage that had nothing to do took no time
    stats.refined_pixels, stats.budget = result.refined_pixels, budget
    stats.received, stats.processed = counts.received, counts.processed + 1
    stats.dropped, stats.failed = counts.dropped, counts.failed
    stats.metric, stats.scale_source, stats.model = result.metric, result.scale_source or "", model
    stats.temporal_scale = result.temporal_scale
    return stats


Report = tuple[bytes, str, dict[str, str]]


def _input(health: Health) -> Report:
    counts, statistics = health.frames.counts, health.frames.statistics
    values = {
        "topic": health.image_topic,
        "rate [Hz]": f"{statistics.input_hz:.1f}",
        "received": str(counts.received),
        "processed": str(counts.processed),
        "dropped": str(counts.dropped),
        "failed": str(counts.failed),
        "pending": str(counts.pending),
        "without subscribers": str(health.frames.unsubscribed),
        "last failure": health.frames.last_failure,
    }
    if age := statistics.age_ms:
        values |= {"age p50 [ms]": f"{age.p50:.1f}", "age p95 [ms]": f"{age.p95:.1f}", "age p99 [ms]": f"{age.p99:.1f}"}
    if health.stage != "active":
        return OK, health.stage, values
    if health.asleep:
        return OK, f"{health.image_topic} is not subscribed: nobody listens to an output", values
    if statistics.input_hz == 0.0:
        return WARN, f"waiting for image on {health.image_topic}", values
    if failed := counts.failed - health.frames.reported_failures:
        return WARN, f"{failed} images failed: {health.frames.last_failure}", values
    if health.frames.clock_problem:
        return WARN, health.frames.clock_problem, values
    return OK, f"{statistics.input_hz:.1f} Hz", values


def _graph(health: Health) -> Report:
    values = {"lost in transport": str(health.lost)}
    if health.graph_problems:
        return WARN, "; ".join(health.graph_problems), values
    return OK, "types, names and transport fit" if health.stage == "active" else health.stage, values


def _calibration(health: Health) -> Report:
    frames = health.frames
    values = {"topic": health.info_topic, "rectification": frames.rectification}
    if camera := frames.camera:
        values |= {
            "image": f"{camera.width}x{camera.height}",
            "fx fy cx cy [px]": _numbers(camera.fx, camera.fy, camera.cx, camera.cy),
        }
    if frames.info is not None:
        values |= {"found by": frames.info.by, "apart [s]": f"{frames.info.apart_s:.3f}", "images without": str(frames.unmatched)}
    if health.stage != "active":
        return OK, health.stage, values
    if frames.calibration_problem:
        return WARN, frames.calibration_problem, values
    if frames.info is not None and (told := list(filter(None, (frames.info.frame_problem, frames.info.stamp_problem)))):
        return WARN, "; ".join(told), values
    if frames.info_lost:
        return WARN, f"camera_info on {health.info_topic} is no longer published: the last one is used", values
    if frames.rectification_doubt:
        return WARN, frames.rectification_doubt, values
    return OK, "camera_info fits the image", values


def _metric_scale(health: Health) -> Report:
    mode, alignment = health.settings.align, health.frames.alignment
    values = {"align": mode, "metric on the word of": health.frames.scale_source or "none", "model": str(health.claim or "")}
    if (age_s := health.frames.prompt_age_s) is not None:
        values["age of the prompt [s]"] = f"{age_s:.2f}"
    if alignment and (fit := alignment.fit):
        values |= {
            "points": str(fit.points),
            "inliers": str(fit.inliers),
            "residual": f"{alignment.residual:.4f}",
            "max_residual": f"{health.settings.max_residual:g}",
            "scale of the last fit": f"{fit.correction.scale:.4f}",
        }
    if alignment and (correction := alignment.correction):
        values |= {
            "scale": f"{correction.scale:.4f}",
            "shift": f"{correction.shift:.4f}",
            "of": "inverse depth [1/m]" if correction.inverse else "depth [m]",
        }
    if health.stage != "active":
        return OK, health.stage, values
    if not health.frames.answered:
        return OK, "waiting for image", values
    if alignment is None:
        return _unaligned(health, values)
    if alignment.correction is None:
        return WARN, not_aligned(alignment.problem, health.frames.scale_source), values
    return (WARN, f"aligned as before: {alignment.problem}", values) if alignment.problem else (OK, "aligned", values)


def not_aligned(problem: str, source: ScaleSource | None) -> str:
    """What depth is without its correction. problem: why there is none; source: on whose word depth is in metres all the same."""
    if source is None:
        return f"not aligned: {problem}"
    word = "your word" if source == "user" else f"the {source}'s word"
    return f"not aligned ({problem}): metres on {word} alone"


def _unaligned(health: Health, values: dict[str, str]) -> Report:
    """On whose word depth is metric without a sensor. A missing calibration is told as such."""
    if health.frames.scale_source is None and (problem := health.frames.prompt_problem):
        return WARN, f"relative: {problem}", values
    age_s = health.frames.prompt_age_s
    if health.frames.scale_source == "sensor" and age_s is not None and (problem := health.frames.prompt_problem):
        return WARN, f"metric by sparse depth of {age_s:.2f} s before: {problem}", values
    if health.frames.camera is None and health.frames.scale_source is None:
        return OK, "relative without usable camera_info", values
    if health.frames.scale_source is None:
        return WARN, f"relative: {health.model} is {health.claim}", values
    return OK, f"metric on the word of the {health.frames.scale_source}: {health.model} is {health.claim}", values


def _pipeline(health: Health) -> Report:
    statistics, settings, limit = health.frames.statistics, health.settings, health.frames.budget_limit
    values = {
        "rate [Hz]": f"{statistics.output_hz:.1f}",
        "target rate [Hz]": f"{settings.target_fps:g}" if settings.target_fps else "none",
        "budget": f"{health.frames.budget:g}" if health.frames.budget is not None else "unknown until the first image",
        "budget asked for": f"{settings.budget:g}",
        "images and clouds are published": health.way_out,
    }
    if health.cameras > 1:
        values |= {"cameras of this process": str(health.cameras), "part of its time": f"{health.share:.2f}"}
    if health.frames.left_out:
        values["uncertain pixels left out"] = str(health.frames.left_out)
    if settings.temporal and settings.motion_frame:
        problem = health.frames.motion_problem
        values["camera motion"] = (
            f"by the images alone: {problem}" if problem else f"by TF in {settings.motion_frame}, and the images"
        )
        values["images without motion by TF"] = str(health.frames.motion_missed)
    for stage, times in statistics.stages_ms.items():
        values[f"{stage} p50/p95/p99 [ms]"] = f"{times.p50:.2f} / {times.p95:.2f} / {times.p99:.2f}"
    if health.device_fault:
        return ERROR, f"the device is lost to this process, which ends: {health.device_fault}", values
    if health.stage != "active":
        return OK, health.stage, values
    if health.frames.no_answer:
        return ERROR, f"no answer: {health.frames.no_answer}", values
    if health.frames.first_takes:
        return WARN, health.frames.first_takes, values
    if missing := health.frames.missing_outputs:
        return WARN, f"frames go out without {'; without '.join(f'{name}: {reason}' for name, reason in missing.items())}", values
    if limit < settings.budget:
        return WARN, f"memory is short: {limit:g} of the pixels are refined instead of {settings.budget:g}", values
    if health.frames.overloaded:
        return (
            WARN,
            f"{statistics.output_hz:.1f} Hz: target_fps {settings.target_fps:g} cannot be held even at min_budget",
            values,
        )
    if not health.frames.subscribed:
        return OK, "idle: nobody listens to an output", values
    return OK, f"{statistics.output_hz:.1f} Hz", values


def _model(health: Health) -> Report:
    metric = health.frames.scale_source is not None
    scale = ("metric" if metric else "relative") if health.frames.answered else "unknown until the first image"
    device = health.device
    values = {
        "name": health.model,
        "input": _input_size(health),
        "engine": health.engine,
        "coarse engine": "" if health.coarse is None else engine_of(health.coarse),
        "device": "" if device is None else str(device),
        "scale": scale,
        "memory of the process [MB]": f"{resident_mb():.0f}",
    }
    if health.frames.remembered is not None:
        values["frames remembered"] = str(health.frames.remembered)
    if health.frames.warm_ups:
        values["warm-ups for image sizes"] = str(health.frames.warm_ups)
    if device is not None and (reserved := device_mb(device)) is not None:
        values["memory on the device [MB]"] = f"{reserved:.0f}"
    if health.load_error:
        return ERROR, health.load_error, values
    if health.configuring_s:
        return WARN, f"configuring for {health.configuring_s:.0f} s: loading, and compiling what is not compiled yet", values
    if health.stage == "unconfigured":
        return OK, health.stage, values
    if health.frames.blank:
        return ERROR, f"{health.model}: the last depth has no finite value", values
    if health.frames.answered and not metric:
        return WARN, f"{health.model}: depth is relative, not metres", values
    return OK, f"{health.model} on {device}", values


def _input_size(health: Health) -> str:
    """Of the coarse model: the rule and, where the image's size is known, what it comes to."""
    size, camera = health.coarse_size, health.frames.camera
    if size is None or camera is None or size.rule == "exact":
        return "" if size is None else str(size)
    height, width = size.of(camera.height, camera.width)
    return f"{width}x{height} ({size})"


def _numbers(*values: float) -> str:
    return " ".join(f"{value:.2f}" for value in values)


def _status(node: str, concern: str, level: bytes, message: str, values: dict[str, str]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(name=f"{node}: {concern}", hardware_id=node, level=level, message=message, values=pairs)
