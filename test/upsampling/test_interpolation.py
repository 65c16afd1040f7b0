"""The coarse and the fine grid cover the same field of view: everything here fails if they are half a pixel apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.upsampling.area_average import downsample
from depth_retrofit_ros.upsampling.interpolation import (
    Mode,
    bilinear_table,
    cell_index,
    cell_table,
    doubled_offset,
    nearest,
    sample_at,
    upsample,
)

MODES: tuple[Mode, ...] = ("planar", "nearest", "bilinear")
SIZES = [((12, 16), (120, 160)), ((12, 16), (101, 158)), ((9, 16), (144, 256)), ((16, 9), (37, 19)), ((6, 8), (6, 8))]
Size = tuple[int, int]


def coarse_positions(low: Size, high: Size) -> tuple[np.ndarray, np.ndarray]:
    """Of each fine row [H, 1] and column [1, W]: where its centre lies on the coarse grid, derived from pixel edges."""
    (h, w), (height, width) = low, high
    return ((np.arange(height) + 0.5) / height * h - 0.5)[:, None], ((np.arange(width) + 0.5) / width * w - 0.5)[None]


def interior(low: Size, high: Size) -> np.ndarray:
    """bool [H, W]: fine pixels that lie between coarse centres."""
    y, x = coarse_positions(low, high)
    inside: np.ndarray = (y >= 0) & (y <= low[0] - 1) & (x >= 0) & (x <= low[1] - 1)
    return inside


def on_cell_boundary(low: Size, high: Size) -> np.ndarray:
    """bool [H, W]: fine pixels whose centre lies between two coarse cells, where nearest has to prefer one side."""
    y, x = coarse_positions(low, high)
    between: np.ndarray = (np.abs(y % 1 - 0.5) < 1e-9) | (np.abs(x % 1 - 0.5) < 1e-9)
    return between


@pytest.mark.parametrize(("low", "high"), SIZES)
def test_bilinear_reproduces_a_ramp_of_depth(low: Size, high: Size) -> None:
    y, x = np.mgrid[: low[0], : low[1]]
    fine_y, fine_x = coarse_positions(low, high)
    up = upsample(torch.from_numpy((2 + 0.3 * y + 0.7 * x).astype(np.float32)), high, "bilinear").numpy()
    inside = interior(low, high)
    np.testing.assert_allclose(up[inside], (2 + 0.3 * fine_y + 0.7 * fine_x)[inside], rtol=1e-5)


@pytest.mark.parametrize(("low", "high"), SIZES)
def test_planar_reproduces_a_slanted_plane_as_a_camera_sees_it(low: Size, high: Size) -> None:
    """n·X = d seen at both resolutions by the resized camera: exact, where interpolation of depth is not."""
    camera = Camera.from_hfov(high[1], high[0], 70.0)

    def plane(view: Camera) -> np.ndarray:
        x, y = (v.astype(np.float64) for v in view.ray_slopes())
        depth: np.ndarray = 3.0 / (0.3 * x[None] + 0.4 * y[:, None] + 1.0)
        return depth

    coarse = torch.from_numpy(plane(camera.resized(low[1], low[0])).astype(np.float32))
    truth, inside = plane(camera), interior(low, high)
    np.testing.assert_allclose(upsample(coarse, high, "planar").numpy()[inside], truth[inside], rtol=3e-6)
    if low != high:
        error = np.abs(upsample(coarse, high, "bilinear").numpy() / truth - 1)[inside]
        assert error.max() > 1e-4


@pytest.mark.parametrize(("low", "high"), SIZES)
def test_nearest_takes_the_cell_that_the_centre_lies_in(low: Size, high: Size) -> None:
    values = torch.arange(low[0] * low[1], dtype=torch.float32).view(low)
    y, x = coarse_positions(low, high)
    rows, columns = np.floor(y + 0.5).astype(int), np.floor(x + 0.5).astype(int)
    told = ~on_cell_boundary(low, high)
    np.testing.assert_array_equal(upsample(values, high, "nearest").numpy()[told], (rows * low[1] + columns)[told])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("low", "high"), SIZES)
def test_upsampling_commutes_with_mirroring(low: Size, high: Size, mode: Mode) -> None:
    """A grid shifted by any part of a pixel would be shifted the other way in the mirror."""
    depth = 1 + 5 * torch.rand(low)
    told = torch.from_numpy(~on_cell_boundary(low, high)) if mode == "nearest" else torch.ones(high, dtype=torch.bool)
    for axis in (0, 1):
        mirrored, mirrored_after = upsample(depth.flip(axis), high, mode), upsample(depth, high, mode).flip(axis)
        torch.testing.assert_close(mirrored[told], mirrored_after[told], rtol=1e-5, atol=0)


@pytest.mark.parametrize("mode", MODES)
def test_constant_stays_constant_and_scale_is_kept(mode: Mode) -> None:
    torch.testing.assert_close(upsample(torch.full((6, 8), 3.7), (60, 83), mode), torch.full((60, 83), 3.7), rtol=1e-6, atol=0)
    depth = 1 + 5 * torch.rand(6, 8)
    up, scaled = upsample(depth, (60, 83), mode), upsample(depth * 1024, (60, 83), mode)
    assert torch.equal(up * 1024, scaled)
    assert up.dtype == torch.float32
    assert float(up.min()) >= float(depth.min()) * (1 - 1e-6) and float(up.max()) <= float(depth.max()) * (1 + 1e-6)


@pytest.mark.parametrize(("low", "high"), [*SIZES, ((12, 16), (5, 7))])
def test_sample_at_is_upsampling_at_those_pixels(low: Size, high: Size) -> None:
    maps = torch.randn(*low, 3)
    pixels = torch.randperm(high[0] * high[1])[:200].sort().values
    whole = torch.stack([upsample(maps[..., c], high, "bilinear") for c in range(3)], -1)
    torch.testing.assert_close(sample_at(maps, pixels, high), whole.view(-1, 3)[pixels], rtol=1e-5, atol=2e-6)


def test_sample_at_no_pixels() -> None:
    assert sample_at(torch.randn(4, 5, 3), torch.empty(0, dtype=torch.int64), (40, 50)).shape == (0, 3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("factor", [2, 3, 5, 10])
@pytest.mark.parametrize("shift", [-1.5, 0.0, 0.25, 2.0])
def test_down_and_up_again_moves_no_edge(mode: Mode, factor: int, shift: float) -> None:
    """A soft vertical edge, averaged down and stretched again: the centre of gravity of its slope stays where it was."""
    height, width = 2 * factor, 40 * factor
    profile = 1 / (1 + np.exp(-(np.arange(width) - 20 * factor - shift) / (1.5 * factor)))
    image = np.repeat(np.repeat((255 * profile).round().astype(np.uint8)[None, :, None], height, 0), 3, 2)
    small = downsample(torch.from_numpy(image), (height // factor, width // factor))[0, 0]
    # Far away, inverse depth is as good as linear in depth, and planar moves no edge either.
    up = upsample(small + 1000.0, (height, width), mode)[0].double().numpy()
    # A grid off by half a pixel would move it by (factor − 1) / 2; eight bits allow for a few hundredths of a coarse pixel.
    assert _centroid(up) == pytest.approx(_centroid(image[0, :, 0] / 255), abs=0.03 * factor)


def _centroid(profile: np.ndarray) -> float:
    """Mean position of a rising edge: of the weight that its steps carry."""
    steps = np.diff(profile)
    return float((steps * (np.arange(steps.size) + 0.5)).sum() / steps.sum())


@pytest.mark.parametrize(("low", "high"), [(16, 160), (16, 158), (9, 37), (8, 8), (12, 5)])
def test_tables_are_what_torch_computes_on_a_device(low: int, high: int) -> None:
    """The one formula, in NumPy and in torch: bit for bit the same weights and places."""
    first, weight = (torch.from_numpy(part.copy()) for part in bilinear_table(low, high))
    ramp = torch.arange(low, dtype=torch.float32)
    position = sample_at(ramp[None, :, None], torch.arange(high), (1, high))[:, 0]
    assert torch.equal(torch.lerp(ramp[first], ramp[(first + 1).clamp_max(low - 1)], weight), position)
    cell, place = cell_table(low, high)
    fine = torch.arange(high)
    np.testing.assert_array_equal(cell_index(fine, low, high).numpy(), cell)
    np.testing.assert_array_equal(doubled_offset(fine, low, high).float().div_(high).sub_(1).numpy(), place)
    centers = (np.arange(high) + 0.5) * low / high
    np.testing.assert_allclose(cell + (place.astype(np.float64) + 1) / 2, centers, rtol=1e-6)


@pytest.mark.parametrize(("low", "high"), [*SIZES, ((12, 16), (5, 7)), ((3, 7), (12, 21)), ((160, 256), (1080, 1920))])
def test_nearest_is_exact_in_whole_numbers(low: Size, high: Size) -> None:
    """Each fine pixel has the value of the cell in which its centre lies; a centre on a boundary belongs to the later one."""
    values = torch.arange(low[0] * low[1]).view(low)
    rows, columns = ([(2 * i + 1) * small // (2 * large) for i in range(large)] for small, large in zip(low, high, strict=True))
    wanted = np.array([[row * low[1] + column for column in columns] for row in rows])
    np.testing.assert_array_equal(nearest(values, high).numpy(), wanted)
    assert nearest(values > 3, high).dtype == torch.bool
