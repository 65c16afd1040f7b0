"""Which frames belong together: for models that remember a video, and for windows of the newest frames."""

from __future__ import annotations

from typing import Literal, TypeVar, cast

from depth_retrofit_ros.errors import ModelError

T = TypeVar("T")

LONGEST_GAP_NS = 5_000_000_000  # between two frames of one video; a large model on a CPU takes seconds for each

Place = Literal["first", "next", "again", "late", "alone"]


class Past:
    """Where each frame stands among those that are remembered, by its stamp and by what must be the same for all of them.

    limit: frames that are remembered at most. ``count``: frames that are, 0 at the start.
    """

    def __init__(self, limit: int) -> None:
        self.count = 0
        self._limit = limit
        self._newest_ns: int | None = None
        self._before_ns: int | None = None  # the one before the newest
        self._same: object = None

    def forget(self) -> None:
        """The next frame is the first."""
        self._newest_ns = self._before_ns = self._same = None
        self.count = 0

    def place(self, stamp_ns: int | None, same: object) -> Place:
        """``next``: after the newest frame by ``LONGEST_GAP_NS`` at most; ``again``: with its stamp, in its place;
        ``late``: between the newest and the one before it, as a frame that is tried once more when its successor has its answer;
        ``alone``: without a stamp; ``first`` of a new video: any other, such as that of a bag that starts again.

        same: what the frames of one video have in common, such as their size.
        """
        newest, before = self._newest_ns, self._before_ns
        if stamp_ns is None:
            return "alone"
        if newest is None or same != self._same:
            return "first"
        if stamp_ns == newest:
            return "again"
        if before is not None and before < stamp_ns < newest:
            return "late"
        return "next" if 0 < stamp_ns - newest <= LONGEST_GAP_NS else "first"

    def answered(self, place: Place, stamp_ns: int | None, same: object) -> None:
        """A frame of that place has its answer, and is remembered unless it is ``late`` or ``alone``."""
        if place == "first":
            self._before_ns, self._newest_ns, self._same, self.count = None, stamp_ns, same, 1
        elif place == "next":
            self._before_ns, self._newest_ns = self._newest_ns, stamp_ns
            self.count = min(self.count + 1, self._limit)


def forget(model: object) -> None:
    """Have a coarse model take the next frame as the first one; one that never remembers any has nothing to forget."""
    if callable(method := getattr(model, "forget", None)):
        method()


def for_another_stream(model: T) -> T:
    """The model for another stream of frames, on the same network; one that never remembers any is the same.

    Raises ModelError for one that does and cannot be asked for another: a memory of two streams is of none.
    """
    if remembered_by(model) is None and not callable(getattr(model, "forget", None)):
        return model
    if callable(method := getattr(model, "for_another_stream", None)):
        return cast(T, method())
    name = getattr(model, "name", type(model).__name__)
    raise ModelError(f"{name} remembers the images of one camera, and cannot be shared: give each camera a process of its own")


def remembered_by(model: object) -> int | None:
    """How many frames a coarse model remembers at present; None of one that never does."""
    count = getattr(model, "remembered", None)
    return count if isinstance(count, int) else None
