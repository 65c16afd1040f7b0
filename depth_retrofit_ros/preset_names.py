"""The presets by name, and the refiner of each: what is known of them before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

AUTO = ("auto", "")  # for a refiner: the preset's own; parameter files that are older than presets have the latter


class PresetInfo(NamedTuple):
    """refiner: its own, of ``refinement.registry.REFINERS``."""

    refiner: str
    description: str


PRESETS: Mapping[str, PresetInfo] = {
    "default": PresetInfo("sparse", "guided upsampling; the most uncertain pixels by entropy, depth edges and contrast"),
    "paper": PresetInfo("paper", "2K Retrofit to the letter: nearest upsampling; all pixels whose entropy is above a threshold"),
}


def refiner_of(preset: str, refiner: Path | str | None) -> Path | str:
    """The refiner that is asked for; the preset's own for None, ``auto`` or nothing."""
    return PRESETS[preset].refiner if refiner is None or refiner in AUTO else refiner
