"""The compiled backend against the torch backend, and its promises: no gradients, no overwritten results, any number of threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.sparse.backends.cpu import kernels as cpu_kernels
from depth_retrofit_ros.sparse.backends.cpu.backend import CpuBackend
from depth_retrofit_ros.sparse.backends.cpu.vectors import VectorUnit
from depth_retrofit_ros.sparse.backends.registry import load_backend
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from test.sparse.backends.conformance import check_maps, check_operations, check_unet, large_mask
from test.sparse.dense_reference import MASKS, SIZES, make_mask

BACKEND = load_backend("cpu")


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", MASKS)
def test_operations_match_torch(kind: str, size: tuple[int, int]) -> None:
    check_operations(BACKEND, make_mask(kind, size), (5, 7))


@pytest.mark.parametrize("channels", [(24, 16), (16, 70)])
def test_operations_match_torch_on_a_large_set(channels: tuple[int, int], threads: int) -> None:
    check_operations(BACKEND, large_mask(), channels)


@pytest.mark.parametrize("size", [*SIZES, (6, 9), (33, 17)])
@pytest.mark.parametrize("kind", MASKS)
def test_maps_are_those_of_torch(kind: str, size: tuple[int, int]) -> None:
    check_maps(BACKEND, make_mask(kind, size))


def test_maps_of_a_large_set_are_those_of_torch(threads: int) -> None:
    check_maps(BACKEND, large_mask(), levels=5)


@pytest.mark.parametrize("kind", MASKS)
def test_unet_matches_torch(kind: str) -> None:
    check_unet(BACKEND, make_mask(kind, (21, 35)))


@pytest.mark.parametrize("unit", [VectorUnit(8, 16), VectorUnit(4, 32), VectorUnit(4, 16)])
def test_the_vectors_of_other_machines_give_the_same(unit: VectorUnit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_kernels, "vector_unit", lambda: unit)
    check_operations(BACKEND, make_mask("random", (40, 50)), (5, 19))


@pytest.mark.parametrize("outputs", [1, 16, 17, 64, 65, 200])
@pytest.mark.parametrize("unit", [VectorUnit(16, 32), VectorUnit(8, 16), VectorUnit(4, 32), VectorUnit(4, 16)])
def test_a_tile_fits_the_registers(unit: VectorUnit, outputs: int) -> None:
    columns = unit.columns(outputs)
    rows = unit.rows(columns)
    assert rows >= 4 and columns >= 1
    assert rows * columns + columns + 1 <= unit.registers  # the sums, one row of weights, one value


def test_the_number_of_threads_changes_nothing() -> None:
    pixels = PixelSet.from_mask(large_mask())
    features, weight = torch.randn(pixels.count, 24), torch.randn(16, 24, 3, 3)
    results = []
    before = torch.get_num_threads()
    for number in (1, 2, 4):
        torch.set_num_threads(number)
        results.append(BACKEND.submanifold_conv(features, weight, None, BACKEND.build_pyramid(pixels, 1)[0]))
    torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results[1:])


def test_not_a_number_is_passed_on() -> None:
    level = BACKEND.build_pyramid(PixelSet.from_mask(make_mask("all", (5, 5))), 1)[0]
    features = torch.zeros(25, 5)
    features[12, 2] = torch.nan
    out = BACKEND.submanifold_conv(features, torch.randn(7, 5, 3, 3), None, level, relu_input=True)
    reached = torch.zeros(5, 5, dtype=torch.bool)
    reached[1:4, 1:4] = True
    assert torch.equal(out.isnan().all(1).view(5, 5), reached) and torch.equal(out.isnan().any(1).view(5, 5), reached)


def test_results_stay_what_they_were() -> None:
    """Memory is used again only when nobody refers to it, be it through a view."""
    backend = CpuBackend()
    level = backend.build_pyramid(PixelSet.from_mask(large_mask()), 1)[0]
    features, weight = torch.randn(level.count, 5), torch.randn(7, 5, 3, 3)
    view = backend.submanifold_conv(features, weight, None, level)[3:, 1]
    kept = view.clone()
    for _ in range(3):
        backend.submanifold_conv(-features, weight, None, level)
    assert torch.equal(view, kept)


def test_memory_is_used_again_from_frame_to_frame() -> None:
    backend = CpuBackend()
    weight = torch.randn(7, 5, 3, 3)

    def frame() -> None:
        level = backend.build_pyramid(PixelSet.from_mask(large_mask()), 3)[0]
        backend.submanifold_conv(torch.zeros(level.count, 5), weight, None, level)

    frame()
    reserved = backend.pool.reserved_bytes
    for _ in range(3):
        frame()
    assert backend.pool.reserved_bytes == reserved > 0


def test_gradients_are_refused_in_one_line() -> None:
    level = BACKEND.build_pyramid(PixelSet.from_mask(make_mask("band", (8, 8))), 1)[0]
    weight = torch.randn(7, 5, 3, 3, requires_grad=True)
    features = torch.zeros(level.count, 5)
    with pytest.raises(ModelError, match="sparse backend 'cpu' computes no gradients: train with 'torch'") as caught:
        BACKEND.submanifold_conv(features, weight, None, level)
    assert "\n" not in str(caught.value)
    with torch.no_grad():
        assert not BACKEND.submanifold_conv(features, weight, None, level).requires_grad


def test_other_types_are_refused_in_one_line() -> None:
    level = BACKEND.build_pyramid(PixelSet.from_mask(make_mask("band", (8, 8))), 1)[0]
    with pytest.raises(ModelError, match=r"computes in float32, not torch.float16"):
        BACKEND.submanifold_conv(torch.zeros(level.count, 5).half(), torch.randn(7, 5, 3, 3).half(), None, level)
    with pytest.raises(ModelError, match=r"features are torch.float32, weights torch.float16: convert"):
        BACKEND.submanifold_conv(torch.zeros(level.count, 5), torch.randn(7, 5, 3, 3).half(), None, level)


def test_what_does_not_fit_is_refused() -> None:
    pyramid = BACKEND.build_pyramid(PixelSet.from_mask(make_mask("band", (8, 8))), 2)
    features, weight = torch.zeros(pyramid[0].count, 5), torch.randn(7, 5, 3, 3)
    with pytest.raises(ValueError, match="do not belong to this level"):
        BACKEND.submanifold_conv(features[1:], weight, None, pyramid[0])
    with pytest.raises(ValueError, match=r"residual .* does not fit the result"):
        BACKEND.submanifold_conv(features, weight, None, pyramid[0], residual=features)
    with pytest.raises(ValueError, match="weight for 5 channels does not fit features"):
        BACKEND.submanifold_conv(features[:, :4], weight, None, pyramid[0])
    with pytest.raises(ValueError, match="one more level"):
        BACKEND.down_conv(torch.zeros(pyramid[1].count, 5), torch.randn(7, 5, 2, 2), None, pyramid[1])
    with pytest.raises(ValueError, match="at least one level"):
        BACKEND.build_pyramid(PixelSet.from_mask(make_mask("band", (8, 8))), 0)
