#!/usr/bin/env python3
"""What the median over neighbours of like colour is worth: the bundled refiner without it, with it, with other reaches and colours.

    python benchmarks/ablate_agreement.py another_518=FRAMES=COARSE own=DIR=DIR2 --json benchmarks/results/ablate_agreement.json

Sets: see ``set_tables.by_setting``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from unittest import mock

import set_tables

from depth_retrofit_ros import presets
from depth_retrofit_ros.refinement.pixels import median
from depth_retrofit_ros.refinement.pixels.refiner import SparseRefiner

SETTINGS: Sequence[tuple[int, float]] = ((0, 40.0), (3, 40.0), (1, 40.0), (2, 40.0), (5, 40.0), (3, 20.0), (3, 80.0))
"""Reach [px] and farthest colour; reach 0: each pixel for itself."""


@contextmanager
def agreeing(reach: int, color: float) -> Iterator[None]:
    """Within, the default preset takes the median over these neighbours; over none, no median."""
    parts = presets.USUAL if reach else replace(presets.USUAL, agree=None)
    with (
        mock.patch.object(presets, "USUAL", parts),
        mock.patch.object(median, "REACH", max(1, reach)),
        mock.patch.object(median, "FARTHEST_COLOR", color),
    ):
        yield


def settings(refiner: SparseRefiner) -> Mapping[str, set_tables.Setting]:
    """By name, as ``set_tables.run`` takes them; the same for every refiner."""
    return {f"{reach} px, {color:g}": partial(agreeing, reach, color) for reach, color in SETTINGS}


if __name__ == "__main__":
    sys.exit(set_tables.run("ablate_agreement", __doc__, "reach, farthest colour", settings))
