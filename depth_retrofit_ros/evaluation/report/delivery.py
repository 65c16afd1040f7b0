"""What became of every frame that was played."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from depth_retrofit_ros.errors import GraphError


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """Each played frame is answered, dropped, failed or lost; the node counts the first three, the rest follows.

    played: images published; received: images that reached the node; answered: depth images that it published; dropped: overwritten
    by a newer image while they waited; failed: unusable, or lost to an error; recorded: answers that reached the recorder.
    """

    played: int
    received: int
    answered: int
    dropped: int
    failed: int
    recorded: int

    @property
    def lost(self) -> int:
        """Images lost between the player and the node: best-effort transport, or overwritten before the node looked."""
        return self.played - self.received

    @property
    def pending(self) -> int:
        """Images that the node received and has not accounted for."""
        return self.received - self.answered - self.dropped - self.failed

    def check(self) -> None:
        """Raises GraphError where the counts do not add up."""
        if self.pending or self.lost < 0 or self.recorded > self.answered:
            raise GraphError(f"the frames do not add up: {self.line()}; pending in the node {self.pending}")

    def line(self) -> str:
        """The report in one line."""
        text = (
            f"played {self.played} = answered {self.answered} + dropped {self.dropped} + failed {self.failed} "
            f"+ lost in transport {self.lost}"
        )
        missing = self.answered - self.recorded
        return f"{text}; {missing} of the answers did not reach the recorder" if missing else text

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], played: int, recorded: int, unreadable: int = 0) -> DeliveryReport:
        """counts: the node's own ``received``, ``processed``, ``dropped``, ``failed``; unreadable: of the played images, those that
        are no messages and fail before a middleware could carry them to the node.
        """
        received, failed = counts["received"] + unreadable, counts["failed"] + unreadable
        return cls(played, received, counts["processed"], counts["dropped"], failed, recorded)
