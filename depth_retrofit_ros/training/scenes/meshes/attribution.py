"""Who made the models that a world is furnished with: for the card of what was trained in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from depth_retrofit_ros.training.scenes.meshes.catalogue import MODELS, Model, read_catalogues

LINKS = {
    "CC BY 3.0": "https://creativecommons.org/licenses/by/3.0",
    "CC BY 3.0 US": "https://creativecommons.org/licenses/by/3.0/us",
    "CC0 1.0": "https://creativecommons.org/publicdomain/zero/1.0",
}


def attribution(assets: Path) -> str:
    """One line for each licence and copyright notice: how many models, by whom, from most to fewest.

    Raises DatasetError where there are none.
    """
    return "\n".join(_lines(read_catalogues(assets / MODELS)))


def terms(licence: str, copyright: str) -> str:
    """What a model may be used under: licence, link, and the notice that has to be kept."""
    return f"{licence} ({LINKS[licence]})" + (f", {copyright}" if copyright else "")


def _lines(models: Iterable[Model]) -> list[str]:
    makers: dict[str, dict[str, int]] = {}
    for model in models:
        of = makers.setdefault(terms(model.licence, model.copyright), {})
        of[model.creator] = of.get(model.creator, 0) + 1
    lines = []
    for under, of in sorted(makers.items()):
        names = ", ".join(sorted(of, key=lambda name: (-of[name], name)))
        lines.append(f"{sum(of.values())} models of Sweet Home 3D by {names}, under {under}")
    return lines
