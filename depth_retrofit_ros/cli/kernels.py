"""``depth-retrofit kernels``: compiles, once, what a node on this machine's CPU runs, so that no first run has to."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from depth_retrofit_ros.cli import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "kernels",
        help="compile the CPU's kernels now, so that the first run need not: after pip install, or into a container",
        description="Compiles what the method and the node run on this machine's CPU, for the bundled model and all outputs, and "
        "keeps it where the next run finds it: NUMBA_CACHE_DIR, else beside the package, else in the user's cache. Takes a minute "
        "the first time and seconds where it is there. In a checkout 'make' has done it.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compile them all."""
    from depth_retrofit_ros.cli.progress import Progress

    progress, start_s = Progress(), time.perf_counter()
    for name, compile_now in steps().items():
        progress.show(f"compiling kernels: {name}")
        compile_now()
    progress.say(f"compiled kernels are in place after {time.perf_counter() - start_s:.0f} s")
    return 0


def steps() -> dict[str, Callable[[], object]]:
    """Part → what compiles its kernels, or reads them where they are kept."""
    from depth_retrofit_ros.confidence.estimate_cpu import compile_confidence
    from depth_retrofit_ros.evaluation.report.fly_through import compile_flight
    from depth_retrofit_ros.io.raw_depth import compile_millimeters
    from depth_retrofit_ros.loading import load
    from depth_retrofit_ros.pointcloud.normals import compile_normals
    from depth_retrofit_ros.pointcloud.organized import compile_cloud
    from depth_retrofit_ros.pointcloud.ray_table import compile_cloud_along
    from depth_retrofit_ros.runtime.derived_outputs import DERIVED, compile_derived
    from depth_retrofit_ros.runtime.filtered_cloud import compile_filters
    from depth_retrofit_ros.runtime.self_check import self_check
    from depth_retrofit_ros.temporal.settled import compile_settled

    return {
        "the method": lambda: self_check(load("compact", device="cpu")),
        "clouds": compile_cloud,
        "clouds of a bent lens": compile_cloud_along,
        "filters of clouds": compile_filters,
        "depth in millimetres": compile_millimeters,
        "outputs on request": lambda: compile_derived(DERIVED),
        "frames held steady": compile_settled,
        "confidence": compile_confidence,
        "normals": compile_normals,
        "the demo's flight": compile_flight,
    }
