"""The table that makes a probability of what tells that a depth may be wrong: a sum of piecewise linear curves, in log odds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from depth_retrofit_ros.confidence.features import CELL, CHOICE, FRAME, PIXEL
from depth_retrofit_ros.errors import WeightsError

NAME = "confidence.json"
MOST_KNOTS = 6  # of a curve
KEPT = (*CELL, *FRAME)
REFINED = (*KEPT, *PIXEL, *CHOICE)


@dataclass(frozen=True, slots=True)
class Curve:
    """Log odds by one feature: linear between ``knots``, which increase, constant beyond them."""

    knots: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def hinges(self) -> tuple[float, tuple[float, ...]]:
        """The curve as value + Σ slope · (held − knot)⁺, ``held`` the feature between the first and the last knot: the value at the
        first, and the change of slope at each but the last."""
        points = list(zip(self.knots, self.values, strict=True))
        slopes = [(b - a) / (y - x) for (x, a), (y, b) in pairwise(points)]
        return self.values[0], tuple(b - a for a, b in zip([0.0, *slopes], slopes, strict=False))

    def __call__(self, feature: torch.Tensor) -> torch.Tensor:
        """Log odds of the shape of ``feature``."""
        start, changes = self.hinges
        held = feature.clamp(self.knots[0], self.knots[-1])
        odds = torch.full_like(held, start)
        for knot, change in zip(self.knots, changes, strict=False):
            odds.add_((held - knot).clamp_(min=0), alpha=change)
        return odds


@dataclass(frozen=True, slots=True)
class Part:
    """Of pixels of one kind. curves: by feature; models: log odds to add by the coarse model's name; other: those of any other."""

    curves: Mapping[str, Curve]
    models: Mapping[str, float]
    other: float

    def offset(self, model: str) -> float:
        """Log odds to add for a coarse model of that name."""
        return self.models.get(model, self.other)


@dataclass(frozen=True, slots=True)
class Calibration:
    """kept, refined: of pixels that keep the upsampled depth, and of those where a refiner chose."""

    kept: Part
    refined: Part

    @staticmethod
    def of(document: Mapping[str, Any], path: Path) -> Calibration:
        """From what a file holds. Raises WeightsError in one line."""
        try:
            return Calibration(_part(document["kept"], KEPT), _part(document["refined"], REFINED))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise WeightsError(f"{path} is not a confidence table: make one with benchmarks/fit_confidence.py") from None


@cache
def bundled_calibration() -> Calibration:
    """The one that comes with the package."""
    return read_calibration(Path(__file__).parents[1] / "weights" / NAME)


def read_calibration(path: Path) -> Calibration:
    """From a file of ``training.confidence``. Raises WeightsError in one line."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"cannot read {path} ({error.strerror}): reinstall the package, or name another table") from None
    except ValueError:
        document = None
    return Calibration.of(document, path)


def _part(entry: Mapping[str, Any], names: Sequence[str]) -> Part:
    curves = {name: _curve(entry["curves"][name]) for name in names}
    return Part(curves, {str(name): float(odds) for name, odds in entry["models"].items()}, float(entry["other"]))


def _curve(entry: Mapping[str, Sequence[float]]) -> Curve:
    knots, values = (tuple(float(number) for number in entry[name]) for name in ("knots", "values"))
    if len(knots) != len(values) or not 2 <= len(knots) <= MOST_KNOTS or not all(a < b for a, b in pairwise(knots)):
        raise ValueError
    return Curve(knots, values)
