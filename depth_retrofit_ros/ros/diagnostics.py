"""What the node says about itself on ``/diagnostics``: one status each for input, calibration, pipeline and model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from depth_retrofit_ros.frame import DepthFrame
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.parameters import Settings, Stage
from depth_retrofit_ros.runtime.statistics import FrameStatistics
from depth_retrofit_ros.runtime.worker import FrameCounts

if TYPE_CHECKING:
    from std_msgs.msg import Header

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass(slots=True)
class FrameHealth:
    """What became of the images since the last activation.

    unheard: images that came while nobody listened to any output; no other count has them. listened: somebody did, last time.
    calibration_problem: why there are no intrinsics, None where there are. metric: whether the last depth was.
    reported_failures: how many of ``counts.failed`` are told already.
    """

    statistics: FrameStatistics = field(default_factory=FrameStatistics)
    counts: FrameCounts = field(default_factory=FrameCounts)
    unheard: int = 0
    listened: bool = False
    last_failure: str = ""
    calibration_problem: str | None = None
    metric: bool | None = None
    reported_failures: int = 0


@dataclass(slots=True)
class Health:
    """How the node is, kept up to date by node and processor. Fields are replaced as a whole, so any thread may read them."""

    settings: Settings
    stage: Stage = "unconfigured"
    load_error: str = ""
    device: str = ""
    engine: str = ""
    image_topic: str = ""
    info_topic: str = ""
    frames: FrameHealth = field(default_factory=FrameHealth)


def diagnostics(node: str, health: Health) -> list[DiagnosticStatus]:
    """One status per concern. Failures are reported once: as a warning in the report that follows them."""
    statuses = [
        _status(node, "input", *_input(health)),
        _status(node, "calibration", *_calibration(health)),
        _status(node, "pipeline", *_pipeline(health)),
        _status(node, "model", *_model(health)),
    ]
    health.frames.reported_failures = health.frames.counts.failed
    return statuses


def frame_stats(
    header: Header, result: DepthFrame, settings: Settings, counts: FrameCounts, publish_ms: float, total_ms: float, age_ms: float
) -> FrameStats:
    """The message about one answered frame. ``counts`` are from before the worker counts it; the message does count it."""
    stats = FrameStats(header=header, publish_ms=publish_ms, total_ms=total_ms, age_ms=age_ms)
    for stage in ("coarse", "upsample", "select", "refine", "fuse"):
        setattr(stats, f"{stage}_ms", result.times_ms.get(stage, 0.0))  # a stage that had nothing to do took no time
    stats.refined_pixels, stats.budget = result.refined_pixels, settings.budget
    stats.received, stats.processed = counts.received, counts.processed + 1
    stats.dropped, stats.failed = counts.dropped, counts.failed
    stats.metric, stats.model = result.metric, settings.model
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
        "unheard": str(health.frames.unheard),
        "last failure": health.frames.last_failure,
    }
    if age := statistics.age_ms:
        values |= {"age p50 [ms]": f"{age.p50:.1f}", "age p95 [ms]": f"{age.p95:.1f}", "age p99 [ms]": f"{age.p99:.1f}"}
    if health.stage != "active":
        return OK, health.stage, values
    if statistics.input_hz == 0.0:
        return WARN, f"waiting for image on {health.image_topic}", values
    if failed := counts.failed - health.frames.reported_failures:
        return WARN, f"{failed} images failed: {health.frames.last_failure}", values
    return OK, f"{statistics.input_hz:.1f} Hz", values


def _calibration(health: Health) -> Report:
    if health.stage != "active":
        return OK, health.stage, {}
    problem = health.frames.calibration_problem
    return (WARN, problem, {}) if problem else (OK, "camera_info fits the image", {})


def _pipeline(health: Health) -> Report:
    statistics, settings = health.frames.statistics, health.settings
    values = {
        "rate [Hz]": f"{statistics.output_hz:.1f}",
        "rate limit [Hz]": f"{settings.rate:g}" if settings.rate else "none",
        "budget": f"{settings.budget:g}",
    }
    for stage, times in statistics.stages_ms.items():
        values[f"{stage} p50/p95/p99 [ms]"] = f"{times.p50:.2f} / {times.p95:.2f} / {times.p99:.2f}"
    if health.stage != "active":
        return OK, health.stage, values
    if not health.frames.listened:
        return OK, "idle: nobody listens to an output", values
    return OK, f"{statistics.output_hz:.1f} Hz", values


def _model(health: Health) -> Report:
    scale = {None: "unknown until the first image", True: "metric", False: "relative"}[health.frames.metric]
    values = {"name": health.settings.model, "device": health.device, "engine": health.engine, "scale": scale}
    if health.load_error:
        return ERROR, health.load_error, values
    if health.stage == "unconfigured":
        return OK, health.stage, values
    if health.frames.metric is False:
        return WARN, f"{health.settings.model}: depth is relative, not metres", values
    return OK, f"{health.settings.model} on {health.device}", values


def _status(node: str, concern: str, level: bytes, message: str, values: dict[str, str]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(name=f"{node}: {concern}", hardware_id=node, level=level, message=message, values=pairs)
