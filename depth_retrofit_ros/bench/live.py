"""The whole node: a camera in this process, the node in another, a subscriber to depth, cloud and statistics in this one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from depth_retrofit_ros.bench.stages import rendered_frame
from depth_retrofit_ros.errors import GraphError
from depth_retrofit_ros.ros.replay.live_run import LiveRun, RunResult, run_live
from depth_retrofit_ros.ros.replay.sources import SceneSource
from depth_retrofit_ros.training.scenes.video import VideoFrame

STAGES = ("coarse", "upsample", "select", "refine", "fuse")
MOVES = 2  # of every output byte that no node can avoid: into its message, and from there to the middleware
SETTLING = 3  # answers at the start that are not counted: connections and caches


def measure_node(
    size: tuple[int, int], camera_hz: float, seconds: float, parameters: Mapping[str, str | float], progress: Callable[[str], None]
) -> dict[str, Any]:
    """One entry of ``node`` in the benchmark's JSON; see ``entry``. Raises GraphError, also where no image was answered."""
    frame = rendered_frame(size)
    assert frame.camera is not None
    view = VideoFrame(frame.image, np.zeros(size, np.float32), frame.camera)
    source = SceneSource([view], camera_hz, seconds)
    with tempfile.TemporaryDirectory() as folder:
        plan = LiveRun(source.types, source.image_topic, source.info_topic, parameters, Path(folder) / "node.log")
        live = run_live(plan, source.stream(), lambda recorded: None, progress)
    if not (live.recording.stats and live.latency_ms):
        raise GraphError(f"none of {live.delivery.played} images of {size[1]}x{size[0]} was answered in time: try more --seconds")
    return entry(size, camera_hz, live)


def entry(size: tuple[int, int], camera_hz: float, live: RunResult) -> dict[str, Any]:
    """What one run says.

    rate_hz: of the camera; fps: of the answers as they arrive; age: node's clock at publication − stamp; latency: image published →
    depth here; overhead: of an image's time in the worker all that is not inference; bytes: what depth and cloud hold, times
    ``MOVES``.
    """
    stats = live.recording.stats[SETTLING:] or live.recording.stats
    ages_ms = [stat.age_ms for stat in stats]
    latencies_ms = live.latency_ms[SETTLING:] or live.latency_ms
    overheads_ms = [stat.total_ms - sum(getattr(stat, f"{stage}_ms") for stage in STAGES) for stat in stats]
    cloud = live.recording.cloud
    outputs = 4 * size[0] * size[1] + (0 if cloud is None else len(cloud.data))
    p50, p99 = np.percentile(ages_ms, (50, 99))
    return {
        "size": list(size),
        "rate_hz": camera_hz,
        "fps": rate_hz([arrival.at_ns for arrival in live.recording.arrivals]),
        "age_ms_p50": float(p50),
        "age_ms_p99": float(p99),
        "latency_ms_p50": float(np.percentile(latencies_ms, 50)),
        "latency_ms_p99": float(np.percentile(latencies_ms, 99)),
        "total_ms_p50": float(np.median([stat.total_ms for stat in stats])),
        "overhead_ms_p50": float(np.median(overheads_ms)),
        "overhead_ms_min": float(min(overheads_ms)),
        "bytes": MOVES * outputs,
        "played": live.delivery.played,
        "received": live.delivery.received,
        "processed": live.delivery.answered,
        "dropped": live.delivery.dropped,
        "failed": live.delivery.failed,
        "lost": live.delivery.lost,
    }


def rate_hz(arrived_ns: Sequence[int]) -> float:
    """From the first to the last of these moments [ns]; 0 with fewer than two."""
    return 0.0 if len(arrived_ns) < 2 else (len(arrived_ns) - 1) / (1e-9 * (arrived_ns[-1] - arrived_ns[0]))
