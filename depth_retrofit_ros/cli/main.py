"""``depth-retrofit``: one command per job. What a job imports, it imports when it runs, so that ``--help`` answers at once."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from depth_retrofit_ros import __version__
from depth_retrofit_ros.cli import bench, demo, evaluate, image, models, replay, run, train, view
from depth_retrofit_ros.errors import DepthRetrofitError
from depth_retrofit_ros.ros.environment import thread_variables

COMMANDS = (demo, run, view, image, replay, evaluate, bench, train, models)

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT
EXIT_TERMINATED = 143  # 128 + SIGTERM


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command; each sets ``run``, a function from its arguments to the exit code."""
    parser = argparse.ArgumentParser(
        prog="depth-retrofit", description="Dense, sharp, metric depth at camera resolution from one camera."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0, 1 (done in part; what failed was told), 2 (user error), 130, 143 (signals)."""
    os.environ.update(thread_variables(os.environ))
    parsed = build_parser().parse_args(arguments)
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        code = int(parsed.run(parsed))
        sys.stdout.flush()
    except DepthRetrofitError as error:
        print(f"depth-retrofit: error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("depth-retrofit: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output left, as `head` does; the flush at exit must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)
    return code


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM unwinds the stack, so that the processes we started end with us."""
    sys.exit(EXIT_TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
