"""Where two answers disagree, on cases made by hand."""

from __future__ import annotations

import torch

from depth_retrofit_ros.refinement.sharp.disagreement import LEAST_HALF, bounds, disagreement, mixed


def test_the_largest_difference_is_one() -> None:
    sharp = torch.tensor([[[0.0, 0.5, -1.0]], [[0.0, 0.0, 0.1]]])
    torch.testing.assert_close(disagreement(sharp, torch.zeros(2, 1, 3)), torch.tensor([[[0.0, 0.5, 1.0]], [[0.0, 0.0, 1.0]]]))
    assert float(disagreement(sharp, torch.zeros(2, 1, 3), least_full=0.2)[1].max()) == 0.5
    assert not disagreement(sharp, sharp).any()


def test_noise_is_where_they_disagree() -> None:
    gate, noise, coarse = torch.tensor([[0.0, 0.25, 1.0]]), torch.tensor([[8.0, 8.0, 8.0]]), torch.tensor([[1.0, 2.0, 3.0]])
    assert mixed(gate, noise, coarse).tolist() == [[1.0, 3.5, 8.0]]


def test_bounds_go_with_scale_and_leave_single_cells_out() -> None:
    depth = torch.linspace(1, 8, 90 * 160).view(90, 160)
    middle, half = bounds(depth.log())
    depth[3, 5] = 1e6
    assert all(abs(float(a - b)) < 1e-3 for a, b in zip(bounds(depth.log()), (middle, half), strict=True))
    scaled, same = bounds((37 * depth).log())
    assert abs(float(scaled - middle) - 3.6109) < 1e-2 and abs(float(same - half)) < 1e-3
    assert abs(float(bounds(torch.zeros(9, 16))[1]) - LEAST_HALF) < 1e-6
