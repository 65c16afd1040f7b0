"""``depth-retrofit messages``: generates the package's ROS 2 message where it was installed from a wheel."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from depth_retrofit_ros.errors import SetupError

if TYPE_CHECKING:
    from depth_retrofit_ros.cli import Subparsers

SCRIPT = Path("scripts", "build_messages.sh")
PACKAGE = Path(__file__).resolve().parents[1]


def add_parser(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "messages",
        help="generate the package's ROS 2 message: once, after pip install",
        description="Compiles the message of ~/frame_stats for this Python and this ROS 2, the sourced one or that of the extras "
        "'ros' and 'messages', into this virtual environment. Needs a C++ compiler, cmake and Python's headers. In a checkout "
        "'make' has done it, in a workspace 'colcon build' does.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns the script's exit code; it says itself what is missing. Raises SetupError outside of a virtual environment."""
    if sys.prefix == sys.base_prefix:
        raise SetupError(
            "messages are generated into a virtual environment, and this Python is in none: make one (python3 -m venv, on a "
            "sourced ROS with --system-site-packages) and install the package there"
        )
    return subprocess.run(["/usr/bin/env", "bash", sources(PACKAGE, Path(sys.prefix)) / SCRIPT, sys.prefix]).returncode


def sources(package: Path, prefix: Path) -> Path:
    """The folder with CMakeLists.txt, msg/ and scripts/: the checkout with the package, else what its wheel put into share/.

    prefix: of the Python environment. Raises SetupError where there is neither.
    """
    for folder in (package.parent, prefix / "share" / package.name):
        if (folder / SCRIPT).is_file():
            return folder
    raise SetupError(f"{prefix} has no {SCRIPT} of this package: install it there by pip, or generate its messages by colcon build")
