"""Random samples of a pool: streams that are apart, and a patience that poor pools do not use up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from depth_retrofit_ros.training import draws as draws_module
from depth_retrofit_ros.training.coarse_views import CoarseView
from depth_retrofit_ros.training.draws import Draws
from test.training.samples import view_of, write_samples


def state_of(entropy: object) -> tuple[int, ...]:
    """The stream's beginning."""
    assert isinstance(entropy, tuple)
    return tuple(np.random.SeedSequence(entropy).generate_state(4).tolist())


class Streams(Draws[tuple[int, ...]]):
    """Whose samples are the streams that they are drawn by. miss: how many are not used before one is."""

    miss = 0

    def make(self, rng: np.random.Generator, data: Mapping[str, np.ndarray], view: CoarseView) -> tuple[int, ...] | None:
        self.miss -= 1
        return state_of(rng.bit_generator.seed_seq.entropy) if self.miss < 0 else None  # type: ignore[attr-defined]


@pytest.fixture
def streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Streams:
    """Of one scene, at once."""
    monkeypatch.setattr(draws_module, "simulated_view", lambda rng, data: view_of(data))
    return Streams(write_samples(tmp_path, 1), [], batch=2, seed=7)


def test_samples_are_drawn_by_other_streams_than_scenes(streams: Streams) -> None:
    """The scene of seed 7 and index 3 is rendered by stream (7, 3), which to NumPy is (7, 3, 0)."""
    drawn = [sample for index in range(4) for sample in streams.draw(index)]
    scenes = [state_of((7, index)) for index in range(4)]
    assert len({*drawn, *scenes}) == 12


def test_hundreds_of_misses_in_a_row_do_not_end_a_training(streams: Streams) -> None:
    streams.miss = 500
    assert len(streams.draw(0)) == 2
