"""``model: auto``: the best model that is here for a device, in an order that the entries themselves state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from depth_retrofit_ros.coarse.info import ModelInfo

AUTO = "auto"
CPU_PARAMETERS = 40_000_000  # a CPU takes seconds per image beyond


def order(models: Iterable[ModelInfo], device_type: str) -> list[ModelInfo]:
    """The models that ``auto`` may take on a kind of device (``cuda``, ``cpu``), the best first.

    Those that permit commercial use, on a CPU up to ``CPU_PARAMETERS``. Metres for any camera come before all else, then each
    entry's ``auto_rank``.
    """
    eligible = [
        info
        for info in models
        if info.auto_rank is not None and info.commercial and (device_type != "cpu" or info.parameters <= CPU_PARAMETERS)
    ]
    return sorted(eligible, key=lambda info: (info.claim.word != "camera", info.auto_rank))


@dataclass(frozen=True, slots=True)
class Choice:
    """taken: the model; better: those before it in the order, none of which is here; device_type: for which kind of device."""

    taken: ModelInfo
    better: tuple[ModelInfo, ...]
    device_type: str

    def line(self, get: Callable[[ModelInfo], str]) -> str:
        """What was taken, and what would be better; get: what to do to have a model."""
        if not self.better:
            return f"model auto: taking {self.taken.name}, the best there is for {self.device_type}"
        best = self.better[0]
        none = ", as no other is here" if self.taken.bundled else ""
        return f"model auto: taking {self.taken.name}{none}; better here: {best.name} ({best.claim}): {get(best)}"


def choose(models: Iterable[ModelInfo], device_type: str, usable: Callable[[ModelInfo], bool]) -> Choice:
    """The first of ``order`` that is ``usable`` here and now."""
    ordered = order(models, device_type)
    for place, info in enumerate(ordered):
        if usable(info):
            return Choice(info, tuple(ordered[:place]), device_type)
    raise AssertionError("the bundled model is missing from the order")
