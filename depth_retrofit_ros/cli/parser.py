"""The command line's parser: what is wrong is one line, which argparse's usage before it would hide; help ends with examples."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """Of the program as a whole, and of each of its commands."""

    commands: argparse._SubParsersAction[Parser] | None = None
    epilogue = ""  # as it is, where argparse would fill its lines

    def add_commands(self) -> argparse._SubParsersAction[Parser]:
        """Where the commands declare themselves; the chosen one's name is ``command``."""
        self.commands = self.add_subparsers(dest="command", metavar="COMMAND", required=True)
        return self.commands

    def format_help(self) -> str:
        """With the epilogue below."""
        return super().format_help() + (f"\n{self.epilogue}" if self.epilogue else "")

    def error(self, message: str) -> NoReturn:
        """Ends the process."""
        self.exit(2, f"{self.prog}: error: {message}: see '{self.prog} --help'\n")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse does it; what is left over is the chosen command's error."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            culprit = self.commands.choices[parsed.command] if self.commands is not None else self
            culprit.error(f"'{unknown[0]}' is none of its arguments")
        return parsed


def subcommands(parser: Parser) -> dict[str, Parser]:
    """The parsers of the commands right below this one's, by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def all_commands(parser: Parser, words: str = "") -> dict[str, Parser]:
    """Every command's parser by the words that lead to it, such as ``models fetch``; the program's own by ``""``."""
    found = {words: parser}
    for word, below in subcommands(parser).items():
        found |= all_commands(below, f"{words} {word}".strip())
    return found
