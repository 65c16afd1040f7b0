"""The frozen models whose answers a refiner learns to refine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.registry import load_coarse


class FrozenModels(list[CoarseModel]):
    """Models by name. To another process only their names are sent, and it loads them.

    weights: folder of checkpoints, or None; ``compact`` is always the bundled one. Raises what ``load_coarse`` raises.
    """

    def __init__(self, names: Sequence[str], weights: Path | None, device: str) -> None:
        super().__init__(load_coarse(name, weights=None if name == "compact" else weights, device=device) for name in names)
        self._made_of = list(names), weights, device

    def __reduce__(self) -> tuple[Callable[..., FrozenModels], tuple[object, ...]]:
        return FrozenModels, self._made_of
