"""What can happen to a stream of images beside broken ones: another frame, time that goes back, stamps of another clock."""

from __future__ import annotations

from depth_retrofit_ros.ros.health.throttled_log import ThrottledLogger, quoted

OLDEST_S = 60.0  # no camera is this late
NEWEST_S = -1.0  # nor this early
NO_CLOCK = "use_sim_time is true and nothing publishes /clock: play with --clock, or set it to false"


class StreamWatch:
    """Tells changes in the log, once each. Frames are answered whatever they are: their header is copied, never corrected."""

    def __init__(self, log: ThrottledLogger) -> None:
        self._log = log
        self._stamp_ns: int | None = None
        self._frame_id: str | None = None

    def see(self, stamp_ns: int, frame_id: str) -> None:
        """The next frame's header."""
        if self._frame_id is not None and frame_id != self._frame_id:
            self._log.event(f"frame_id of the images changed from {quoted(self._frame_id)} to {quoted(frame_id)}")
        if self._stamp_ns is not None and stamp_ns < self._stamp_ns:
            back_s = 1e-9 * (self._stamp_ns - stamp_ns)
            self._log.event(
                f"stamps of the images jumped back by {back_s:.3g} s: a recording that begins again, or two cameras on one topic"
            )
        self._stamp_ns, self._frame_id = stamp_ns, frame_id


def clock_problem(stamp_ns: int, now_ns: int, use_sim_time: bool) -> str | None:
    """Why the age of a frame means nothing, and what to do; None where it does. now_ns: of the node's clock."""
    if use_sim_time and now_ns == 0:
        return NO_CLOCK
    if stamp_ns == 0:
        return "stamps of the images are zero: set them in the camera driver"
    age_s = 1e-9 * (now_ns - stamp_ns)
    if NEWEST_S <= age_s <= OLDEST_S:
        return None
    remedy = "synchronise the clocks of the machines" if use_sim_time else "set use_sim_time for a recording, or synchronise clocks"
    return f"stamps of the images are {abs(age_s):.3g} s {'behind' if age_s > 0 else 'ahead of'} this node's clock: {remedy}"
