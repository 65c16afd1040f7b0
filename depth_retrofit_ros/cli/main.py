"""``depth-retrofit``: one command per job. What a job imports, it imports when it runs, so that ``--help`` answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from depth_retrofit_ros.cli.interruption import Interruption, interruptible

if TYPE_CHECKING:
    import argparse

    from depth_retrofit_ros.cli.parser import Parser

EXIT_PARTLY = 1
EXIT_USER_ERROR = 2  # as argparse ends, see parser.py


def build_parser() -> Parser:
    """The parser with every command; each sets ``run``, a function from its arguments to the exit code.

    A command that is there to be interrupted also sets ``code_when_interrupted``.
    """
    from depth_retrofit_ros import __version__
    from depth_retrofit_ros.cli import (
        batch,
        bench,
        completion,
        demo,
        evaluate,
        image,
        kernels,
        messages,
        models,
        reconstruct,
        replay,
        run,
        train,
        video,
        view,
    )
    from depth_retrofit_ros.cli.examples import epilogue
    from depth_retrofit_ros.cli.parser import Parser, all_commands

    parser = Parser(prog="depth-retrofit", description="Dense, sharp depth at camera resolution from one camera.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_commands()
    everyday = demo, run, view, image, video, batch, reconstruct, replay, evaluate, bench, train, models
    for command in (*everyday, messages, kernels, completion):
        command.add_parser(commands)
    for words, named in all_commands(parser).items():
        named.epilogue = epilogue(words)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0, 1 (done in part; what failed was told), 2 (user error), 130, 143 (signals)."""
    with interruptible() as interruption:  # the first thing: from here on a signal is no traceback
        from depth_retrofit_ros.cli.streams import tolerant_streams

        with tolerant_streams() as output:
            code = _interruptibly(arguments, interruption)
            if output is not None and output.error is not None:
                _say(f"standard output cannot be written ({output.error.strerror}): what was to be read there is lost")
                code = code or EXIT_PARTLY
    return code


def _interruptibly(arguments: Sequence[str] | None, interruption: Interruption) -> int:
    parsed: argparse.Namespace | None = None
    try:
        parsed = build_parser().parse_args(arguments)
        interruption.arm()
        code = _run(parsed)
        interruption.disarm()
        return code
    except BaseException:  # an import that a signal broke off may raise anything
        if interruption.number is None:
            raise
        interruption.disarm()
        expected: int | None = getattr(parsed, "code_when_interrupted", None)
        if expected is not None:
            return expected
        print(f"depth-retrofit: {interruption.line}", file=sys.stderr)
        return interruption.exit_code


def _run(parsed: argparse.Namespace) -> int:
    from depth_retrofit_ros.errors import DepthRetrofitError
    from depth_retrofit_ros.ros.environment import thread_variables

    os.environ.update(thread_variables(os.environ))
    try:
        code = int(parsed.run(parsed))
        sys.stdout.flush()
    except DepthRetrofitError as error:
        _say(str(error))
        return EXIT_USER_ERROR
    except BrokenPipeError:  # the reader of our output left, as `head` does
        return EXIT_PARTLY
    except (MemoryError, RuntimeError) as error:
        from depth_retrofit_ros.device.faults import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        _say("memory ran out: free some, or give a smaller --budget, model or image")
        return EXIT_PARTLY
    return code


def _say(error: str) -> None:
    print(f"depth-retrofit: error: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
