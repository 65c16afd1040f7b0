"""Where the package's log goes, as nodes are configured one beside the other."""

from __future__ import annotations

import logging
from typing import Any

from depth_retrofit_ros.ros.health.package_log import PACKAGE, package_log


class Lines:
    """In the place of a node's logger."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, line: str) -> None:
        self.lines.append(line)

    warning = error = info


def test_blocks_that_end_in_any_order_leave_the_log_as_it_was() -> None:
    """As where a configuration was given up, and ends while the next one is at work."""
    log = logging.getLogger(PACKAGE)
    before = log.handlers, log.level
    first, second = Lines(), Lines()
    given_up: Any = package_log(first)
    given_up.__enter__()
    log.info("one")
    with package_log(second):
        log.info("two")
        given_up.__exit__(None, None, None)
        log.info("three")
    assert first.lines == ["one"] and second.lines == ["two", "three"]
    assert (log.handlers, log.level) == before


def test_the_block_around_has_the_log_again() -> None:
    outer, inner = Lines(), Lines()
    with package_log(outer):
        with package_log(inner):
            logging.getLogger(PACKAGE).warning("inside")
        logging.getLogger(PACKAGE).info("outside")
    assert (outer.lines, inner.lines) == (["outside"], ["inside"])
