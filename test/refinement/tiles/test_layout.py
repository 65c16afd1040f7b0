"""Tiles cover the frame, the fullest are found, and what they answer meets without a seam."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from depth_retrofit_ros.refinement.tiles.layout import TileLayout, blended, cut, fullest, held
from depth_retrofit_ros.sparse.pixel_set import PixelSet

CPU = torch.device("cpu")
LAYOUTS = [
    TileLayout((64, 64), 64, 16),
    TileLayout((100, 177), 32, 8),
    TileLayout((70, 65), 32, 0),
    TileLayout((81, 90), 64, 16),  # three tiles over one another in places
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_pixel_lies_in_a_tile_and_every_tile_in_the_frame(layout: TileLayout) -> None:
    origins = layout.origins(torch.arange(layout.total))
    assert bool((origins >= 0).all()) and bool((origins + layout.side <= torch.tensor(layout.size)).all())
    covered = torch.zeros(layout.size, dtype=torch.int64)
    for y, x in origins.tolist():
        covered[y : y + layout.side, x : x + layout.side] += 1
    assert int(covered.min()) >= 1
    rows, columns = layout.starts(CPU)
    assert all(int((s[1:] - s[:-1]).max()) <= layout.side - layout.overlap for s in (rows, columns) if len(s) > 1)


@pytest.mark.parametrize(("size", "side", "overlap"), [((64, 31), 32, 8), ((64, 64), 32, 32), ((64, 64), 32, -1)])
def test_tiles_that_do_not_fit_are_refused(size: tuple[int, int], side: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        TileLayout(size, side, overlap)


def test_the_fullest_tiles_are_those_of_a_plain_count() -> None:
    layout = TileLayout((100, 177), 32, 8)
    mask = torch.rand(layout.size, generator=torch.Generator().manual_seed(0)) < torch.linspace(0, 0.3, 177)
    counts = cut(mask, layout.origins(torch.arange(layout.total)), layout.side).sum((1, 2))
    found = held(layout, PixelSet.from_mask(mask))
    assert torch.equal(found, counts)
    found = fullest(found, 7)
    assert found.tolist() == sorted(sorted(range(layout.total), key=lambda tile: (-int(counts[tile]), tile))[:7])


def test_of_equal_tiles_the_first_are_taken() -> None:
    layout = TileLayout((64, 64), 16, 0)
    assert fullest(held(layout, PixelSet.from_mask(torch.ones(layout.size, dtype=torch.bool))), 5).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tiles_that_agree_with_a_map_give_the_map(layout: TileLayout) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(*layout.size, 2, generator=generator)
    tiles = torch.randperm(layout.total, generator=generator)[: max(1, layout.total * 2 // 3)].sort().values
    pixels = torch.randperm(layout.size[0] * layout.size[1], generator=generator)[:500].sort().values
    answers = cut(values, layout.origins(tiles), layout.side)
    given, share = blended(layout, tiles, answers, pixels)
    covered = share > 0
    inside = torch.zeros(layout.size, dtype=torch.bool)
    for y, x in layout.origins(tiles).tolist():
        inside[y : y + layout.side, x : x + layout.side] = True
    assert torch.equal(covered, inside.flatten()[pixels])
    expected = torch.where(covered[:, None], values.flatten(0, 1)[pixels], 0.0)
    torch.testing.assert_close(given, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_where_tiles_disagree_the_blend_has_no_jump(layout: TileLayout) -> None:
    tiles = torch.arange(layout.total)
    each = torch.rand(layout.total, generator=torch.Generator().manual_seed(1))
    answers = each[:, None, None, None].expand(-1, layout.side, layout.side, 1)
    pixels = torch.arange(layout.size[0] * layout.size[1])
    smooth = blended(layout, tiles, answers, pixels)[0].view(layout.size)
    steps = max(float(smooth.diff(dim=axis).abs().max()) for axis in (0, 1))
    if layout.overlap == 0:
        assert steps > 0.3  # nothing to blend over
    elif layout.total > 1:
        assert 0 < steps < 3 / layout.overlap


@pytest.mark.parametrize("size", [(20, 100), (100, 20), (7, 5)])
def test_a_frame_that_is_smaller_than_a_tile_is_counted(size: tuple[int, int]) -> None:
    layout = TileLayout((max(size[0], 32), max(size[1], 32)), 32, 8)
    mask = torch.rand(size, generator=torch.Generator().manual_seed(0)) < 0.3
    padded = torch.nn.functional.pad(mask, (0, layout.size[1] - size[1], 0, layout.size[0] - size[0]))
    counts = cut(padded, layout.origins(torch.arange(layout.total)), layout.side).sum((1, 2))
    assert torch.equal(held(layout, PixelSet.from_mask(mask)), counts)


def test_many_pixels_are_counted_in_four_bytes() -> None:
    """Nothing of the frame's size is made in eight: of 8K that would be 265 MB at a time."""
    large, pixels = list[torch.Tensor](), PixelSet.from_mask(torch.ones(100, 177, dtype=torch.bool))

    class Made(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            large.extend(tensor for tensor in tree_leaves(made) if isinstance(tensor, torch.Tensor) and tensor.numel() > 10_000)
            return made

    with Made():
        held(TileLayout((100, 177), 32, 8), pixels)
    assert large and max(tensor.element_size() for tensor in large) == 4


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout.overlap and layout.total > 1])
def test_nothing_jumps_where_the_next_tile_was_not_seen(layout: TileLayout) -> None:
    """Of a quarter of the tiles, at all pixels: those that were not seen say zero."""
    generator = torch.Generator().manual_seed(1)
    tiles = torch.randperm(layout.total, generator=generator)[: max(1, layout.total // 4)].sort().values
    answers = torch.ones(len(tiles), layout.side, layout.side, 1)
    blend = blended(layout, tiles, answers, torch.arange(layout.size[0] * layout.size[1]))
    assert torch.equal(blend.mean[:, 0] > 0, blend.share > 0)
    assert bool((blend.share == 1).any()) and bool((blend.share == 0).any())
    change = (blend.share * blend.mean[:, 0]).view(layout.size)
    assert max(float(change.diff(dim=axis).abs().max()) for axis in (0, 1)) < 3 / layout.overlap


def test_at_the_frame_s_sides_a_tile_counts_in_full() -> None:
    layout = TileLayout((64, 100), 64, 16)
    share = blended(layout, torch.tensor([0]), torch.ones(1, 64, 64, 1), torch.arange(6400)).share.view(64, 100)
    assert bool((share[:, :36] == 1).all()) and bool((share[:, 64:] == 0).all())
    assert bool((share[:, 35:64].diff(dim=1) < 0).any())


def test_the_order_of_the_tiles_changes_nothing() -> None:
    layout = TileLayout((100, 177), 32, 8)
    tiles = torch.arange(layout.total)
    answers = torch.rand(layout.total, 32, 32, 1, generator=torch.Generator().manual_seed(1))
    pixels = torch.arange(0, 17700, 7)
    shuffled = torch.randperm(layout.total, generator=torch.Generator().manual_seed(2))
    first, second = blended(layout, tiles, answers, pixels)[0], blended(layout, tiles[shuffled], answers[shuffled], pixels)[0]
    assert torch.equal(first, second)
