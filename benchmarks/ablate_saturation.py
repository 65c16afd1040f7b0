#!/usr/bin/env python3
"""Where the selection's two signs of an edge stop to count for more: the frame's contrast, and the step of the coarse depth.

    python benchmarks/ablate_saturation.py another_518=FRAMES=COARSE path_traced_518=FRAMES2=COARSE2=scale-shift
        --json benchmarks/results/ablate_saturation.json

Sets: see ``set_tables.by_setting``. All with one refiner, which takes what is selected.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from set_tables import CLASSED, by_setting, report

from depth_retrofit_ros.errors import DepthRetrofitError
from depth_retrofit_ros.refinement.registry import load_refiner
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


def main() -> int:
    """Measure, print a table per set, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=FRAMES=COARSE[=ALIGN]")
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    try:
        refiner = load_refiner(None, torch.device("cpu"), "auto", "float32")
        settings = {f"{full:g}, {half:g}, {px} px": partial(saturating, full, half, px) for full, half, px in SETTINGS}
        sets = by_setting(refiner, args.sets, settings)
    except (DepthRetrofitError, ValueError) as error:
        print(f"ablate_saturation: error: {error}", file=sys.stderr)
        return 2
    report(sets, "full contrast, half step, least cell", CLASSED, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
