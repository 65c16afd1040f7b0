"""By which score the pixels to refine are selected."""

from __future__ import annotations

from typing import Literal, get_args

Selector = Literal["uncertainty", "disagreement"]
"""The coarse model's own uncertainty, or how far a second model disagrees with it."""
SELECTORS: tuple[Selector, ...] = get_args(Selector)
