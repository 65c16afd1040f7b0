"""The command line's parser: what is wrong is one line, which argparse's usage before it would hide."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """Of the program as a whole, and of each of its commands."""

    commands: argparse._SubParsersAction[Parser] | None = None

    def add_commands(self) -> argparse._SubParsersAction[Parser]:
        """Where the commands declare themselves; the chosen one's name is ``command``."""
        self.commands = self.add_subparsers(dest="command", metavar="COMMAND", required=True)
        return self.commands

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
