"""A disk that fills up while depth is being recorded: one line, code 2, and nothing is left running."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from test.evaluation.bags import write_bag
from test.waiting import PATIENCE_S

FULL = Path("/dev/full")

# The command, but that the folder of its run lies on a full disk as soon as it is there, and that the node's process id is noted.
FILLING = """
import subprocess, sys
from pathlib import Path
from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.evaluation.report.run_folder import RunFolder
from depth_retrofit_ros.ros.node.process import NodeProcess

full, *arguments = sys.argv[1:]
prepare, start = RunFolder.__init__, NodeProcess.__enter__

def prepare_and_fill(folder, root):
    prepare(folder, root)
    for number in range(6):
        (root / "frames" / f"{number:06d}.npz").symlink_to(full)

def start_and_note(process):
    started = start(process)
    (Path(arguments[arguments.index("--out") + 1]) / "pid").write_text(str(process._process.pid))
    return started

RunFolder.__init__, NodeProcess.__enter__ = prepare_and_fill, start_and_note
sys.exit(cli.main(arguments))
"""


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_disk_ends_the_replay_with_one_line_and_its_node_with_it(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", "mcap", frames=6, height=96, width=128)
    out = tmp_path / "out"
    command = [sys.executable, "-c", FILLING, FULL, "replay", bag, "--image-topic", "/camera/image", "--out", out, "--rate", "0.2"]
    with subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2, errors
    (line,) = [line for line in errors.splitlines() if "error" in line]
    assert "cannot write" in line and os.strerror(28) in line
    assert "Traceback" not in errors
    (node,) = (out / "pid").read_text().split()
    assert not Path(f"/proc/{node}").exists()
