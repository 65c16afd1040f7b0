"""A subscription that is there while it is wanted, and a while longer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from depth_retrofit_ros.errors import GraphError
from depth_retrofit_ros.ros.node.lazy_input import LINGER_S, LazyInput


class Recorded:
    def __init__(self) -> None:
        self.state = SimpleNamespace(now_s=0.0, wanted=True)
        self.happened: list[str] = []
        self.input = LazyInput(self.subscribe, self.unsubscribe, lambda: self.state.wanted, lambda: self.state.now_s)

    def subscribe(self) -> Any:
        self.happened.append("open")
        return len(self.happened)

    def unsubscribe(self, subscription: Any) -> None:
        self.happened.append(f"close {subscription}")

    def at(self, now_s: float, wanted: bool) -> list[str]:
        self.state.now_s, self.state.wanted = now_s, wanted
        self.input.refresh()
        return self.happened


def test_it_opens_at_once_and_closes_after_a_while() -> None:
    it = Recorded()
    assert it.at(0.0, True) == ["open"] == it.at(1.0, True)
    assert it.at(1.0 + 0.9 * LINGER_S, False) == ["open"]
    assert it.at(1.0 + LINGER_S, False) == ["open", "close 1"] == it.at(60.0, False)
    assert it.input.subscription is None
    assert it.at(60.0, True) == ["open", "close 1", "open"]


def test_who_comes_back_in_time_finds_it_open() -> None:
    it = Recorded()
    it.at(0.0, True)
    for second in range(1, 20):
        it.at(float(second), second % 2 == 0)
    assert it.happened == ["open"]


def test_closing_is_for_good_and_does_nothing_twice() -> None:
    it = Recorded()
    it.at(0.0, True)
    it.input.close()
    it.input.close()
    assert it.happened == ["open", "close 1"]


def test_what_cannot_be_opened_is_tried_again() -> None:
    tries: list[None] = []

    def fail() -> Any:
        tries.append(None)
        raise GraphError("no")

    lazy = LazyInput(fail, lambda subscription: None, lambda: True)
    for _ in range(2):
        with pytest.raises(GraphError):
            lazy.refresh()
    assert len(tries) == 2
