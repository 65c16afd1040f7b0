"""``depth-retrofit completion``: completion by the Tab key of commands, options and choices, in bash and zsh."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from depth_retrofit_ros.cli.parser import Parser, all_commands

if TYPE_CHECKING:
    from depth_retrofit_ros.cli import Subparsers

# The words before the cursor lead to the command, of which the tables know what may follow. What follows an option with a value
# is one of its choices, else the name of a file. Line ends separate the words.
SCRIPT = """\
if [[ -n ${{ZSH_VERSION-}} ]]; then # zsh has bash's completion, where it is asked for
    whence compdef > /dev/null || {{ autoload -Uz compinit && compinit; }}
    autoload -Uz bashcompinit && bashcompinit
fi
_depth_retrofit() {{
    local IFS=$'\\n' current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} command="" word words=""
    for word in "${{COMP_WORDS[@]:1:$((COMP_CWORD-1))}}"; do
        case "${{command:+$command }}$word" in
            {commands}) command="${{command:+$command }}$word" ;;
        esac
    done
    COMPREPLY=()
    case "$command $previous" in
{values}
    esac
    if [[ -z $words ]]; then
        case "$command" in
{words}
        esac
        [[ $current == -* || {groups} ]] || return 0 # a file's name, by `-o default`
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _depth_retrofit depth-retrofit
"""


def add_parser(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "completion",
        help="print the script for completion by the Tab key in bash and zsh",
        description="Prints a script of bash for the shell to read: commands, options, and choices where an option has some. It is "
        "of this version; new shells read it anew.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the script for the parser as it is."""
    from depth_retrofit_ros.cli.main import build_parser

    print(script(build_parser()), end="")
    return 0


def script(parser: Parser) -> str:
    """The completion of a program with this parser."""
    found = all_commands(parser)
    values, words, groups = [], [], []
    for name, command in found.items():
        options = [option for action in command._actions for option in action.option_strings]
        choices = [str(word) for action in command._actions if not action.option_strings for word in action.choices or ()]
        words.append(f"            {shlex.quote(name)}) words={_lines([*choices, *options])} ;;")
        if choices:
            groups.append(f"$command == {shlex.quote(name)}")
        for action in command._actions:
            if action.option_strings and action.nargs != 0:
                patterns = "|".join(shlex.quote(f"{name} {option}") for option in action.option_strings)
                reply = "return 0" if action.choices is None else f"words={_lines([str(choice) for choice in action.choices])}"
                values.append(f"        {patterns}) {reply} ;;")
    named = "|".join(shlex.quote(name) for name in found if name)
    return SCRIPT.format(commands=named, values="\n".join(values), words="\n".join(words), groups=" || ".join(groups))


def _lines(words: list[str]) -> str:
    return "$'" + "\\n".join(words) + "'"
