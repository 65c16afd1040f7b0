"""The contrast within coarse cells, against its definition pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from depth_retrofit_ros.selection.contrast import (
    LEAST_PX,
    cell_deviation,
    cell_deviation_by_torch,
    cell_starts,
    contrast,
    contrast_grid,
    deviation_between,
)
from depth_retrofit_ros.upsampling.interpolation import bilinear

Deviation = Callable[[torch.Tensor, tuple[int, int]], torch.Tensor]
CASES = [((90, 120), (18, 24)), ((37, 53), (9, 13)), ((100, 101), (7, 25)), ((8, 9), (1, 1))]


def noise(size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """A frame ``uint8 [H, W, 3]``."""
    return torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def by_definition(image: torch.Tensor, grid: tuple[int, int]) -> np.ndarray:
    """A pixel belongs to the cell in which its centre lies."""
    (height, width), pixels = image.shape[:2], image.double().numpy() / 255
    row = [int((y + 0.5) / height * grid[0] + 1e-9) for y in range(height)]
    column = [int((x + 0.5) / width * grid[1] + 1e-9) for x in range(width)]
    out = np.empty(grid)
    for i, j in np.ndindex(grid):
        cell = pixels[np.equal(row, i)][:, np.equal(column, j)]
        out[i, j] = cell.reshape(-1, 3).std(0).mean()
    return out


@pytest.mark.parametrize(("size", "grid"), CASES)
@pytest.mark.parametrize("deviation", [cell_deviation, cell_deviation_by_torch])
def test_deviation_by_definition(deviation: Deviation, size: tuple[int, int], grid: tuple[int, int]) -> None:
    image = noise(size)
    np.testing.assert_allclose(deviation(image, grid).numpy(), by_definition(image, grid), atol=2e-6)


@pytest.mark.parametrize("value", [0, 7, 128, 255])
@pytest.mark.parametrize("deviation", [cell_deviation, cell_deviation_by_torch])
def test_a_plain_frame_shows_nothing(deviation: Deviation, value: int) -> None:
    plain = torch.full((90, 130, 3), value, dtype=torch.uint8)
    assert float(deviation(plain, (4, 7)).max()) == 0


@pytest.mark.parametrize("deviation", [cell_deviation, cell_deviation_by_torch])
def test_black_and_white_is_the_most(deviation: Deviation) -> None:
    image = torch.zeros(60, 80, 3, dtype=torch.uint8)
    image[::2] = 255
    torch.testing.assert_close(deviation(image, (1, 2)), torch.full((1, 2), 0.5))
    image[::2, :, 1:] = 0  # only red differs: the channels' mean
    torch.testing.assert_close(deviation(image, (1, 2)), torch.full((1, 2), 0.5 / 3))


def test_a_thin_line_is_seen_in_the_cells_that_it_crosses() -> None:
    image = torch.full((60, 80, 3), 200, dtype=torch.uint8)
    image[:, 34] = 50
    seen = contrast(image, (6, 8))
    assert (seen > 0).nonzero()[:, 1].unique().tolist() == [3]
    share = 0.1
    torch.testing.assert_close(seen[:, 3], torch.full((6,), 150 / 255 * (share * (1 - share)) ** 0.5))


@pytest.mark.parametrize(
    ("size", "low", "grid"),
    [
        ((72, 128), (18, 32), (18, 32)),  # 4 x 4 px
        ((53, 128), (18, 32), (17, 32)),
        ((90, 120), (60, 80), (30, 40)),
        ((3, 2), (5, 7), (1, 1)),
        ((1440, 2560), (144, 256), (144, 256)),
        ((480, 640), (392, 518), (160, 213)),
    ],
)
def test_cells_are_never_smaller_than_a_deviation_needs(size: tuple[int, int], low: tuple[int, int], grid: tuple[int, int]) -> None:
    assert contrast_grid(size, low) == grid
    for high, n in zip(size, grid, strict=True):
        assert n == 1 or int(np.diff(cell_starts(high, n)).min()) >= LEAST_PX


@pytest.mark.parametrize(("size", "low"), [((90, 120), (60, 80)), ((90, 120), (18, 80)), ((30, 20), (30, 20))])
def test_beyond_that_it_is_interpolated(size: tuple[int, int], low: tuple[int, int]) -> None:
    image = noise(size)
    got = contrast(image, low)
    cells = torch.from_numpy(by_definition(image, contrast_grid(size, low))).float()
    wanted = bilinear(cells[None], low)[0]
    assert tuple(got.shape) == low
    torch.testing.assert_close(got, wanted, atol=2e-6, rtol=0)


@pytest.mark.parametrize(("high", "low"), [(10, 3), (1440, 144), (53, 13), (7, 7), (100, 1)])
def test_cells_follow_each_other_without_gap(high: int, low: int) -> None:
    starts = cell_starts(high, low)
    assert starts[0] == 0 and starts[-1] == high and len(starts) == low + 1 and (np.diff(starts) > 0).all()
    assert not starts.flags.writeable and cell_starts(high, low) is starts


def test_part_of_a_frame_has_the_frames_values() -> None:
    """Whole cells of a crop, where they begin in the crop; the crop need not begin at a cell."""
    image, grid = noise((90, 120)), (18, 24)
    rows, columns = cell_starts(90, 18)[4:9], cell_starts(120, 24)[10:20]
    y0, x0 = int(rows[0]) - 3, int(columns[0]) - 2
    crop = image[y0:80, x0:110].contiguous()
    got = deviation_between(crop, rows - y0, columns - x0)
    assert torch.equal(got, cell_deviation(image, grid)[4:8, 10:19])


@pytest.mark.cuda
def test_on_cuda_it_is_the_same() -> None:
    image = noise((90, 120))
    for low in ((18, 24), (60, 80)):
        torch.testing.assert_close(contrast(image.cuda(), low).cpu(), contrast(image, low), atol=2e-6, rtol=0)
