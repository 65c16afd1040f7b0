"""What a run of the tests left out: how many for which reason, so that a machine on which half the suite is skipped shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a test, or a whole module, was skipped."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def skip_table(reports: Iterable[pytest.TestReport | pytest.CollectReport]) -> list[str]:
    """A line per reason, the most frequent first; no lines where nothing was skipped."""
    counts = Counter(reason_of(report) for report in reports)
    if not counts:
        return []
    rows = [f"{count:6d}  {reason}" for reason, count in sorted(counts.items(), key=lambda row: (-row[1], row[0]))]
    return [*rows, f"{counts.total():6d}  in all"]
