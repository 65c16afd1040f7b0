#!/usr/bin/env python3
"""How long the depth node takes from its start until it waits for images, and where that time goes.

    python benchmarks/start.py --json benchmarks/results/start.json
    python benchmarks/start.py --json OUT --beside CHECKOUT     # another one, set up, taking turns with this

The model is ``compact`` on the CPU. Medians of ``--repeat`` starts, after one that is not counted and compiles kernels where none
are kept; wall time, and processor time, which other programs on the machine do not lengthen. ``without kernels``: one start with an
empty cache of compiled kernels. Stages are of a process that does the same, one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
READY = "waiting for /"
PATIENCE_S = 300.0
COMMAND = [sys.executable, "-m", "depth_retrofit_ros.ros.node.main", "--ros-args", "-p", "model:=compact", "-p", "device:=cpu"]


def main() -> int:
    """Measure, print and store; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="OUT")
    parser.add_argument("--repeat", type=int, default=5, help="starts of each checkout (default: 5)")
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT", help="compare with this one")
    parser.add_argument("--stages", action="store_true", help="print the stages of one start of this process, and end")
    args = parser.parse_args()
    if args.stages:
        print(json.dumps(stages()))
        return 0
    if args.json is None:
        parser.error("--json is needed")

    from depth_retrofit_ros.evaluation.report.summary import machine
    from depth_retrofit_ros.ros.transport.domain_isolation import claimed_domain, private_environment

    checkouts = {"this": ROOT} | ({} if args.beside is None else {"beside": args.beside.resolve()})
    starts: dict[str, list[dict[str, Any]]] = {name: [] for name in checkouts}
    with claimed_domain() as domain:
        environment = {**os.environ, **private_environment(domain)}
        for turn in range(args.repeat + 1):
            for name, checkout in checkouts.items():
                of_checkout = environment | {"PYTHONPATH": str(checkout)}
                took = started(checkout, of_checkout) | {"stages_s": stages_of(of_checkout)}
                starts[name] += [took] if turn else []
                print(f"{name}, {turn}: {took['wall_s']:.2f} s, {took['processor_s']:.2f} s of the processor", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            cold = started(ROOT, environment | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": folder})
    document = {"machine": machine(), "repeat": args.repeat, "without kernels": cold}
    document |= {name: medians(found) for name, found in starts.items()}
    args.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=2))
    return 0


def started(checkout: Path, environment: Mapping[str, str]) -> dict[str, float]:
    """One start of the node: from the start of its process until it waits for images [s]."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "node.log"
        with log.open("wb") as output:
            begin_s = time.perf_counter()
            own = {**environment, "PYTHONUNBUFFERED": "1"}
            process = subprocess.Popen(COMMAND, cwd=checkout, env=own, stdout=output, stderr=output)
        try:
            while READY not in log.read_text(errors="replace"):
                if process.poll() is not None or time.perf_counter() - begin_s > PATIENCE_S:
                    raise SystemExit(f"the node did not start: {log.read_text(errors='replace')}")
                time.sleep(0.01)
            return {"wall_s": time.perf_counter() - begin_s, "processor_s": processor_s(process.pid)}
        finally:
            process.terminate()
            process.wait()


def processor_s(pid: int) -> float:
    """Of all threads of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stages_of(environment: Mapping[str, str]) -> dict[str, float]:
    """Of a process that does what the node does at its start."""
    done = subprocess.run([sys.executable, __file__, "--stages"], env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def stages() -> dict[str, float]:
    """Processor time of each, in this process [s]."""
    found: dict[str, float] = {"interpreter": time.process_time()}

    def note(name: str) -> None:
        found[name] = time.process_time() - sum(found.values())

    from depth_retrofit_ros.ros.transport.dds_profile import configure_transport

    configure_transport()
    import rclpy

    rclpy.init(args=COMMAND[3:])
    note("rclpy")
    import torch  # noqa: F401 - what it takes is told

    note("torch")
    import numba  # noqa: F401 - the same

    note("numba")
    from depth_retrofit_ros.ros.node.node import DepthNode, load_retrofit
    from depth_retrofit_ros.runtime.self_check import self_check

    note("the package")
    node = DepthNode()
    note("the node")
    method = load_retrofit(node.settings)
    note("checkpoints")
    self_check(method)
    note("first frames")
    node._prepared()
    note("further kernels")
    return found


def medians(starts: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each figure."""
    figures: dict[str, Any] = {key: statistics.median(start[key] for start in starts) for key in ("wall_s", "processor_s")}
    figures["all_wall_s"] = [start["wall_s"] for start in starts]
    figures["stages_s"] = {name: statistics.median(start["stages_s"][name] for start in starts) for name in starts[0]["stages_s"]}
    return figures


if __name__ == "__main__":
    sys.exit(main())
