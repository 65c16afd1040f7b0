"""Pixel semantics from tiles: the same weights give the same result, so a network for tiles can be exported."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from depth_retrofit_ros.bench.dense_masked import DenseMaskedUNet
from depth_retrofit_ros.sparse.backends.registry import load_backend
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.unet import SparseUNet
from test.sparse.backends.conformance import check_operations, check_unet
from test.sparse.backends.tile_backend import TileBackend, coarse_pixels
from test.sparse.dense_reference import MASKS, dense_unet, halve, make_mask, to_dense, to_sparse


@pytest.mark.parametrize("tile", [8, 16])
@pytest.mark.parametrize("kind", MASKS)
def test_tiles_with_a_mask_per_pixel_give_the_pixels_result(kind: str, tile: int) -> None:
    mask = make_mask(kind, (37, 50))
    check_operations(TileBackend(tile), mask, (5, 7))
    check_unet(TileBackend(tile), mask)


@pytest.mark.parametrize("kind", MASKS)
def test_a_tile_needs_no_more_than_its_surroundings(kind: str) -> None:
    """The whole masked network on one tile with a margin gives that tile's part of the frame's result."""
    torch.manual_seed(0)
    net = SparseUNet(4, (6, 8, 10), blocks=1, out_channels=3)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.15)
    mask = make_mask(kind, (128, 144))
    pixels = PixelSet.from_mask(mask)
    features = torch.randn(pixels.count, 4)
    dense = to_dense(features, pixels)
    with torch.inference_mode():
        backend = load_backend("torch")
        whole = to_dense(net(features, backend.build_pyramid(pixels, 3)), pixels)
        rows, columns = slice(48, 64), slice(64, 80)
        margin = 40  # a multiple of the coarsest cell, beyond the reach of 5 + 2 · 4 + 4 · 2 kernels of 3, and the halving
        window = (..., slice(48 - margin, 64 + margin), slice(64 - margin, 80 + margin))
        part = dense_unet(net, dense[window], mask[window]) * mask[window]
    inner = (..., slice(margin, margin + 16), slice(margin, margin + 16))
    torch.testing.assert_close(part[inner], whole[..., rows, columns], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(24, 32), (21, 35)])
@pytest.mark.parametrize("kind", MASKS)
def test_the_benchmarks_dense_baseline_computes_the_same(kind: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = SparseUNet(4, (6, 8, 10), blocks=2, out_channels=3)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.15)
    mask = make_mask(kind, size)
    pixels = PixelSet.from_mask(mask)
    features = torch.randn(pixels.count, 4)
    image = to_dense(features, pixels).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        wanted = net(features, load_backend("torch").build_pyramid(pixels, 3))
    got = to_sparse(DenseMaskedUNet(net)(image, mask[None, None].float()), pixels)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", MASKS)
def test_coarse_pixels_of_a_level(kind: str) -> None:
    mask = make_mask(kind, (21, 35))
    level = load_backend("torch").build_pyramid(PixelSet.from_mask(mask), 2)[0]
    assert torch.equal(coarse_pixels(level).mask(), halve(mask))
