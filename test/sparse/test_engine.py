"""The registry of sparse engines."""

from __future__ import annotations

import pytest

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.sparse import engine
from depth_retrofit_ros.sparse.engine import ENGINES, load_engine


@pytest.mark.parametrize("name", ENGINES)
def test_engine_knows_its_name(name: str) -> None:
    assert load_engine(name).name == name


def test_unknown_engine_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"^unknown sparse engine 'cuda': choose one of torch") as caught:
        load_engine("cuda")
    assert "\n" not in str(caught.value)


def test_engine_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engine.ENGINES, "absent", "a_package_that_nobody_has:Engine")
    with pytest.raises(ModelError, match="sparse engine 'absent' needs software that is not installed") as caught:
        load_engine("absent")
    assert "\n" not in str(caught.value)
