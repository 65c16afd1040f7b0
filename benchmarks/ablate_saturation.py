#!/usr/bin/env python3
"""Where the selection's two signs of an edge stop to count for more: the frame's contrast, and the step of the coarse depth.

    python benchmarks/ablate_saturation.py another_518=FRAMES=COARSE path_traced_518=FRAMES2=COARSE2=scale-shift
        --json benchmarks/results/ablate_saturation.json

Sets: see ``set_tables.by_setting``. All with one refiner, which takes what is selected.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from unittest import mock

import set_tables

from depth_retrofit_ros.refinement.pixels.refiner import SparseRefiner
from depth_retrofit_ros.selection import contrast, uncertainty

SETTINGS = ((0.2, 0.2, 4), (0.2, 0.2, 3), (0.1, 0.2, 3), (0.05, 0.2, 3), (0.1, 0.15, 3), (0.1, 0.3, 3))
"""``FULL_CONTRAST``, ``HALF_STEP``, ``LEAST_PX``."""


@contextmanager
def saturating(full_contrast: float, half_step: float, least_px: int) -> Iterator[None]:
    """Within, selection saturates there."""
    with (
        mock.patch.object(uncertainty, "FULL_CONTRAST", full_contrast),
        mock.patch.object(uncertainty, "HALF_STEP", half_step),
        mock.patch.object(contrast, "LEAST_PX", least_px),
    ):
        yield


def settings(refiner: SparseRefiner) -> Mapping[str, set_tables.Setting]:
    """By name, as ``set_tables.run`` takes them; the same for every refiner."""
    return {f"{full:g}, {half:g}, {px} px": partial(saturating, full, half, px) for full, half, px in SETTINGS}


if __name__ == "__main__":
    sys.exit(set_tables.run("ablate_saturation", __doc__, "full contrast, half step, least cell", settings))
