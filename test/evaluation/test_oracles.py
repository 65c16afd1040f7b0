"""What a perfect refiner would reach, on scenes where that is known."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.evaluation.oracles import ORACLES, at_cell_centers, most_wrong, oracle_maps, surface_targets

H, W, CELL = 64, 512, 4
LEFT, RIGHT = 1.2, 0.9  # by which the coarse map is off on either side


def two_surfaces() -> np.ndarray:
    """Near on the left; the edge runs through the middle of a coarse cell."""
    truth = np.full((H, W), 6.0, np.float32)
    truth[:, :250] = 2.0
    return truth


def off(truth: np.ndarray) -> np.ndarray:
    """Each surface off by a factor of its own: what is attainable."""
    return np.where(truth < 4, truth * LEFT, truth * RIGHT).astype(np.float32)


def averaged(depth: np.ndarray) -> np.ndarray:
    return np.asarray(depth.reshape(H // CELL, CELL, W // CELL, CELL).mean((1, 3)), np.float32)


def smeared(coarse: np.ndarray) -> np.ndarray:
    return np.asarray(coarse.repeat(CELL, 0).repeat(CELL, 1))


def oracles(truth: np.ndarray, coarse: np.ndarray, selected: np.ndarray) -> dict[str, np.ndarray]:
    maps = oracle_maps(smeared(coarse), coarse, truth, np.zeros(truth.shape, bool), selected)
    assert tuple(maps) == ORACLES and all(depth.dtype == np.float32 for depth in maps.values())
    return maps


def test_true_depth_or_true_edges_at_the_selected_pixels_and_the_base_elsewhere() -> None:
    truth = two_surfaces()
    coarse = averaged(off(truth))
    selected = np.zeros((H, W), bool)
    selected[:, 246:256] = True
    maps = oracles(truth, coarse, selected)
    for name, wanted in (("oracle", truth), ("attainable", off(truth))):
        assert np.array_equal(maps[name][~selected], smeared(coarse)[~selected]), name
        np.testing.assert_allclose(maps[name][selected], wanted[selected], rtol=5e-3)


def test_the_better_selection_is_of_as_many_pixels_and_finds_what_was_lost() -> None:
    truth = two_surfaces()
    truth[40, 300:] = 1.5  # a wire that the coarse map does not show
    coarse = averaged(off(two_surfaces()))
    selected = np.zeros((H, W), bool)
    selected[:1] = True  # a poor choice
    maps = oracles(truth, coarse, selected)
    changed = maps["oracle_selection"] != smeared(coarse)
    assert changed.sum() <= selected.sum() and changed[40, 300:].all() and changed[:, 248:252].all()
    # The wire is as far off as the scale and shift of inverse depth say that both surfaces tell.
    near, far = 1 / (2 * LEFT), 1 / (6 * RIGHT)
    wire = near + (near - far) / (1 / 2 - 1 / 6) * (1 / 1.5 - 1 / 2)
    np.testing.assert_allclose(maps["oracle_selection"][40, 310:], 1 / wire, rtol=0.02)


def test_a_surface_that_is_off_as_a_whole_is_not_what_is_most_wrong() -> None:
    truth = two_surfaces()
    coarse = averaged(off(truth))
    selected = np.zeros((H, W), bool)
    selected[:, 0] = True
    changed = oracles(truth, coarse, selected)["oracle_selection"] != smeared(coarse)
    assert changed.sum() == H and not changed[:, :248].any() and not changed[:, 252:].any()


def test_where_the_truth_is_unknown_the_base_stays() -> None:
    truth = two_surfaces()
    coarse = averaged(off(truth))
    truth[20:40] = np.nan
    selected = np.ones((H, W), bool)
    for name, depth in oracles(truth, coarse, selected).items():
        assert np.array_equal(depth[20:40], smeared(coarse)[20:40]), name
        assert np.isfinite(depth).all()
    np.testing.assert_allclose(oracles(truth, coarse, selected)["attainable"][:20], off(two_surfaces())[:20], rtol=5e-3)


def test_nothing_known_changes_nothing() -> None:
    coarse = averaged(two_surfaces())
    unknown = np.full((H, W), np.nan, np.float32)
    for depth in oracles(unknown, coarse, np.ones((H, W), bool)).values():
        assert np.array_equal(depth, smeared(coarse))


def test_a_wire_before_the_sky_is_off_as_the_frame_wherever_the_sky_is_put() -> None:
    truth = np.full((H, W), 2.0, np.float32)
    truth[:40] = np.inf
    truth[9] = 3.0  # between the centres of cells
    sky, wire = np.isposinf(truth), np.arange(9 * W, 10 * W)
    known = np.where(sky, np.float32(np.nan), truth)
    for far in (20.0, 500.0):
        coarse = averaged(np.where(sky | (truth == 3.0), far, 2.0 * LEFT))
        np.testing.assert_allclose(surface_targets(wire, coarse, known, sky), 3.0 * LEFT, rtol=0.01)


def test_scaling_the_coarse_map_scales_the_target() -> None:
    truth = two_surfaces()
    coarse, at = averaged(off(truth)), np.arange(0, H * W, 7)
    nowhere = np.zeros((H, W), bool)
    once, thrice = (surface_targets(at, factor * coarse, truth, nowhere) for factor in (np.float32(1), np.float32(3)))
    np.testing.assert_allclose(thrice, 3 * once, rtol=1e-5)


@pytest.mark.parametrize(("count", "wanted"), [(0, []), (2, [1, 5]), (99, [0, 1, 2, 5])])
def test_the_most_wrong_are_the_known_pixels_with_the_largest_errors(count: int, wanted: list[int]) -> None:
    error = np.array([[0.1, 0.9, 0.2], [5.0, 7.0, 0.8]], np.float32)
    known = np.array([[1, 1, 1], [0, 0, 1]], bool)
    assert np.flatnonzero(most_wrong(error, known, count)).tolist() == wanted


def test_cells_are_sampled_at_their_centres() -> None:
    values = np.arange(12)[None].repeat(2, 0)
    assert at_cell_centers(values, (1, 4)).tolist() == [[1, 4, 7, 10]]
    assert at_cell_centers(values, (2, 12)).tolist() == values.tolist()
