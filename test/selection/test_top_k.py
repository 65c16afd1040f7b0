"""Exactly K pixels, those with the highest scores, the same ones every time; on both of its ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from depth_retrofit_ros.selection.top_k import select_top, select_top_by_torch
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.interpolation import bilinear_table

Select = Callable[[torch.Tensor, tuple[int, int], int], PixelSet]


def select_by_sorting(score: torch.Tensor, size: tuple[int, int], count: int) -> PixelSet:
    """The plain formulation: ``topk`` over the interpolated score, of equal scores the first."""
    full = F.interpolate(score[None, None], size=size, mode="bilinear", align_corners=False).flatten()
    threshold = full.topk(count, sorted=False).values.amin()
    above = full > threshold
    ties = (full == threshold).nonzero().squeeze(1)[: count - int(above.sum())]
    above[ties] = True
    return PixelSet.from_mask(above.view(size))


@pytest.fixture(params=[1, 3], autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["compiled", "torch"])
def select(request: pytest.FixtureRequest) -> Select:
    return select_top if request.param == "compiled" else select_top_by_torch


def assert_same(ours: PixelSet, reference: PixelSet) -> None:
    assert ours.indices.dtype == torch.int64 and ours.index_image.dtype == torch.int32
    assert torch.equal(ours.indices, reference.indices) and torch.equal(ours.index_image, reference.index_image)


@pytest.mark.parametrize("count", [1, 7, 100, 23 * 31 - 1, 23 * 31])
def test_agrees_with_a_sort(select: Select, count: int) -> None:
    """On a grid of its own size nothing is interpolated, so there is no rounding to differ in."""
    score = torch.randn(23, 31)
    assert_same(select(score, (23, 31), count), select_by_sorting(score, (23, 31), count))


@pytest.mark.parametrize("count", [1, 5, 6, 7, 11, 12])
def test_of_equal_scores_the_first_win(select: Select, count: int) -> None:
    score = torch.tensor([[1.0, 2.0, 1.0, 0.0], [-0.0, 1.0, 2.0, 1.0], [1.0, 1.0, 0.0, 1.0]])
    assert_same(select(score, (3, 4), count), select_by_sorting(score, (3, 4), count))


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_agrees_with_a_sort_on_any_ties(height: int, width: int, data: st.DataObject) -> None:
    few = data.draw(st.lists(st.sampled_from([-3.0, -0.5, 0.0, 1e-30, 0.25, 7.0, 1e30]), min_size=1, max_size=4))
    score = torch.tensor(few)[torch.randint(0, len(few), (height, width))]
    count = data.draw(st.integers(1, height * width))
    for select in (select_top, select_top_by_torch):
        assert_same(select(score, (height, width), count), select_by_sorting(score, (height, width), count))


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1.0, -1.0, 1e30])
@pytest.mark.parametrize("size", [(90, 131), (5, 8), (3, 5)])
def test_compiled_interpolation_is_the_formula(size: tuple[int, int], scale: float) -> None:
    """In float32, step by step as in the compiled code; also finer than the score, and with scores at the ends of what there is."""
    score = (np.random.default_rng(0).random((5, 8)) ** 4 * scale).astype(np.float32)
    (top, down), (left, right) = bilinear_table(5, size[0]), bilinear_table(8, size[1])
    below, beside = np.minimum(top + 1, 4), np.minimum(left + 1, 7)
    rows = score[top] + (score[below] - score[top]) * down[:, None]
    full = rows[:, left] + (rows[:, beside] - rows[:, left]) * right
    for count in (1, size[0] * size[1] // 10, size[0] * size[1]):
        expected = np.sort(np.argsort(-full.ravel(), kind="stable")[:count])
        assert select_top(torch.from_numpy(score), size, count).indices.tolist() == expected.tolist()


@pytest.mark.parametrize("size", [(90, 160), (91, 157), (7, 300)])
def test_interpolation_differs_from_torchs_by_rounding_only(size: tuple[int, int]) -> None:
    score = torch.rand(9, 16)
    full = F.interpolate(score[None, None], size=size, mode="bilinear", align_corners=False)[0, 0].flatten()
    count = full.numel() // 10
    threshold = full.topk(count).values.amin()
    ours, reference = select_top(score, size, count), select_top_by_torch(score, size, count)
    differing = ours.mask().flatten() ^ reference.mask().flatten()
    assert bool(((full[differing] - threshold).abs() < 1e-6).all()) and int(differing.sum()) <= 4
    assert ours.count == reference.count == count


@pytest.mark.parametrize("count", [0, 1, 50, 768])
@pytest.mark.parametrize("value", [0.0, 0.5, 0.1, -1.7])
def test_constant_score_still_gives_exactly_k(value: float, count: int) -> None:
    chosen = select_top(torch.full((3, 4), value), (23, 37), count)
    assert chosen.indices.tolist() == list(range(count))
    assert chosen.size == (23, 37)


def test_more_than_all_is_all() -> None:
    assert select_top(torch.rand(3, 4), (6, 8), 1000).indices.tolist() == list(range(48))


def test_on_a_device_no_step_waits_for_the_scores() -> None:
    """Tensors without content show it: whatever has to look at values fails on them."""
    chosen = select_top_by_torch(torch.empty(9, 16, device="meta"), (90, 160), 1440)
    assert chosen.count == 1440 and chosen.size == (90, 160)
    with pytest.raises((NotImplementedError, RuntimeError)):
        select_by_sorting(torch.empty(9, 16, device="meta"), (90, 160), 1440)


def test_same_answer_at_every_call() -> None:
    score = torch.randint(0, 4, (9, 16)).float()
    first = select_top(score, (90, 160), 1440)
    assert all(torch.equal(first.indices, select_top(score.clone(), (90, 160), 1440).indices) for _ in range(3))


def test_a_pixel_set_outlives_the_next_ones() -> None:
    first = select_top(torch.rand(9, 16), (90, 160), 1440)
    kept = first.indices.clone(), first.index_image.clone()
    for _ in range(3):
        select_top(torch.rand(9, 16), (90, 160), 1440)
    assert torch.equal(first.indices, kept[0]) and torch.equal(first.index_image, kept[1])


def test_grids_align(select: Select) -> None:
    """One hot coarse pixel becomes the fine pixels around its own centre, (1.5 · 8 − 0.5, 3.5 · 8 − 0.5)."""
    score = torch.zeros(3, 5)
    score[1, 3] = 1.0
    near = 1 - (torch.arange(-3.5, 4) / 8).abs()
    count = 4 * int((near[4:, None] * near[4:] > 0.4).sum())
    mask = select(score, (24, 40), count).mask()
    assert int(mask.sum()) == count
    assert mask.nonzero().double().mean(0).tolist() == [11.5, 27.5]
