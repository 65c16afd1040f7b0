#!/usr/bin/env python3
"""A target rate while another program takes the processors, and after it has gone: what happens to rate and budget.

python benchmarks/governor.py --json benchmarks/results/governor.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from depth_retrofit_ros.bench.stages import rendered_frame
from depth_retrofit_ros.cli.progress import Progress
from depth_retrofit_ros.evaluation.report.summary import machine
from depth_retrofit_ros.ros.replay.live_run import LiveRun, RunResult, run_live
from depth_retrofit_ros.ros.replay.recorder import stamp_ns
from depth_retrofit_ros.ros.replay.sources import SceneSource
from depth_retrofit_ros.training.scenes.video import VideoFrame

BUSY = "while True: pass"
SETTLING_S = 5.0  # after each change


class Phases:
    """Quiet, loaded, quiet again, each ``seconds`` long; told the time once a second."""

    def __init__(self, seconds: float, programs: int) -> None:
        self.seconds, self.programs = seconds, programs
        self.changes_ns: list[int] = []
        self._load: list[subprocess.Popen[bytes]] = []

    def tell(self, progress: Progress, line: str) -> None:
        if "played" not in line:
            return
        elapsed_s = float(line.split("s:")[0])
        if len(self.changes_ns) == 0 and elapsed_s >= self.seconds:
            self._load = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(self.programs)]
            self.changes_ns.append(time.monotonic_ns())
        elif len(self.changes_ns) == 1 and elapsed_s >= 2 * self.seconds:
            self.stop()
            self.changes_ns.append(time.monotonic_ns())
        progress.show(f"{'loaded' if self._load else 'quiet'} {line}")

    def stop(self) -> None:
        for process in self._load:
            process.kill()
            process.wait()
        self._load = []


def phases(live: RunResult, changes_ns: list[int]) -> dict[str, Any]:
    """Rate, budget and processing time of the answers of each phase, without its first seconds."""
    settled_ns = int(SETTLING_S * 1e9)
    arrived = live.recording.arrivals
    stats = {stamp_ns(stat): stat for stat in live.recording.stats}
    edges = [arrived[0][1], *changes_ns, arrived[-1][1] + 1]
    result = {}
    for name, (begin, end) in zip(("quiet", "loaded", "quiet_again"), pairwise(edges), strict=True):
        here = [(stamp, at_ns) for stamp, at_ns in arrived if begin + settled_ns <= at_ns < end and stamp in stats]
        budgets = [stats[stamp].budget for stamp, _ in here]
        result[name] = {
            "rate_hz": (len(here) - 1) / (1e-9 * (here[-1][1] - here[0][1])),
            "budget_median": float(np.median(budgets)),
            "budget_min": float(min(budgets)),
            "budget_last": float(budgets[-1]),
            "processing_ms_p50": float(np.median([stats[stamp].total_ms for stamp, _ in here])),
        }
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--target-fps", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each phase (default: 30)")
    parser.add_argument("--programs", type=int, default=len(os.sched_getaffinity(0)), help="that burn time (default: one per CPU)")
    args = parser.parse_args()
    frame, progress = rendered_frame((args.height, args.width)), Progress()
    assert frame.camera is not None
    view = VideoFrame(frame.image, np.zeros((args.height, args.width), np.float32), frame.camera)
    source, load = SceneSource([view], 2 * args.target_fps, 3 * args.seconds), Phases(args.seconds, args.programs)
    with tempfile.TemporaryDirectory() as folder:
        parameters = {"model": "compact", "target_fps": args.target_fps, "trust_scale": True}
        plan = LiveRun(source.types, source.image_topic, source.info_topic, parameters, Path(folder) / "node.log")
        try:
            live = run_live(plan, source.stream(), lambda recorded: None, lambda line: load.tell(progress, line))
        finally:
            load.stop()
    measured = phases(live, load.changes_ns)
    loaded = measured["loaded"]
    checks = {
        "rate_within_10_percent": abs(loaded["rate_hz"] / args.target_fps - 1) <= 0.1,
        "budget_fell": loaded["budget_median"] < measured["quiet"]["budget_median"],
        "budget_recovered": measured["quiet_again"]["budget_last"] >= measured["quiet"]["budget_median"],
    }
    document = {
        "machine": machine(),
        "size": [args.height, args.width],
        "target_fps": args.target_fps,
        **measured,
        "checks": checks,
    }
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(document, indent=1) + "\n")
    progress.say(json.dumps(document, indent=1))
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
