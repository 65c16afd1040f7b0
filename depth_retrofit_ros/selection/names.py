"""By which score the pixels to refine are selected: names that are known before anything is loaded."""

from __future__ import annotations

from typing import Literal, get_args

SelectorName = Literal["uncertainty", "disagreement"]
"""The coarse model's own uncertainty, or how far a second model disagrees with it."""
SELECTORS: tuple[SelectorName, ...] = get_args(SelectorName)
