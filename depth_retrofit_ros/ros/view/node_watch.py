"""What a viewer can say of the node that it looks at: whether it is there, how fast it answers, what it counts, what it lacks."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

if TYPE_CHECKING:
    from depth_retrofit_ros.msg import FrameStats

Level = Literal["ok", "warn", "lost"]

LOST_S = 4.0  # the node reports once a second
SEARCH_S = 3.0  # before a node that nobody heard of is called missing
QUIET_S = 3.0  # without an answer there is no rate; where a frame takes long, as many times what the last one took:
_SLOW = 3.0
_WINDOW_S = 5.0  # of the rate
_OTHERS = 8  # names of other depth nodes that are remembered
_COUNTS = ("received", "processed", "dropped", "failed")
_CONCERNS = ("input", "pipeline", "model", "graph", "calibration", "metric scale")  # the first that has something to say is shown
_LEVEL_WARN = DiagnosticStatus.WARN[0] if isinstance(DiagnosticStatus.WARN, bytes) else int(DiagnosticStatus.WARN)


@dataclass(frozen=True, slots=True)
class NodeState:
    """level: lost where no node is there; headline: one line of it; lines: further ones. Words of the graph are as they came."""

    level: Level
    headline: str
    lines: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether the node reports."""
        return self.level != "lost"


class NodeWatch:
    """Fed with the reports and statistics of the node ``name``, and asked for its state. For one thread.

    where: what to call the place where it is looked for, such as ``ROS domain 0``. Times are of the monotonic clock [s].
    """

    def __init__(self, name: str, where: str) -> None:
        self._name, self._where = name, where
        self.forget(0.0)

    def forget(self, now_s: float) -> None:
        """Begin anew at ``now_s``: nobody looked for a while."""
        self._since_s = now_s
        self._heard_s: float | None = None
        self._reports: dict[str, tuple[int, str]] = {}  # concern → level, message
        self._others: dict[str, None] = {}
        self._counts: dict[str, int] = {}
        self._stats: FrameStats | None = None
        self._answers: deque[tuple[float, int]] = deque()  # when it came, and the node's total then

    def reported(self, report: DiagnosticArray, now_s: float) -> None:
        """Of any node; of other depth nodes only their names are noted."""
        for status in report.status:
            node, _, concern = status.name.rpartition(": ")
            if node == self._name:
                if self._heard_s is None or now_s - self._heard_s > LOST_S:
                    self._answers.clear()  # it is another one now
                self._heard_s = now_s
                self._reports[concern] = (_level(status), status.message)
                if concern == "input":
                    found = {pair.key: pair.value for pair in status.values}
                    self._counts |= {name: int(found[name]) for name in _COUNTS if found.get(name, "").isdecimal()}
            elif concern == "pipeline" and len(self._others) < _OTHERS:
                self._others[node] = None

    def answered(self, stats: FrameStats, now_s: float) -> None:
        """The node answered a frame."""
        if self._answers and stats.processed < self._answers[-1][1]:  # activated anew
            self._answers.clear()
        self._answers.append((now_s, int(stats.processed)))
        self._stats = stats
        self._counts = {name: int(getattr(stats, name)) for name in _COUNTS}

    def state(self, now_s: float) -> NodeState:
        """As of ``now_s``."""
        if self._heard_s is None:
            if now_s - self._since_s < SEARCH_S:
                return NodeState("lost", f"looking for {self._name}")
            others = f" Others do: {', '.join(sorted(self._others))} (--node)." if self._others else ""
            return NodeState("lost", f"no node: none called {self._name} reports in {self._where}.{others}")
        if now_s - self._heard_s > LOST_S:
            return NodeState("lost", f"node lost, waiting: {self._name} is silent for {now_s - self._heard_s:.0f} s")
        problems = [(level, text) for concern in _CONCERNS for level, text in [self._reports.get(concern, (0, ""))]]
        said = next((text for level, text in problems if level >= _LEVEL_WARN), None)
        stage = self._reports.get("input", (0, ""))[1]  # or, of an active node, the rate of its images
        if stage.endswith("Hz"):
            stage = f"images come, {stage}, and none is answered"
        lines = [" · ".join(f"{name} {self._counts[name]}" for name in _COUNTS if name in self._counts)]
        rate = self._rate(now_s)
        if rate is None:
            return NodeState("warn", f"no frames: {said or stage}", tuple(filter(None, lines)))
        stats = self._stats
        assert stats is not None  # there is a rate
        headline = f"{rate:.1f} frames/s · {stats.total_ms:.0f} ms each · budget {stats.budget:.3g}"
        unit = f"metres by {stats.scale_source}" if stats.metric else "no metres, so no cloud"
        lines.append(f"{stats.model}: {unit}")
        return NodeState("ok" if said is None else "warn", headline, tuple(filter(None, [*lines, said])))

    def _rate(self, now_s: float) -> float | None:
        """Answers per second; None where there is none any more."""
        quiet_s = max(QUIET_S, _SLOW * self._stats.total_ms / 1e3) if self._stats is not None else QUIET_S
        while self._answers and now_s - self._answers[0][0] > max(_WINDOW_S, quiet_s):
            self._answers.popleft()
        if not self._answers or now_s - self._answers[-1][0] > quiet_s:
            return None
        (first_s, first), (last_s, last) = self._answers[0], self._answers[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 1.0 / max(now_s - first_s, 1.0)


def _level(status: DiagnosticStatus) -> int:
    """As a number: in Python a ROS byte is ``bytes`` of one."""
    return status.level[0] if isinstance(status.level, bytes) else int(status.level)
