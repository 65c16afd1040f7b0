"""A disk that fills up while depth is being recorded: one line, code 2, and nothing is left running."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from test.evaluation.bags import write_bag

FULL = Path("/dev/full")
PATIENCE_S = 50.0


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_disk_ends_the_replay_with_one_line_and_its_node_with_it(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", "mcap", frames=6, height=96, width=128)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "depth_retrofit_ros", "replay", bag, "--image-topic", "/camera/image", "--out", out]
    with subprocess.Popen(
        [*map(str, command), "--rate", "0.2"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        # Before the node has answered anything, the files that it will be written to lie on a full disk.
        deadline_s = time.monotonic() + PATIENCE_S
        while not (nodes := children(process.pid)):
            assert process.poll() is None and time.monotonic() < deadline_s
            time.sleep(0.01)
        for number in range(6):
            (out / "frames" / f"{number:06d}.npz").symlink_to(FULL)
        _, errors = process.communicate(timeout=2 * PATIENCE_S)
    assert process.returncode == 2, errors
    (line,) = [line for line in errors.splitlines() if "error" in line]
    assert "cannot write" in line and os.strerror(28) in line
    assert "Traceback" not in errors
    assert not [pid for pid in nodes if Path(f"/proc/{pid}").exists()]


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
