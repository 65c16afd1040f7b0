"""Random fields and smaller depth maps: of the size, share and position that they promise."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.training.fields import SPACES, averaged, from_space, in_space, patches, remove_thin, smooth_noise


def test_smooth_noise_is_smooth_and_of_unit_size() -> None:
    values = np.stack([smooth_noise(np.random.default_rng(s), (90, 160), 6) for s in range(40)])
    assert values.shape == (40, 90, 160)
    assert 0.4 < values.std() < 1.3
    assert np.abs(np.diff(values, axis=2)).mean() < 0.1 * values.std()


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 1.0])
def test_patches_cover_their_share(share: float) -> None:
    values = np.stack([patches(np.random.default_rng(s), (90, 160), 20, share) for s in range(20)])
    assert values.min() >= 0 and values.max() <= 1
    assert values.mean() == pytest.approx(share, abs=0.12)
    assert np.abs(np.diff(values, axis=2)).mean() < 0.15


@pytest.mark.parametrize("space", SPACES)
def test_a_space_and_back(space: str) -> None:
    log = np.random.default_rng(0).normal(1, 1, (8, 9))
    np.testing.assert_allclose(from_space(in_space(log, space), space), log, atol=1e-9)


def test_the_mean_is_taken_in_its_space() -> None:
    log = np.log(np.tile(np.array([1.0, 4.0], np.float32), (4, 4)))
    got = {space: float(np.exp(averaged(log, (4, 2), space)).mean()) for space in SPACES}
    assert got == pytest.approx({"log": 2.0, "inverse": 1.6, "depth": 2.5})


@pytest.mark.parametrize("size", [2, 3, 4, 5, 7])
def test_what_is_thinner_is_removed_and_nothing_moved(size: int) -> None:
    log = np.full((40, 60), 2.0, np.float32)
    log[:, 10 : 10 + size - 1] = 1.0
    log[:, 30:45] = 1.0
    wanted = log.copy()
    wanted[:, :20] = 2.0
    np.testing.assert_array_equal(remove_thin(log, size), wanted)
