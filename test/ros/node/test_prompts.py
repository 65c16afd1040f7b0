"""A prompt that comes a little late is waited for, one that is missing is replaced by the last one for a while."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.ros.node import sparse_input
from depth_retrofit_ros.ros.node.parameters import NO_POSE
from depth_retrofit_ros.ros.node.prompts import Prompts
from depth_retrofit_ros.ros.node.sparse_input import REMEMBERED_S, STREAMING_S, SparseInput
from test.ros.node.test_scale_fit import CAMERA, DEPTH, SECOND, frame, sparse
from test.waiting import PATIENCE_S

START = 100 * SECOND
MS = SECOND // 1000


@pytest.fixture(autouse=True)
def _no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_input, "LATE_S", 0.0)


def prompts(word: str = "sensor") -> tuple[SparseInput, Prompts]:
    depths = SparseInput(NO_POSE, "/sparse_depth")
    claim = ScaleClaim("metric", "sensor") if word == "sensor" else ScaleClaim("up-to-scale", "never")
    return depths, Prompts(depths, claim)


def test_a_message_of_the_image_s_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the worker's thread; the one that brings messages goes on."""
    monkeypatch.setattr(sparse_input, "LATE_S", PATIENCE_S)
    (depths, found), begun = prompts(), threading.Event()
    depths.offer(sparse(DEPTH, START))
    answers: list[float] = []

    def work() -> None:
        begun.set()
        known = found.of(frame(START + 90 * MS)).sparse
        assert known is not None
        answers.append(float(known.depth[0]))

    worker = threading.Thread(target=work)
    worker.start()
    assert begun.wait(PATIENCE_S)
    depths.offer(sparse(2 * DEPTH, START + 90 * MS))
    worker.join(PATIENCE_S / 2)
    assert answers == [2.0]


def test_the_wait_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_input, "LATE_S", 0.01)
    depths, found = prompts()
    depths.offer(sparse(DEPTH, START))
    assert found.of(frame(START + 90 * MS)).age_s == 0.0, "the nearest one within the tolerance"


@pytest.mark.parametrize(
    ("stamps_ms", "at_ms", "awaited"),
    [
        ([], 0, False),  # none has come at all
        ([0], 10, True),
        ([0], 0, False),  # it is there
        ([0, 100], 90, False),
        ([0, 100], 140, False),  # the next, at 200, will be no nearer
        ([0, 100], 160, True),
        ([0, 100], 101 + 1000 * STREAMING_S, False),  # another clock
    ],
)
def test_what_is_waited_for(stamps_ms: list[int], at_ms: float, awaited: bool) -> None:
    depths, _ = prompts()
    for stamp_ms in stamps_ms:
        depths.offer(sparse(DEPTH, START + stamp_ms * MS))
    assert depths._may_come(START + round(at_ms * MS)) is awaited


def test_a_sensor_that_has_stopped_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    depths, _ = prompts()
    depths.offer(sparse(DEPTH, START))
    monkeypatch.setattr(depths, "_came_s", depths._came_s - STREAMING_S - 1)
    assert not depths._may_come(START + 10 * MS)


def test_a_missing_prompt_is_replaced_by_the_last_one_for_a_second() -> None:
    """So that depth does not change its unit from frame to frame."""
    depths, found = prompts()
    depths.offer(sparse(DEPTH, START))
    own = found.of(frame(START))
    assert own.sparse is not None and (own.age_s, own.problem) == (0.0, None)
    for age_ms in (500, 1000):
        held = found.of(frame(START + age_ms * MS))
        assert held.sparse is own.sparse and held.age_s == pytest.approx(1e-3 * age_ms)
        assert held.problem is not None and "s from the image" in held.problem
    late = found.of(frame(START + 1001 * MS))
    assert late.sparse is None and late.age_s is None and late.problem is not None


def test_too_few_depths_are_replaced_too() -> None:
    depths, found = prompts()
    few = np.where(np.arange(DEPTH.size).reshape(DEPTH.shape) < 5, DEPTH, np.nan)
    depths.offer(sparse(few, START - 400 * MS))
    alone = found.of(frame(START - 400 * MS))
    assert alone.sparse is not None and alone.age_s is None and "a prompt takes" in str(alone.problem)
    depths.offer(sparse(DEPTH, START))
    own = found.of(frame(START))
    depths.offer(sparse(few, START + 400 * MS))
    held = found.of(frame(START + 400 * MS))
    assert held.sparse is own.sparse and held.age_s == pytest.approx(0.4) and "a prompt takes" in str(held.problem)


@pytest.mark.parametrize("changed", [{"camera": None}, {"frame_id": "other"}, {"camera": dataclasses.replace(CAMERA, fx=99.0)}])
def test_another_view_has_another_prompt(changed: dict[str, Camera | str | None]) -> None:
    depths, found = prompts()
    depths.offer(sparse(DEPTH, START))
    assert found.of(frame(START)).sparse is not None
    assert found.of(frame(START + 500 * MS, **changed)).sparse is None  # type: ignore[arg-type]


def test_time_that_goes_back_has_no_prompt_of_the_future() -> None:
    depths, found = prompts()
    depths.offer(sparse(DEPTH, START))
    assert found.of(frame(START)).sparse is not None
    assert found.of(frame(START - 500 * MS)).sparse is None
    assert REMEMBERED_S > 0.5


def test_a_model_on_nobody_s_word_neither_waits_nor_reuses(monkeypatch: pytest.MonkeyPatch) -> None:
    depths, found = prompts("nobody")
    monkeypatch.setattr(depths, "wait", lambda stamp_ns: pytest.fail("it waited"))
    depths.offer(sparse(DEPTH, START))
    assert found.of(frame(START)).age_s == 0.0
    assert found.of(frame(START + 500 * MS)).sparse is None
