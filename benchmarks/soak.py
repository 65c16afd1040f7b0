#!/usr/bin/env python3
"""The depth node for half an hour at a target rate: is it still there, does its memory stand still, is every frame accounted for?

    python benchmarks/soak.py --minutes 30 --json benchmarks/results/soak.json

A camera plays rendered images in real time, faster than the target; the node is a process of its own, as on a robot; depth, cloud
and statistics are listened to. Exits with 1 where a check fails; the JSON names each. Without a target it is the overload test:

    python benchmarks/soak.py --minutes 10 --camera-hz 60 --target-hz 0 --json benchmarks/results/overload.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from depth_retrofit_ros.cli.progress import Progress
from depth_retrofit_ros.coarse.registry import find_model
from depth_retrofit_ros.evaluation.report.summary import machine
from depth_retrofit_ros.ros.replay.live_run import LiveRun, RunResult, run_live
from depth_retrofit_ros.ros.replay.sources import SceneSource
from depth_retrofit_ros.training.scenes.video import scene_video

WARM_UP = 0.2  # of the run, at most WARM_UP_S: the allocator and the transport reach their working size
WARM_UP_S = 300.0
MOST_DRIFT = 0.01
LEAST_RATE = 0.9  # of the target
NODE = "depth_retrofit_ros.ros.node.main"


@dataclass(slots=True)
class Memory:
    """Resident memory [MB] of the node, about once a second: ``at_s`` after the first sample."""

    at_s: list[float] = field(default_factory=list)
    resident_mb: list[float] = field(default_factory=list)
    begin_s: float = field(default_factory=time.monotonic)

    def sample(self) -> None:
        """Nothing where the node is not there: that it ended is noticed elsewhere."""
        pid = node_process()
        resident_mb = None if pid is None else resident(pid)
        if resident_mb is not None:
            self.at_s.append(time.monotonic() - self.begin_s)
            self.resident_mb.append(resident_mb)

    def summary(self) -> dict[str, Any]:
        """Medians [MB] of the tenth after the warm-up and of the last tenth; drift between them, relative; the curve."""
        at_s, resident_mb = np.array(self.at_s), np.array(self.resident_mb)
        start_s = min(WARM_UP * at_s[-1], WARM_UP_S)
        tenth_s = (at_s[-1] - start_s) / 10
        before = float(np.median(resident_mb[(at_s >= start_s) & (at_s <= start_s + tenth_s)]))
        after = float(np.median(resident_mb[at_s >= at_s[-1] - tenth_s]))
        every = max(1, len(at_s) // 60)
        return {
            "after_warm_up_mb": before,
            "at_end_mb": after,
            "peak_mb": float(resident_mb.max()),
            "drift": after / before - 1,
            "at_s": at_s[::every].round().tolist(),
            "resident_mb": resident_mb[::every].round(1).tolist(),
        }


def node_process() -> int | None:
    """The process id of the node that this process started."""
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            if NODE in Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"):
                return int(pid)
    return None


def resident(pid: int) -> float | None:
    """Memory [MB] that a process made resident itself, shared memory included; None where it has just ended.

    Without the pages of files (libraries): these come and go as the kernel likes.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:"))) / 1024


def soak(args: argparse.Namespace, progress: Progress) -> tuple[RunResult, Memory]:
    """Play, and watch the node meanwhile. Raises GraphError where it ended, or where its counts do not add up."""
    progress.show("rendering")
    views = list(scene_video(args.seed, args.width, args.height, args.views))
    source = SceneSource(views, args.camera_hz, 60 * args.minutes)
    memory = Memory()

    def watch(line: str) -> None:
        memory.sample()
        progress.show(line)

    with tempfile.TemporaryDirectory() as folder:
        parameters = {"model": args.model, "target_fps": args.target_hz, "budget": args.budget}
        parameters["trust_scale"] = find_model(args.model).claim.needs_trust  # the cloud is part of the load
        plan = LiveRun(source.types, source.image_topic, source.info_topic, parameters, Path(folder) / "node.log")
        return run_live(plan, source.stream(), lambda recorded: None, watch), memory


def report(args: argparse.Namespace, live: RunResult, memory: Memory) -> dict[str, Any]:
    """What was run, what came out, and the checks by name."""
    achieved_hz = live.delivery.answered / live.run_s
    held = memory.summary()
    stats = live.recording.stats
    ages_ms, busy_ms = [stat.age_ms for stat in stats], [stat.total_ms for stat in stats]
    period_ms = float(np.median(busy_ms))
    delivery = {**asdict(live.delivery), "lost": live.delivery.lost}
    checks = {
        "node_alive": True,  # otherwise run_live raises
        "every_frame_accounted_for": live.delivery.pending == 0 and live.delivery.failed == 0,
        "every_answer_arrived": live.delivery.recorded == live.delivery.answered,
        "memory_flat": abs(held["drift"]) < MOST_DRIFT,
        "rate_held": achieved_hz >= LEAST_RATE * args.target_hz,
        # An image waits for at most one other, whatever comes in: it is two processing times old at most.
        "age_below_two_periods": float(np.median(ages_ms)) < 2 * period_ms,
    }
    return {
        "machine": machine(),
        "minutes": live.run_s / 60,
        "size": [args.width, args.height],
        "model": args.model,
        "budget": args.budget,
        "camera_hz": args.camera_hz,
        "target_hz": args.target_hz,
        "achieved_hz": achieved_hz,
        "age_ms": dict(zip(("p50", "p95", "p99"), np.percentile(ages_ms, (50, 95, 99)).tolist(), strict=True)),
        "processing_ms": dict(zip(("p50", "p95", "p99"), np.percentile(busy_ms, (50, 95, 99)).tolist(), strict=True)),
        "latency_ms": dict(zip(("p50", "p95", "p99"), np.percentile(live.latency_ms, (50, 95, 99)).tolist(), strict=True)),
        "frames": delivery,
        "memory": held,
        "checks": checks,
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--camera-hz", type=float, default=10.0, help="of the camera (default: 10)")
    parser.add_argument("--target-hz", type=float, default=2.0, help="of the node (default: 2); 0: as fast as it can")
    parser.add_argument("--budget", type=float, default=0.1)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--views", type=int, default=4, help="different images (default: 4)")
    parser.add_argument("--seed", type=int, default=10, help="of the scene (default: 10)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    progress = Progress()
    live, memory = soak(args, progress)
    result = report(args, live, memory)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    progress.say(json.dumps(result, indent=2))
    return 0 if all(result["checks"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
