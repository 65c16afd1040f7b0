"""Stamps of messages, as one number."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time


def nanoseconds(stamp: Time) -> int:
    """``builtin_interfaces/Time`` [ns]."""
    return 1_000_000_000 * int(stamp.sec) + int(stamp.nanosec)
