"""Frozen foundation models: image → ``CoarsePrediction``. ``registry`` maps names to loaders.

What ``__all__`` lists is what an adapter of another package needs (docs/models.md); it is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from depth_retrofit_ros.lazy import lazy_names

if TYPE_CHECKING:
    from depth_retrofit_ros.coarse.base import NO_HINTS, CoarseModel, CoarsePrediction, Hints
    from depth_retrofit_ros.coarse.claim import ScaleClaim
    from depth_retrofit_ros.coarse.hub import HubModel
    from depth_retrofit_ros.coarse.info import ModelInfo
    from depth_retrofit_ros.coarse.input_size import InputSize, long_side, short_side

__all__ = [
    "NO_HINTS",
    "CoarseModel",
    "CoarsePrediction",
    "Hints",
    "HubModel",
    "InputSize",
    "ModelInfo",
    "ScaleClaim",
    "long_side",
    "short_side",
]

_HOMES = {
    "HubModel": "hub",
    "InputSize": "input_size",
    "ModelInfo": "info",
    "ScaleClaim": "claim",
    "long_side": "input_size",
    "short_side": "input_size",
}


if not TYPE_CHECKING:  # a type checker shall see the names above, and no others
    __getattr__ = lazy_names(__name__, __all__, _HOMES, "base")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
