"""Where two answers disagree, on cases made by hand."""

from __future__ import annotations

import torch

from depth_retrofit_ros.refinement.sharp.disagreement import LEAST_HALF, REACH, aligned, bounds, disagreement, mixed


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


def test_a_sharp_answer_is_brought_to_the_scale_around_each_pixel() -> None:
    """A step seen sharply in any scale, and blurred in the right one."""
    x = torch.arange(192.0).expand(1, 192, 192)
    step = torch.where(x < 96, -0.4, 0.6)
    blurred = torch.nn.functional.avg_pool1d(torch.nn.functional.pad(step[0], (4, 4), mode="replicate"), 9, 1)[None]
    told = aligned(5 * step + 3, blurred)
    near = (x - 95.5).abs() < 4
    assert float((told - step).abs()[near].mean()) < 0.5 * float((blurred - step).abs()[near].mean())
    assert float((told - step).abs().max()) < 0.35 * float((blurred - step).abs().max())
    far = (x - 96).abs() > 3 * REACH
    assert float((told - step).abs()[far].max()) < 0.02


def test_what_has_no_relief_in_common_says_nothing() -> None:
    coarse = torch.linspace(-1, 1, 192).expand(1, 192, 192).contiguous()
    torch.testing.assert_close(aligned(-coarse, coarse), coarse)
    noise = torch.randn(1, 192, 192, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(aligned(noise, coarse), coarse, rtol=0, atol=0.02)


def test_an_answer_without_relief_says_what_the_coarse_one_does() -> None:
    coarse = torch.full((1, 192, 192), 0.3)
    torch.testing.assert_close(aligned(torch.zeros_like(coarse), coarse), coarse, rtol=0, atol=1e-4)
