"""Play a source through the live node, store what comes out, and sum it up. The bag replay and the demo both end here."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from sensor_msgs.msg import PointCloud2

from depth_retrofit_ros.coarse import load_coarse
from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.comparison import BASELINES, Score, errors, mean_score, picture, stretched
from depth_retrofit_ros.evaluation.run_folder import RunFolder
from depth_retrofit_ros.evaluation.summary import Summary, machine, percentiles, write_summary
from depth_retrofit_ros.export import write_image, write_text, writing
from depth_retrofit_ros.pointcloud import POINT_STEP, write_ply
from depth_retrofit_ros.ros.live_run import NODE, LiveResult, LiveRun, run_live
from depth_retrofit_ros.ros.recorder import RecordedDepth, stamp_ns
from depth_retrofit_ros.ros.sources import Source

COMPARED = 3  # images on which the coarse model runs once more, for the comparison
PANEL_WIDTH = 960
STAGES = ("coarse", "upsample", "select", "refine", "fuse", "publish", "total")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Replay:
    """How to run: the model as in ``retrofit.load``; rate: 2 plays twice as fast; domain: ROS domain, None for a free one.

    live_stamps: whether the source's stamps are the present, so that the node's age of a frame means something.
    """

    title: str
    model: str
    weights: Path | None
    refiner: Path | None
    budget: float
    device: str
    engine: str
    rate: float = 1.0
    domain: int | None = None
    live_stamps: bool = False

    def parameters(self) -> Mapping[str, str | float]:
        """Of the depth node."""
        return {
            "model": self.model,
            "weights": "" if self.weights is None else str(self.weights.absolute()),
            "refiner": "" if self.refiner is None else str(self.refiner.absolute()),
            "device": self.device,
            "engine": self.engine,
            "budget": self.budget,
        }


def replay(source: Source, how: Replay, out: Path, progress: Say, say: Say) -> Summary:
    """Run, store, compare, sum up into ``out``. progress: told what happens now; say: told results, line by line.

    Raises GraphError, BagError, OutputError, ModelError, WeightsError.
    """
    folder = RunFolder(out)

    def store(recorded: RecordedDepth) -> None:
        folder.store(recorded.index, recorded.stamp_ns, recorded.depth, recorded.metric, recorded.camera)

    plan = LiveRun(
        source.types, source.image_topic, source.info_topic, how.parameters(), out / "node.log", rate=how.rate, domain=how.domain
    )
    live = run_live(plan, source.stream(), store, progress)
    say(live.account.line())

    progress("writing pictures")
    stamps = {entry.stamp_ns for entry in folder.stored}
    folder.write_pictures(source.frames(stamps))
    files = {"frames/*.npz": "depth float32, stamp, intrinsics", "frames/*_preview.jpg": "input, depth"} | _depth_files(folder)
    if live.recording.cloud is not None:
        files["cloud.ply"] = f"the last cloud, {_write_cloud(out / 'cloud.ply', live.recording.cloud)} points"
    write_text(out / "frames.csv", frames_csv(live, (*STAGES, "age") if how.live_stamps else STAGES))
    files["node.log"] = "what the node said"
    files["frames.csv"] = "every played image: latency and stage times, or no answer"

    progress("comparing with the stretched coarse depth")
    comparison = out / "comparison.png"
    scores = _compare(source, how, folder, comparison) if folder.stored else []
    if folder.stored:
        files[comparison.name] = "input, coarse stretched (nearest), refined; below, where refinement changed most"
    summary = _summary(source, how, live, scores, files)
    pictures = [comparison, *filter(None, [folder.preview()])] if folder.stored else []
    write_summary(out, summary, pictures)
    return summary


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
        return write_ply(path, points)


def frames_csv(live: LiveResult, stages: Sequence[str]) -> str:
    """One line per played image, with these times of the node; empty cells where there was no answer."""
    names = [f"{stage}_ms" for stage in stages]
    stats = {stamp_ns(entry): entry for entry in live.recording.stats}
    lines = [",".join(("stamp_ns", "played_s", "latency_ms", "refined_pixels", *names))]
    first_ns = min(live.playback.published_ns.values(), default=0)
    for stamp, published_ns in live.playback.published_ns.items():
        arrived_ns, entry = live.recording.arrived_ns.get(stamp), stats.get(stamp)
        cells = [str(stamp), f"{1e-9 * (published_ns - first_ns):.4f}"]
        cells.append("" if arrived_ns is None else f"{1e-6 * (arrived_ns - published_ns):.2f}")
        cells += [""] * (1 + len(names)) if entry is None else [str(entry.refined_pixels)]
        cells += [] if entry is None else [f"{getattr(entry, name):.2f}" for name in names]
        lines.append(",".join(cells))
    return "\n".join(lines) + "\n"


def _compare(source: Source, how: Replay, folder: RunFolder, path: Path) -> list[Score]:
    """The node's depth against the stretched coarse depth, on a few images; and on all of them against the reference."""
    stored = {entry.stamp_ns: entry for entry in folder.stored}
    chosen = _spread(list(stored), COMPARED)
    references = dict(source.references(chosen))
    coarse = load_coarse(how.model, weights=how.weights, device=how.device)
    rows: dict[str, list[tuple[float, float, float]]] = {method: [] for method in (*BASELINES, "refined")}
    for frame in source.frames(chosen):
        entry, reference = stored[frame.stamp_ns], references.get(frame.stamp_ns)
        maps = {**stretched(coarse, frame), "refined": entry.load()}
        if reference is not None:
            for method, depth in maps.items():
                rows[method].append(errors(_fitted(depth, reference), reference))
        if frame.stamp_ns == chosen[len(chosen) // 2]:
            shown = None if reference is None or reference.shape != maps["refined"].shape else reference
            write_image(path, picture(frame.image, maps, shown, PANEL_WIDTH))
    every = [errors(_fitted(stored[stamp].load(), reference), reference) for stamp, reference in source.references(stored)]
    if not every:
        return []
    metric = all(entry.metric for entry in folder.stored)
    scores = [mean_score(method, values, metric) for method, values in rows.items()]
    return [*scores, mean_score("refined, every recorded image", every, metric)]


def _spread(stamps: Sequence[int], count: int) -> list[int]:
    """At most ``count`` of them, evenly over the run, away from its ends."""
    return sorted({stamps[(2 * i + 1) * len(stamps) // (2 * count)] for i in range(count)})


def _fitted(depth: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """``depth`` at the size of ``reference``, which shows the same view. Raises BagError where it cannot."""
    (height, width), (h, w) = reference.shape, depth.shape
    if abs(width * h - w * height) > 0.01 * width * h:
        raise BagError(f"the reference depth is {width}x{height}, the image {w}x{h}: give a depth topic aligned to the image")
    same = (height, width) == (h, w)
    return depth if same else np.asarray(cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST))


def _summary(source: Source, how: Replay, live: LiveResult, scores: Sequence[Score], files: Mapping[str, str]) -> Summary:
    stats = live.recording.stats
    metric = {True: "metric", False: "relative", None: "no answer"}[stats[-1].metric if stats else None]
    model = live.recording.reports.get(f"{NODE}: model", {})
    where = f"on {model.get('device', how.device)}, sparse engine {model.get('engine', how.engine)}"
    facts = {
        "source": source.described,
        "model": f"{how.model} ({metric}), refiner {'bundled' if how.refiner is None else how.refiner.name}, {where}",
        "budget": f"{how.budget:g} of the pixels; refined {stats[-1].refined_pixels if stats else 0} in the last image",
        "machine": machine(),
        "software": f"torch {torch.__version__}, ROS 2 {os.environ.get('ROS_DISTRO', 'Jazzy from wheels')}",
        "played": f"{live.run_s:.1f} s at {how.rate:g} times the recorded rate",
        "player late by": _lateness(live.playback.late_s),
        "node ready after": f"{live.start_s:.1f} s",
    }
    stages = {stage: [float(getattr(entry, f"{stage}_ms")) for entry in stats] for stage in STAGES}
    return Summary(
        how.title,
        facts,
        live.account,
        *_rates_hz(live),
        live.latency_ms,
        stages,
        [float(entry.age_ms) for entry in stats] if how.live_stamps else [],
        scores,
        files,
    )


def _rates_hz(live: LiveResult) -> tuple[float, float]:
    """Of the played images, from the first to the last; of their answers, from the first image to the last answer."""
    published, arrived = live.playback.published_ns.values(), live.recording.arrived_ns.values()
    first_ns, last_ns, end_ns = min(published, default=0), max(published, default=0), max(arrived, default=0)
    input_hz = (len(published) - 1) / (1e-9 * (last_ns - first_ns)) if last_ns > first_ns else float("nan")
    return input_hz, len(arrived) / (1e-9 * (end_ns - first_ns)) if arrived else 0.0


def _lateness(late_s: Sequence[float]) -> str:
    if not late_s:
        return "nothing played"
    late = percentiles(late_s)
    return f"{1e3 * late.p50:.1f} ms (p50), {1e3 * late.p99:.1f} ms (p99)"
