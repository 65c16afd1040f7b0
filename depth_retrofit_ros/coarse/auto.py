"""``model: auto``: the best model that is here for a device, in an order that the entries themselves state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from depth_retrofit_ros.coarse.info import ModelInfo
from depth_retrofit_ros.errors import ModelError

AUTO = "auto"
Refusal = Callable[[ModelInfo], str | None]
"""Why a model cannot serve under the settings that are given, one line; None where it can."""


def SERVES(info: ModelInfo) -> None:
    """The ``Refusal`` of settings that every model can serve."""


def ranked(models: Iterable[ModelInfo]) -> list[ModelInfo]:
    """The models that ``auto`` knows, the best first: those with an ``auto_rank``, if they permit commercial use."""
    taking_part = (info for info in models if info.auto_rank is not None and info.commercial)
    return sorted(taking_part, key=lambda info: info.auto_rank or 0)


def order(models: Iterable[ModelInfo], device_type: str) -> list[ModelInfo]:
    """The models that ``auto`` may take on a kind of device (``cuda``, ``cpu``), the best first; on a CPU those ``for_cpu``."""
    return [info for info in ranked(models) if device_type != "cpu" or info.for_cpu]


@dataclass(frozen=True, slots=True)
class Choice:
    """taken: the model; device_type: for which kind of device.

    better: those before it in the order, none of which is here; refused: those before it that cannot serve, each with why;
    slower: on a CPU, the smallest of those that would be better and take seconds per image.
    """

    taken: ModelInfo
    better: tuple[ModelInfo, ...]
    device_type: str
    refused: tuple[tuple[ModelInfo, str], ...] = ()
    slower: ModelInfo | None = None

    def line(self, get: Callable[[ModelInfo], str]) -> str:
        """What was taken, and what would be better; get: what to do to have a model, nothing where it is here."""
        line = f"model auto: taking {self.taken.name}"
        if self.better:
            best = self.better[0]
            none = ", as no other is here" if self.taken.bundled and not self.refused else ""
            line += f"{none}; better here: {best.name} ({best.claim}): {get(best)}"
        elif not self.refused:
            line += f", the best there is for {self.device_type}"
        if self.refused:
            line += f"; not {', '.join(info.name for info, _ in self.refused)}: {self.refused[0][1]}"
        if self.slower:
            ways = [way for way in (get(self.slower), f"set model to {self.slower.name}") if way]
            line += f"; better, but seconds per image: {self.slower.name} ({self.slower.claim}): {', and '.join(ways)}"
        return line


def choose(models: Iterable[ModelInfo], device_type: str, usable: Callable[[ModelInfo], bool], refusal: Refusal = SERVES) -> Choice:
    """The first of ``order`` that can serve and is ``usable`` here and now.

    Raises ModelError, with a reason, where none that is here can serve.
    """
    known = ranked(models)
    better: list[ModelInfo] = []
    refused: list[tuple[ModelInfo, str]] = []
    for info in order(known, device_type):
        if reason := refusal(info):
            refused.append((info, reason))
        elif usable(info):
            return Choice(info, tuple(better), device_type, tuple(refused), _slower(known, info, device_type, refusal))
        else:
            better.append(info)
    if not refused:
        raise AssertionError("the bundled model is missing from the order")
    name, reason = refused[-1][0].name, refused[-1][1]
    raise ModelError(f"model auto has none here for these settings: name a model, or change them ({name}: {reason})")


def _slower(known: list[ModelInfo], taken: ModelInfo, device_type: str, refusal: Refusal) -> ModelInfo | None:
    before = known[: known.index(taken)]
    slow = [info for info in before if device_type == "cpu" and not info.for_cpu and refusal(info) is None]
    return min(slow, key=lambda info: (info.claim.word != "camera", info.parameters), default=None)
