"""What the refiner sees, against definitions written out pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_retrofit_ros.refinement.pixels import features as features_module
from depth_retrofit_ros.refinement.pixels import mixtures
from depth_retrofit_ros.refinement.pixels.candidates import COUNT, MARGIN, MAX_LOG_RATIO, OFFSETS, SURFACES, candidate_maps
from depth_retrofit_ros.refinement.pixels.features import (
    IN_CHANNELS,
    WIDTHS,
    CoarseMaps,
    PixelFeatures,
    cell_of,
    coarse_maps,
    features_at,
    features_by_torch,
    pixel_features,
)
from depth_retrofit_ros.selection.top_k import select_top
from depth_retrofit_ros.selection.uncertainty import doubt
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.edge_aware import thumbnail
from depth_retrofit_ros.upsampling.interpolation import upsample
from test.refinement.nets import two_planes

SIZE = (90, 120)


def features(factor: float = 1.0, *, pixels: PixelSet | None = None, image: torch.Tensor | None = None) -> PixelFeatures:
    """Of 400 pixels of a frame with a coarse map scaled by ``factor``."""
    coarse = two_planes()
    depth = coarse.depth * factor
    score = doubt(coarse)
    pixels = pixels or select_top(score, SIZE, 400)
    if image is None:
        image = torch.randint(0, 256, (*SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return pixel_features(image, thumbnail(image, depth), depth, upsample(depth, SIZE), score, pixels)


@pytest.mark.parametrize("factor", [1e-3, 0.3, 1.7, 1e3])
def test_nothing_depends_on_the_unit_of_depth(factor: float) -> None:
    torch.testing.assert_close(features(factor).rows, features().rows, atol=2e-5, rtol=0)


def test_one_row_per_pixel_and_the_stated_channels() -> None:
    seen = features()
    assert seen.rows.shape == (400, IN_CHANNELS)
    assert seen.candidates.shape == seen.colors.shape == (400, COUNT)
    assert bool((seen.candidates[:, 0] == 0).all())
    assert bool(torch.isfinite(seen.rows).all())


def test_no_pixels() -> None:
    nothing = PixelSet.from_indices(torch.empty(0, dtype=torch.int64), SIZE)
    assert features(pixels=nothing).rows.shape == (0, IN_CHANNELS)


def test_colour_level_and_score_by_definition() -> None:
    coarse = two_planes()
    score = doubt(coarse)
    pixels = select_top(score, SIZE, 400)
    image = torch.randint(0, 256, (*SIZE, 3), dtype=torch.uint8)
    seen = features(pixels=pixels, image=image)
    torch.testing.assert_close(seen.rgb, (image.view(-1, 3)[pixels.indices].float() - 127.5) / 64)
    median = coarse.depth.flatten().sort().values[(coarse.depth.numel() - 1) // 2]
    fine = upsample(coarse.depth, SIZE).flatten()[pixels.indices]
    torch.testing.assert_close(seen.level, (fine / median).log(), atol=1e-6, rtol=0)
    standard = (score - score.mean()) / score.std()
    full = upsample(standard, SIZE, "bilinear").flatten()[pixels.indices]
    torch.testing.assert_close(seen.entropy, full.clamp(-3, 6), atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_colours_of_pixels_are_those_of_the_normalised_image(count: int) -> None:
    image = torch.randint(0, 256, (6000, 3), dtype=torch.uint8)
    indices = torch.randperm(6000)[:count]
    assert torch.equal(features_module.colors_at(image, indices), features_module.normalized(image)[indices])


def test_candidates_are_relative_to_the_depth_of_the_very_pixel() -> None:
    """ln(candidate) interpolated over the coarse grid, less ln of the upsampled depth."""
    coarse = two_planes()
    pixels = select_top(doubt(coarse), SIZE, 400)
    log_candidates = candidate_maps(coarse.depth) + coarse.depth.log()[..., None]
    log_fine = upsample(coarse.depth, SIZE).log().flatten()[pixels.indices]
    seen = features(pixels=pixels)
    for i in range(1, SURFACES):
        full = upsample(log_candidates[..., i], SIZE, "bilinear").flatten()[pixels.indices]
        torch.testing.assert_close(seen.candidates[:, i], full - log_fine, atol=1e-5, rtol=0)


def test_mixtures_are_those_of_the_pixels_cell_and_bounded() -> None:
    coarse = two_planes()
    depth = coarse.depth.clone()
    depth[:, 5] = 1e-4  # so near that the others' bound is reached
    pixels = PixelSet.from_indices(torch.arange(0, SIZE[0] * SIZE[1], 7), SIZE)
    image = torch.randint(0, 256, (*SIZE, 3), dtype=torch.uint8)
    fine = upsample(depth, SIZE)
    seen = pixel_features(image, thumbnail(image, depth), depth, fine, doubt(coarse), pixels)
    cells = mixtures.mixture_maps_by_torch(depth, (thumbnail(image, depth) * 255 - 127.5) / 64)
    row, column = pixels.indices // SIZE[1] // 5, pixels.indices % SIZE[1] // 5
    ratio, distance = mixtures.mixture_candidates(seen.rgb, cells[row, column], fine.flatten()[pixels.indices].log())
    assert float(ratio.abs().max()) > MAX_LOG_RATIO
    wanted = ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    torch.testing.assert_close(seen.candidates[:, SURFACES:], wanted, atol=2e-5, rtol=0)
    torch.testing.assert_close(seen.colors[:, SURFACES:], distance, atol=2e-5, rtol=0)


def test_colour_distance_by_hand() -> None:
    """Red left of coarse column 12, grey right of it: the distance tells which candidates are from the pixel's own side."""
    h, w = two_planes().depth.shape
    image = torch.full((*SIZE, 3), 128, dtype=torch.uint8)
    image[:, :60] = torch.tensor([255, 0, 0], dtype=torch.uint8)
    row, column = 45, 58  # red; coarse cell (9, 11)
    pixel = PixelSet.from_indices(torch.tensor([row * SIZE[1] + column]), SIZE)
    seen = features(pixels=pixel, image=image).colors[0]
    apart = ((255 - 128) + 128 + 128) / 3 / 64
    expected = [0.0, *(apart if 11 + dx >= 12 else 0.0 for _, dx in OFFSETS), 0.0]
    assert (h, w) == (18, 24) and max(expected) > 0
    torch.testing.assert_close(seen[:SURFACES], torch.tensor(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("size", "low"), [((90, 120), (18, 24)), ((37, 53), (9, 16)), ((5, 7), (18, 24)), ((100, 100), (64, 48))])
def test_cell_of_a_pixel_holds_its_centre(size: tuple[int, int], low: tuple[int, int]) -> None:
    rows, columns = cell_of(torch.arange(size[0] * size[1]), size, low)
    y, x = np.divmod(np.arange(size[0] * size[1]), size[1])
    np.testing.assert_array_equal(rows.numpy(), np.floor((y + 0.5) / size[0] * low[0] + 1e-9).astype(int))
    np.testing.assert_array_equal(columns.numpy(), np.floor((x + 0.5) / size[1] * low[1] + 1e-9).astype(int))


def test_one_broken_coarse_pixel_spoils_only_its_surroundings() -> None:
    coarse = two_planes()
    score = doubt(coarse)
    pixels = select_top(score, SIZE, SIZE[0] * SIZE[1])
    image = torch.zeros((*SIZE, 3), dtype=torch.uint8)
    broken = coarse.depth.clone()
    broken[9, 12] = torch.nan
    seen = pixel_features(image, thumbnail(image, broken), broken, upsample(broken, SIZE), score, pixels).rows
    bad = ~torch.isfinite(seen).all(1).view(SIZE)
    assert bool(bad[45:50, 60:65].all())
    reach = 5 * (MARGIN + 2)
    bad[45 - reach : 50 + reach, 60 - reach : 65 + reach] = False
    assert not bool(bad.any())


@pytest.mark.parametrize(("size", "low"), [((90, 120), (18, 24)), ((37, 53), (9, 16)), ((100, 100), (64, 48)), ((5, 7), (18, 24))])
def test_compiled_pass_equals_the_specification(size: tuple[int, int], low: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    depth, score = 1 + torch.rand(low, generator=generator), torch.rand(low, generator=generator)
    maps = coarse_maps(depth, score, torch.randn(*low, 3, generator=generator))
    indices = torch.randperm(size[0] * size[1], generator=generator)[: size[0] * size[1] // 2].sort().values
    rgb, depth_at = torch.randn(indices.numel(), 3, generator=generator), 1 + torch.rand(indices.numel(), generator=generator)
    got, wanted = (f(rgb, maps, depth_at, indices, size) for f in (features_at, features_by_torch))
    for name in WIDTHS:
        torch.testing.assert_close(got.part(name), wanted.part(name), atol=2e-5, rtol=0, msg=name)


def test_compiled_pass_follows_the_number_of_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is written into the kernel, where the cache of compiled kernels would keep it when it changes."""
    surfaces, windows, low, size = 9, ((3, 2), (5, 4), (7, 3)), (9, 16), (37, 53)
    count = surfaces + len(windows) + 3
    monkeypatch.setattr(mixtures, "WINDOWS", windows)
    monkeypatch.setattr(mixtures, "LEAST_SHARE", 0.3)
    monkeypatch.setattr(mixtures, "LEAST_OWN_COLOR", 0.2)
    monkeypatch.setattr(mixtures, "CHANNELS", 8 * len(windows) + 9)
    monkeypatch.setattr(features_module, "MIXTURE_LAYOUT", (len(windows), 0.3, 0.2))
    monkeypatch.setattr(features_module, "MAX_LOG_RATIO", 0.8)
    monkeypatch.setattr(features_module, "SURFACES", surfaces)
    monkeypatch.setattr(features_module, "IN_CHANNELS", 3 + 2 * count + 5)
    for name in ("candidates", "colors"):
        monkeypatch.setitem(WIDTHS, name, count)
    mixed = mixtures.mixture_maps(1 + torch.rand(low), torch.randn(*low, 3))
    maps = CoarseMaps(torch.randn(*low, surfaces + 2), torch.randn(*low, 3, surfaces), mixed, torch.tensor(0.5))
    indices = torch.arange(0, size[0] * size[1], 3)
    rgb, depth_at = torch.randn(indices.numel(), 3), 1 + torch.rand(indices.numel())
    got, wanted = (f(rgb, maps, depth_at, indices, size) for f in (features_at, features_by_torch))
    torch.testing.assert_close(got.rows, wanted.rows, atol=2e-5, rtol=0)
