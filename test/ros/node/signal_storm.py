"""SIGINT and SIGTERM at random moments of a node's life: ``python -m test.ros.node.signal_storm --rounds 40 --cold``.

A life begins when the node has taken the signals (before, Python itself starts) and is as long as ``--seconds``. Each must end with
code 0 and without a traceback; prints one line for each, and returns how many did not.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from depth_retrofit_ros.ros.transport.domain_isolation import free_domain, private_environment
from test.paths import ROOT

WAYS = {
    "module": [sys.executable, "-m", "depth_retrofit_ros.ros.node.main"],
    "script": [sys.executable, str(ROOT / "scripts" / "depth_node")],
    "run": [sys.executable, "-m", "depth_retrofit_ros.cli.main", "run"],
}
PATIENCE_S = 60.0


def has_taken_signals(process: subprocess.Popen[bytes]) -> bool:
    """Whether SIGTERM has a handler, as Linux tells; of a process that has ended: yes."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return True
    caught = re.search(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
    return process.poll() is not None or (caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1))


def wait_for_handlers(process: subprocess.Popen[bytes]) -> None:
    """Until the node has taken the signals."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not has_taken_signals(process):
        assert time.monotonic() < deadline_s, "the node does not take the signals"
        time.sleep(0.001)


def complaint(code: int, told: str) -> str:
    """What is wrong with an end; empty where nothing is."""
    words = [word for word in ("Traceback", "Exception ignored", "Error", "terminate called") if word in told]
    return " ".join(filter(None, (f"code {code}" if code else "", *words)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--cold", action="store_true", help="each node compiles its kernels anew")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chance, bad = random.Random(args.seed), 0
    for number in range(args.rounds):
        way, kind = chance.choice(list(WAYS)), chance.choice((signal.SIGINT, signal.SIGTERM))
        delay_s = chance.uniform(0.0, args.seconds)
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, **private_environment(free_domain())}
            environment |= {"NUMBA_CACHE_DIR": f"{folder}/kernels"} if args.cold else {}
            log = Path(folder) / "log"
            with log.open("wb") as output:
                process = subprocess.Popen(WAYS[way], env=environment, stdout=output, stderr=subprocess.STDOUT)
            wait_for_handlers(process)
            time.sleep(delay_s)
            process.send_signal(kind)
            begin_s = time.monotonic()
            code = process.wait(PATIENCE_S)
            took_s, told = time.monotonic() - begin_s, log.read_text(errors="replace")
        wrong = complaint(code, told)
        bad += bool(wrong)
        print(f"{number:3} {way:6} {kind.name} after {delay_s:5.2f} s: ended in {took_s:4.1f} s, {wrong or 'in order'}", flush=True)
        if wrong:
            print(told, flush=True)
    print(f"{bad} of {args.rounds} ends were not in order")
    return bad


if __name__ == "__main__":
    sys.exit(min(main(), 1))
