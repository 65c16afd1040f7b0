"""The space in which networks predict points: coordinates of either sign, finely resolved near 0 and far-reaching."""

from __future__ import annotations

from torch import Tensor


def exp_signed(raw: Tensor) -> Tensor:
    """The output map of a point head: ``sign(y) · (exp|y| − 1)``."""
    return raw.sign() * raw.abs().expm1()


def log_signed(points: Tensor) -> Tensor:
    """Its inverse, ``sign(p) · ln(1 + |p|)``."""
    return points.sign() * points.abs().log1p()
