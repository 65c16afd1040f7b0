"""The process of the live page beside a run: what it costs, and what is said where it does not come."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from depth_retrofit_ros.ros.replay.live_page import HOST, LivePage, has_viser


def test_it_does_not_load_what_only_the_node_computes_with() -> None:
    """A second or two of a processor that the node starts on."""
    program = (
        "import sys; import depth_retrofit_ros.cli.view, depth_retrofit_ros.ros.view.run, depth_retrofit_ros.ros.view.web_view; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_the_address_is_the_page_s_own(tmp_path: Path) -> None:
    """And no link that something prints beforehand."""
    log = tmp_path / "page.log"
    page = LivePage(8090, log)
    log.write_text(f"Warning: see http://example.org/help\nat http://{HOST}:8090, for this machine alone\n")
    assert page.wait().startswith(f"live at http://{HOST}:8090")


@pytest.mark.skipif(not has_viser(), reason="viser is not installed")
def test_why_there_is_no_page_is_told(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        with LivePage(other.getsockname()[1], tmp_path / "page.log") as page:
            told = page.wait()
    assert told.startswith("no live page: ") and "choose another --port" in told and "\n" not in told
