"""Help ends with examples, and each of them is a command line that the parser takes."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest

from depth_retrofit_ros.cli.examples import COMMON, EXAMPLES, epilogue
from depth_retrofit_ros.cli.main import build_parser
from depth_retrofit_ros.cli.parser import all_commands
from test.paths import ROOT


def test_every_command_and_no_other_has_examples() -> None:
    assert set(EXAMPLES) == set(all_commands(build_parser())) - {""}


@pytest.mark.parametrize("words", EXAMPLES)
def test_the_examples_of_a_command_are_of_it_and_parse(words: str) -> None:
    for _, example in EXAMPLES[words]:
        if words != "completion":  # of which they are the shell's
            program, *arguments = shlex.split(example)
            assert program == "depth-retrofit" and arguments[: len(words.split())] == words.split()
            build_parser().parse_args(arguments)


def test_help_ends_with_them_and_a_shell_reads_what_is_printed() -> None:
    told = all_commands(build_parser())["image"].format_help()
    assert told.endswith(epilogue("image"))
    _, first, second, third = ("\n" + epilogue("image")).split("  # ")
    printed = [shlex.split(text.partition("\n")[2]) for text in (first, second, third)]
    assert printed == [shlex.split(example) for _, example in EXAMPLES["image"]]


def test_the_programs_own_help_ends_with_exit_codes_and_environment() -> None:
    assert build_parser().format_help().endswith(COMMON)
    assert max(map(len, COMMON.splitlines())) <= 100


def test_every_command_is_described_and_every_option_explained() -> None:
    for words, parser in all_commands(build_parser()).items():
        assert parser.description, words
        told = {(action.dest, bool(action.help)) for action in parser._actions if action.dest not in ("command", "action")}
        assert {name for name, explained in told if not explained} == set(), words


def test_to_know_the_commands_nothing_large_is_imported() -> None:
    code = (
        "import sys; from depth_retrofit_ros.cli.main import build_parser; build_parser(); "
        "print([name for name in ('cv2', 'numpy', 'torch', 'rclpy') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "[]\n"
