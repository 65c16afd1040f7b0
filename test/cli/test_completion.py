"""The completion that a real bash makes of the script."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from depth_retrofit_ros.cli.completion import script
from depth_retrofit_ros.cli.main import build_parser
from depth_retrofit_ros.cli.parser import all_commands


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("completion") / "script"
    path.write_text(script(build_parser()))
    return path


def completed(file: Path, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    program = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _depth_retrofit; printf "%s\\n" "${COMPREPLY[@]}"'
    command = ["bash", "--norc", "-uec", program, "bash", str(file), "depth-retrofit", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ev"], ["evaluate"]),
        (["--v"], ["--version"]),
        (["models", "fe"], ["fetch"]),
        (["models", "fetch", "--f"], ["--from"]),
        (["evaluate", "frames", "--align", "me"], ["median"]),
        (["evaluate", "frames", "--ht"], ["--html"]),
        (["train", "re"], ["refiner"]),
        (["evaluate", "frames", "--json", ""], []),  # a file's name
        (["image", "p"], []),
        (["image", "demo", "--pl"], ["--ply"]),  # a file that is called as a command is
    ],
)
def test_bash_offers(file: Path, words: list[str], offered: list[str]) -> None:
    assert completed(file, *words) == offered


@pytest.mark.parametrize(
    ("words", "offered"), [(["ev"], "evaluate"), (["models", "fe"], "fetch"), (["evaluate", "frames", "--align", "me"], "median")]
)
def test_zsh_offers(file: Path, words: list[str], offered: str) -> None:
    """As its ``bashcompinit`` calls functions of bash; what does not begin as the last word does, it leaves out itself."""
    zsh = shutil.which("zsh")
    if zsh is None:
        pytest.skip("zsh is not installed")
    call = '() { emulate -L sh; COMP_WORDS=("$@") COMP_CWORD=$(($#-1)); _depth_retrofit; printf "%s\\n" "${COMPREPLY[@]}" } "$@"'
    command = [zsh, "-fc", f'source "$1" || exit; shift; {call}', "zsh", str(file), "depth-retrofit", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert offered in done.stdout.split() and done.stderr == ""


def test_every_option_of_every_command_is_offered(file: Path) -> None:
    for words, parser in all_commands(build_parser()).items():
        options = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
        assert set(completed(file, *words.split(), "--")) == options, words
