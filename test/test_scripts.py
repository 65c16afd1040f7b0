"""What the set-up scripts say on a machine that lacks something: one line, and nothing is touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from test.paths import ROOT
from test.waiting import PATIENCE_S

SCRIPTS = ROOT / "scripts"
BASE_PYTHON = os.path.realpath(sys.executable)


def complaint(script: str, *arguments: str | Path, **environ: str) -> str:
    """The line on stderr of a script that must fail."""
    done = subprocess.run(
        ["/bin/bash", SCRIPTS / script, *arguments],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_setup_without_python(tmp_path: Path) -> None:
    assert "no-such-python is missing" in complaint("setup_venv.sh", tmp_path / "venv", "no-such-python", "wheels")
    assert not (tmp_path / "venv").exists()


def test_setup_with_a_ros_made_for_another_python(tmp_path: Path) -> None:
    line = complaint("setup_venv.sh", tmp_path / "venv", BASE_PYTHON, "jazzy", PYTHONNOUSERSITE="1")
    assert "cannot import the rclpy of the sourced ROS 2 (jazzy)" in line
    assert not (tmp_path / "venv").exists()


def test_setup_never_clears_an_environment_that_it_did_not_make(tmp_path: Path) -> None:
    config = tmp_path / "pyvenv.cfg"
    config.write_text("include-system-site-packages = true\n")
    line = complaint("setup_venv.sh", tmp_path, BASE_PYTHON, "wheels")
    assert "was not made by make" in line or "no ROS 2 wheels" in line
    assert config.exists()


@pytest.mark.parametrize(("tools", "missing"), [((), "cmake is missing"), (("cmake",), "a C++ compiler is missing")])
def test_messages_without_build_tools(tmp_path: Path, tools: tuple[str, ...], missing: str) -> None:
    for tool in tools:
        (tmp_path / tool).symlink_to("/bin/true")
    assert missing in complaint("build_messages.sh", sys.prefix, PATH=str(tmp_path))
