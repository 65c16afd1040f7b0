import numpy as np
import pytest

from depth_retrofit_ros.evaluation.metrics.obstacle_grid import ObstacleGrid, false_obstacles

GRID = ObstacleGrid(cell=0.5, low=-0.5, high=1.0, reach=4.0)


@pytest.mark.parametrize(
    ("point", "cell"),
    [
        ((0.1, 0.0, 1.1), (2, 8)),
        ((-0.1, 0.0, 1.1), (2, 7)),
        ((0.0, 0.6, 1.0), None),  # below: the ground
        ((0.0, -1.1, 1.0), None),  # above: one drives beneath
        ((3.0, 0.0, 3.0), None),  # beyond the reach
        ((np.nan, np.nan, np.nan), None),
    ],
)
def test_a_point_marks_its_cell(point: tuple[float, float, float], cell: tuple[int, int] | None) -> None:
    marked = GRID.marked(np.array([[point]], np.float32))
    assert marked.shape == (8, 16)
    assert [tuple(found) for found in np.argwhere(marked)] == ([cell] if cell else [])


def test_a_cell_needs_its_marks() -> None:
    few = ObstacleGrid(marks=3)
    point = np.array([0.05, 0.0, 1.05], np.float32)
    assert not few.marked(np.tile(point, (2, 1))).any() and few.marked(np.tile(point, (3, 1))).sum() == 1


def test_false_are_those_with_no_surface_around() -> None:
    marked, true = np.zeros((6, 9), bool), np.zeros((6, 9), bool)
    true[2, 3] = True
    marked[3, 4] = marked[2, 3] = True
    assert false_obstacles(marked, true) == 0
    marked[4, 3] = marked[0, 8] = True
    assert false_obstacles(marked, true) == 2
