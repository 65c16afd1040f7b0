"""Kernel maps against their definition, pixel by pixel."""

from __future__ import annotations

import pytest
import torch

from depth_retrofit_ros.sparse import kernel_map
from depth_retrofit_ros.sparse.kernel_map import coarsen, neighbor_map
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from test.sparse.dense_reference import MASKS, SIZES, halve, make_mask


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", MASKS)
def test_neighbours_are_those_of_the_image(kind: str, size: tuple[int, int]) -> None:
    pixels = PixelSet.from_mask(make_mask(kind, size))
    row_at = {divmod(index, size[1]): row for row, index in enumerate(pixels.indices.tolist())}
    expected = [[row_at.get((y + dy, x + dx), pixels.count) for dy in (-1, 0, 1) for dx in (-1, 0, 1)] for y, x in row_at]
    assert neighbor_map(pixels).tolist() == expected


def test_neighbours_do_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = PixelSet.from_mask(make_mask("random", (30, 20)))
    whole = neighbor_map(pixels)
    monkeypatch.setattr(kernel_map, "ROWS_AT_ONCE", 7)
    assert torch.equal(neighbor_map(pixels), whole)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", MASKS)
def test_coarse_pixels_are_the_occupied_cells(kind: str, size: tuple[int, int]) -> None:
    mask = make_mask(kind, size)
    coarse = coarsen(PixelSet.from_mask(mask)).pixels
    assert torch.equal(coarse.mask(), halve(mask))
    assert coarse.size == ((size[0] + 1) // 2, (size[1] + 1) // 2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", MASKS)
def test_children_and_slots_are_each_others_inverse(kind: str, size: tuple[int, int]) -> None:
    pixels = PixelSet.from_mask(make_mask(kind, size))
    down = coarsen(pixels)
    expected = torch.full((down.pixels.count, 4), pixels.count, dtype=torch.int32)
    for row, index in enumerate(pixels.indices.tolist()):
        y, x = divmod(index, size[1])
        parent = int(down.pixels.index_image[y // 2, x // 2])
        expected[parent, 2 * (y % 2) + x % 2] = row
        assert int(down.slots[row]) == 4 * parent + 2 * (y % 2) + x % 2
    assert torch.equal(down.children, expected)
