"""Sets are measured setting by setting, as asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from test.paths import ROOT
from test.refinement.nets import random_refiner
from test.scripts import load_script

set_tables: Any = load_script(ROOT / "benchmarks" / "set_tables.py")


def test_an_unknown_alignment_is_refused() -> None:
    assert set_tables.mode("scale-shift") == "scale-shift"
    with pytest.raises(ValueError, match="give one of none, median, scale-shift"):
        set_tables.by_setting(random_refiner(), ["room=frames=coarse=scale"], {})


def test_each_setting_is_in_force_while_its_figures_are_taken(room: str) -> None:
    refiner, inside = random_refiner(), []

    @contextmanager
    def noted(name: str) -> Iterator[None]:
        inside.append(name)
        yield
        inside.append(f"end of {name}")

    sets = set_tables.by_setting(refiner, [room], {name: lambda name=name: noted(name) for name in ("one", "two")})
    assert inside == ["one", "end of one", "two", "end of two"]
    rows = sets["room"]
    assert list(rows) == ["one", "two"] and set(rows["one"]) == set(set_tables.COLUMNS) and rows["one"] == rows["two"]


def test_the_alignment_is_that_of_the_set(room: str) -> None:
    settings = {"only": nullcontext}
    plain, shifted = (
        set_tables.by_setting(random_refiner(), [room + end], settings)["room"]["only"] for end in ("", "=scale-shift")
    )
    assert plain != shifted
