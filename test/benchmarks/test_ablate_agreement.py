"""The ablation's settings reach the median, and nothing of them stays."""

from __future__ import annotations

from typing import Any

import pytest

from depth_retrofit_ros import presets
from depth_retrofit_ros.refinement.pixels import median
from test.paths import ROOT
from test.refinement.nets import random_refiner
from test.scripts import load_script

script: Any = load_script(ROOT / "benchmarks" / "ablate_agreement.py")


def test_a_setting_holds_within_and_only_there() -> None:
    before = presets.USUAL, median.REACH, median.FARTHEST_COLOR
    with pytest.raises(ZeroDivisionError), script.agreeing(5, 80.0):
        assert (before[0], 5, 80.0) == (presets.USUAL, median.REACH, median.FARTHEST_COLOR)
        raise ZeroDivisionError
    with script.agreeing(0, 40.0):
        assert presets.USUAL.agree is None
    assert before == (presets.USUAL, median.REACH, median.FARTHEST_COLOR)


def test_each_setting_answers_otherwise(room: str) -> None:
    refiner = random_refiner()
    rows = script.set_tables.by_setting(refiner, [room], script.settings(refiner))["room"]
    assert list(rows)[:2] == ["0 px, 40", "3 px, 40"]
    found = [row["flat_abs_rel"] for row in rows.values()]
    assert found[0] not in found[1:] and len(set(found)) > 3
