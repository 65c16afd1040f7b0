#!/usr/bin/env python3
"""``depth-retrofit batch`` under what happens to it: a node that dies, a driver that is killed, a full disk, a line that is cut.

    python benchmarks/batch_inputs.py out/inputs
    python benchmarks/batch_shows.py out/inputs --work out/shows --json benchmarks/results/batch_shows.json

Each case is a run of the command in a process of its own. A digest is of all results, names and content; every case must end with
that of one local worker. ``ray`` needs Ray, ``full_disk`` the right to mount a tmpfs, ``sftp`` OpenSSH's sshd and paramiko: what is
missing is told in place of the case.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from depth_retrofit_ros.evaluation.report.summary import machine

MODEL = ("--model", "compact", "--device", "cpu", "--threads", "1", "--coarse-engine", "eager")
PARTS = ("--part", "0.5")  # where there are bags among the inputs
PATIENCE_S = 1800.0


class Shows:
    """inputs: see ``batch_inputs``; work: folder for the results."""

    def __init__(self, inputs: Path, work: Path) -> None:
        self.inputs, self.work = inputs, work
        work.mkdir(parents=True, exist_ok=True)

    def start(self, given: Sequence[str], out: str, *options: str, **environment: str) -> subprocess.Popen[str]:
        """A run of the command, in a session of its own."""
        arguments = [sys.executable, "-m", "depth_retrofit_ros", "batch", *given, "--out", out, *MODEL, *options]
        return subprocess.Popen(
            arguments,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def ended(self, run: subprocess.Popen[str], out: Path) -> dict[str, Any]:
        """What became of it."""
        said, _ = run.communicate(timeout=PATIENCE_S)
        if not (out / "report.json").exists():
            raise SystemExit(f"the run left no report:\n{said[-2000:]}")
        report = json.loads((out / "report.json").read_text())
        told = {name: report[name] for name in ("given", "done", "failed", "skipped", "left", "seconds", "engine", "digest")}
        return told | {"exit_code": run.returncode, "said": said.strip().splitlines()[-1]}

    def fresh(self, name: str) -> Path:
        """A folder that is not there."""
        shutil.rmtree(self.work / name, ignore_errors=True)
        return self.work / name

    def local(self, workers: int) -> dict[str, Any]:
        """All of it by workers of this machine."""
        out = self.fresh(f"local_{workers}")
        return self.ended(self.start([str(self.inputs)], str(out), *PARTS, "--workers", str(workers)), out)

    def ray(self) -> dict[str, Any]:
        """Two raylets on this machine, of which one is killed when a third is done."""
        if find_spec("ray") is None:
            return {"skipped_because": "ray is not installed"}
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}  # of this cluster alone
        from ray.cluster_utils import Cluster

        node = {"num_cpus": 1, "num_gpus": 0, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=node)
        second = cluster.add_node(num_cpus=1, num_gpus=0)
        try:
            out = self.fresh("ray")
            run = self.start([str(self.inputs)], str(out), *PARTS, "--on", "ray", "--workers", "2", RAY_ADDRESS=cluster.address)
            before = self._wait_for(out, self._expected() // 3, run)
            cluster.remove_node(second, allow_graceful=False)
            return self.ended(run, out) | {"sealed_before_the_node_died": before}
        finally:
            cluster.shutdown()

    def killed(self) -> dict[str, Any]:
        """SIGKILL of the driver when a third is done, and ``--resume``: what was sealed before is not touched."""
        out = self.fresh("killed")
        run = self.start([str(self.inputs)], str(out), *PARTS, "--workers", "2")
        self._wait_for(out, self._expected() // 3, run)
        run.send_signal(signal.SIGKILL)
        run.wait()
        before = self._settled(out)
        told = self.ended(self.start([str(self.inputs)], str(out), *PARTS, "--workers", "2", "--resume"), out)
        after = {path: path.stat().st_mtime_ns for path in (out / "items").glob("*.json")}
        return told | {"sealed_before": len(before), "of_these_done_again": sum(after[path] != at for path, at in before.items())}

    def full_disk(self) -> dict[str, Any]:
        """A file system of 1 MB that becomes larger before ``--resume``."""
        out = self.fresh("full_disk")
        out.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(out)], capture_output=True, text=True)
        if mounted.returncode:
            return {"skipped_because": f"no right to mount: {mounted.stderr.strip()}"}
        try:
            images = str(self.inputs / "images" / "image_00[0-2]?.jpg")
            run = self.start([images], str(out), "--workers", "1", "--depth", "npz")
            said, _ = run.communicate(timeout=PATIENCE_S)
            full = {"exit_code": run.returncode, "said": said.strip().splitlines()[-2:]}
            subprocess.run(["mount", "-o", "remount,size=200m", str(out)], check=True)
            told = self.ended(self.start([images], str(out), "--workers", "1", "--depth", "npz", "--resume"), out)
        finally:
            subprocess.run(["umount", str(out)], check=True)
        other = self.fresh("enough_disk")
        same = self.ended(self.start([images], str(other), "--workers", "1", "--depth", "npz"), other)
        return {"when_full": full, "resumed": told, "same_as_with_room": told["digest"] == same["digest"]}

    def inputs_that_change(self) -> dict[str, Any]:
        """One that cannot be read, and one that is another one in the second run."""
        given, out = self.fresh("changing"), self.fresh("changed")
        given.mkdir()
        for number in range(6):
            shutil.copy(self.inputs / "images" / f"image_{number:04d}.jpg", given)
        (given / "broken.jpg").write_bytes((given / "image_0000.jpg").read_bytes()[:300])
        first = self.ended(self.start([str(given)], str(out)), out)
        shutil.copy(given / "image_0005.jpg", given / "image_0001.jpg")
        second = self.ended(self.start([str(given)], str(out), "--resume"), out)
        return {"first": first, "second": second}

    def sftp(self) -> dict[str, Any]:
        """Read from a server and written to it; each connection is cut after some time, until none is any more."""
        from test.batch.sftp_server import known_hosts, line_to, sftp_server, sshd, user

        if find_spec("paramiko") is None or (program := sshd()) is None:
            return {"skipped_because": "paramiko or OpenSSH's sshd is not installed"}
        folder = self.fresh("server")
        folder.mkdir()
        out = folder / "out"
        with sftp_server(folder, program) as port, line_to(port) as line:
            home = self.fresh("home")
            (home / ".ssh").mkdir(parents=True)
            shutil.copy(folder / "user", home / ".ssh" / "id_ed25519")
            line.cuts = [300_000 + 50_000 * number for number in range(6)]
            address = f"sftp://{user()}:secret@127.0.0.1:{line.port}"
            given = [f"{address}{self.inputs}/images/image_00[0-2]?.jpg", f"{address}{self.inputs}/bag_00"]
            environment = {"HOME": str(home), "DEPTH_RETROFIT_KNOWN_HOSTS": str(known_hosts(folder, line.port))}
            told = self.ended(self.start(given, f"{address}{out}", *PARTS, "--workers", "2", **environment), out)
            texts = [path.read_text() for path in out.rglob("*.json*")]
            told |= {"connections": line.connections, "cuts": 6, "secret_in_any_text": any("secret" in text for text in texts)}
        here = self.fresh("not_sftp")
        local = self.ended(
            self.start([str(self.inputs / "images" / "image_00[0-2]?.jpg"), str(self.inputs / "bag_00")], str(here), *PARTS), here
        )
        return told | {"same_as_local": contents(out) == contents(here) and local["done"] == told["done"]}

    def _expected(self) -> int:
        return len(list((self.inputs / "images").iterdir())) + len(list(self.inputs.glob("bag_*")))

    def _wait_for(self, out: Path, count: int, run: subprocess.Popen[str]) -> int:
        begun_s = time.monotonic()
        while (found := len(list((out / "items").glob("*.json")))) < count:
            if run.poll() is not None or time.monotonic() - begun_s > PATIENCE_S:
                raise SystemExit(f"the run ended with {found} of {count}")
            time.sleep(0.05)
        return found

    def _settled(self, out: Path) -> dict[Path, int]:
        """The seals, once its workers, which end when it does, write no more."""
        before: dict[Path, int] = {}
        while True:
            now = {path: path.stat().st_mtime_ns for path in (out / "items").glob("*.json")}
            if now == before and now:
                return now
            before = now
            time.sleep(1.0)


def contents(out: Path) -> list[bytes]:
    """Of all results, whatever their names, which are of their inputs' addresses."""
    return sorted(path.read_bytes() for path in (out / "depth").rglob("*.*"))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    shows = Shows(args.inputs.absolute(), args.work.absolute())
    cases: dict[str, Callable[[], dict[str, Any]]] = {
        "one_worker": lambda: shows.local(1),
        "two_workers": lambda: shows.local(2),
        "ray_with_a_node_killed": shows.ray,
        "driver_killed": shows.killed,
        "full_disk": shows.full_disk,
        "inputs_that_change": shows.inputs_that_change,
        "sftp_with_a_line_that_is_cut": shows.sftp,
    }
    told: dict[str, Any] = {"machine": machine(), "cases": {}}
    for name, case in cases.items():
        told["cases"][name] = case()
        print(name, json.dumps(told["cases"][name], indent=1), flush=True)
    whole = told["cases"]["one_worker"]["digest"]
    told["same_digest"] = {
        name: case["digest"] == whole for name, case in told["cases"].items() if "digest" in case and "sftp" not in name
    }
    args.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
