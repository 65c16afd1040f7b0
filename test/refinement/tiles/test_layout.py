"""Tiles cover the frame, the fullest are found, and what they answer meets without a seam."""

from __future__ import annotations

import pytest
import torch

from depth_retrofit_ros.refinement.tiles.layout import TileLayout, blended, cut, fullest
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
    found = fullest(layout, PixelSet.from_mask(mask), 7)
    assert found.tolist() == sorted(sorted(range(layout.total), key=lambda tile: (-int(counts[tile]), tile))[:7])


def test_of_equal_tiles_the_first_are_taken() -> None:
    layout = TileLayout((64, 64), 16, 0)
    assert fullest(layout, PixelSet.from_mask(torch.ones(layout.size, dtype=torch.bool)), 5).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tiles_that_agree_with_a_map_give_the_map(layout: TileLayout) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(*layout.size, 2, generator=generator)
    tiles = torch.randperm(layout.total, generator=generator)[: max(1, layout.total * 2 // 3)].sort().values
    pixels = torch.randperm(layout.size[0] * layout.size[1], generator=generator)[:500].sort().values
    answers = cut(values, layout.origins(tiles), layout.side)
    given, covered = blended(layout, tiles, answers, pixels)
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


def test_the_order_of_the_tiles_changes_nothing() -> None:
    layout = TileLayout((100, 177), 32, 8)
    tiles = torch.arange(layout.total)
    answers = torch.rand(layout.total, 32, 32, 1, generator=torch.Generator().manual_seed(1))
    pixels = torch.arange(0, 17700, 7)
    shuffled = torch.randperm(layout.total, generator=torch.Generator().manual_seed(2))
    first, second = blended(layout, tiles, answers, pixels)[0], blended(layout, tiles[shuffled], answers[shuffled], pixels)[0]
    assert torch.equal(first, second)
