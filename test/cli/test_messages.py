"""Generating the message: from where, and where it is refused. That it is generated so, `make` shows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.cli.messages import PACKAGE, SCRIPT, sources
from depth_retrofit_ros.errors import SetupError
from test.paths import ROOT


def script_below(folder: Path) -> Path:
    (folder / SCRIPT).parent.mkdir(parents=True)
    (folder / SCRIPT).write_text("exit 7\n")
    return folder


def test_a_checkout_is_its_own_source() -> None:
    if (ROOT / "depth_retrofit_ros").samefile(PACKAGE):
        assert sources(PACKAGE, Path(sys.prefix)) == ROOT


def test_of_a_wheel_it_is_what_lies_in_share(tmp_path: Path) -> None:
    package = tmp_path / "lib" / "depth_retrofit_ros"
    with pytest.raises(SetupError, match="install it there by pip"):
        sources(package, tmp_path)
    share = script_below(tmp_path / "share" / "depth_retrofit_ros")
    assert sources(package, tmp_path) == share


def test_its_exit_code_is_the_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depth_retrofit_ros.cli.messages.PACKAGE", script_below(tmp_path) / "depth_retrofit_ros")
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    assert cli.main(["messages"]) == 7


def test_outside_of_a_virtual_environment_nothing_is_touched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    assert cli.main(["messages"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "python3 -m venv" in line
