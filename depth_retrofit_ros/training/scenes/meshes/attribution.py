"""Who made the models that a world is furnished with: for the card of what was trained in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from depth_retrofit_ros.training.scenes.meshes.catalogue import MODELS, Model, read_catalogues

LINKS = {"CC BY 3.0": "creativecommons.org/licenses/by/3.0", "CC0 1.0": "creativecommons.org/publicdomain/zero/1.0"}


def attribution(assets: Path) -> str:
    """One line for each licence: how many models, by whom, from most to fewest. Raises DatasetError where there are none."""
    return "\n".join(_lines(read_catalogues(assets / MODELS)))


def _lines(models: Iterable[Model]) -> list[str]:
    makers: dict[str, dict[str, int]] = {}
    for model in models:
        of = makers.setdefault(model.licence, {})
        of[model.creator] = of.get(model.creator, 0) + 1
    lines = []
    for licence, of in sorted(makers.items()):
        names = ", ".join(sorted(of, key=lambda name: (-of[name], name)))
        lines.append(f"{sum(of.values())} models of Sweet Home 3D under {licence} ({LINKS[licence]}) by {names}.")
    return lines
