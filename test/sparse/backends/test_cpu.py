"""The compiled backend against the torch backend, and its promises: no gradients, no overwritten results, any number of threads."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import torch

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.refinement.pixels.refiner import type_for
from depth_retrofit_ros.sparse.backends.cpu import kernels as cpu_kernels
from depth_retrofit_ros.sparse.backends.cpu import vectors
from depth_retrofit_ros.sparse.backends.cpu.backend import CpuBackend
from depth_retrofit_ros.sparse.backends.cpu.vectors import VectorUnit, lack_of_bfloat16
from depth_retrofit_ros.sparse.backends.registry import load_backend
from depth_retrofit_ros.sparse.backends.torch import TorchBackend
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.unet import SparseUNet
from test.sparse.backends.conformance import check_maps, check_operations, check_unet, large_mask, operations
from test.sparse.dense_reference import MASKS, SIZES, make_mask

BACKEND = load_backend("cpu")
needs_bfloat16 = pytest.mark.skipif(bool(lack_of_bfloat16()), reason=lack_of_bfloat16())
TYPES = [torch.float32, pytest.param(torch.bfloat16, marks=needs_bfloat16)]
ROUNDING = 2.0**-8  # the largest relative one of a bfloat16


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


@needs_bfloat16
@pytest.mark.parametrize("channels", [(5, 7), (1, 1), (24, 16), (3, 33)])
@pytest.mark.parametrize("kind", MASKS)
def test_operations_in_bfloat16_match_torch(kind: str, channels: tuple[int, int]) -> None:
    """The same rounded inputs, sums in float32: nothing is lost but the rounding of the result."""
    check_operations(BACKEND, make_mask(kind, (13, 22)), channels, dtype=torch.bfloat16, tolerance=1.01 * ROUNDING)


@needs_bfloat16
@pytest.mark.parametrize("channels", [(16, 16), (62, 24), (16, 70), (48, 48), (33, 64), (130, 20)])
def test_operations_in_bfloat16_match_torch_on_a_large_set(channels: tuple[int, int], threads: int) -> None:
    check_operations(BACKEND, large_mask(), channels, dtype=torch.bfloat16, tolerance=1.01 * ROUNDING)


@needs_bfloat16
@torch.inference_mode()
def test_results_in_bfloat16_are_rounded_to_the_nearest() -> None:
    """Exactly the rounded sum, but where float32 sums in another order fall on the other side of the middle."""
    pixels = PixelSet.from_mask(large_mask())
    reference = load_backend("torch")
    exact, ours = (backend.build_pyramid(pixels, 2) for backend in (reference, BACKEND))
    for name, operation in operations(16, 24, (exact[0].count, exact[1].count)).items():
        wanted = operation(reference, exact, lambda tensor: tensor.bfloat16().double()).bfloat16()
        got = operation(BACKEND, ours, lambda tensor: tensor.bfloat16())
        steps = (wanted.view(torch.int16).int() - got.view(torch.int16).int()).abs()
        small = wanted.float().abs() < 1e-2 * float(wanted.float().abs().max())  # where terms cancel, float32 itself is coarse
        assert float((steps > 0).float().mean()) < 2e-3 and int(steps[~small].max()) <= 1, name


@needs_bfloat16
@torch.inference_mode()
@pytest.mark.parametrize("channels", [1, 16, 31, 62])
def test_linear_layers_convert(channels: int) -> None:
    """Features in float32 are rounded to the nearest for weights in bfloat16, and those in bfloat16 are taken as they are."""
    features = torch.randn(1000, channels) * torch.logspace(-20, 20, 1000)[:, None]
    weight, bias = torch.randn(24, channels), torch.randn(24)
    to_half = BACKEND.linear(features, weight.bfloat16(), bias.bfloat16(), relu_input=True)
    assert torch.equal(to_half, BACKEND.linear(features.bfloat16(), weight.bfloat16(), bias.bfloat16(), relu_input=True))
    to_float = BACKEND.linear(features.bfloat16(), weight, bias, relu_input=True)
    assert to_float.dtype == torch.float32
    assert torch.equal(to_float, BACKEND.linear(features.bfloat16().float(), weight, bias, relu_input=True))


class RoundingBackend(TorchBackend):
    """The torch backend in double, its results rounded to bfloat16: the model of what the kernels round."""

    def submanifold_conv(self, *tensors: object, **options: object) -> torch.Tensor:
        return self._rounded(super().submanifold_conv, tensors, options)

    def down_conv(self, *tensors: object) -> torch.Tensor:
        return self._rounded(super().down_conv, tensors, {})

    def up_conv(self, *tensors: object, **options: object) -> torch.Tensor:
        return self._rounded(super().up_conv, tensors, options)

    def _rounded(
        self, convolve: Callable[..., torch.Tensor], tensors: tuple[object, ...], options: dict[str, object]
    ) -> torch.Tensor:
        double = [tensor.double() if isinstance(tensor, torch.Tensor) else tensor for tensor in tensors]
        options = {name: value.double() if isinstance(value, torch.Tensor) else value for name, value in options.items()}
        return convolve(*double, **options).bfloat16()


@needs_bfloat16
@torch.inference_mode()
@pytest.mark.parametrize("kind", MASKS)
def test_unet_in_bfloat16_matches_a_model_of_its_rounding(kind: str) -> None:
    torch.manual_seed(0)
    net = SparseUNet(24, (16, 24, 32), blocks=2, out_channels=3)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    for part in net.children():
        part.to(torch.float32 if part is net.head else torch.bfloat16)
    pixels = PixelSet.from_mask(make_mask(kind, (21, 35)))
    features = torch.randn(pixels.count, 24).bfloat16()
    wanted = net(features, RoundingBackend().build_pyramid(pixels, net.levels))
    got = net(features, BACKEND.build_pyramid(pixels, net.levels))
    assert got.dtype == torch.float32
    scale = float(wanted.abs().max()) if wanted.numel() else 1.0
    torch.testing.assert_close(got, wanted, rtol=0, atol=2 * ROUNDING * scale)
    assert not wanted.numel() or float((got - wanted).abs().mean()) < ROUNDING / 4 * scale


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
    for paired in (False, True) if unit == VectorUnit(16, 32) else (False,):
        rows = unit.rows(columns, paired)
        assert rows >= 4 and columns >= 1
        assert rows * columns + columns + 1 <= unit.registers  # the sums, one row of weights, one value


@pytest.mark.parametrize("dtype", TYPES)
def test_the_number_of_threads_changes_nothing(dtype: torch.dtype) -> None:
    pixels = PixelSet.from_mask(large_mask())
    features, weight = torch.randn(pixels.count, 24).to(dtype), torch.randn(16, 24, 3, 3).to(dtype)
    results = []
    before = torch.get_num_threads()
    for number in (1, 2, 4):
        torch.set_num_threads(number)
        results.append(BACKEND.submanifold_conv(features, weight, None, BACKEND.build_pyramid(pixels, 1)[0]))
    torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results[1:])


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("dtype", TYPES)
def test_not_a_number_is_passed_on(dtype: torch.dtype, sign: float) -> None:
    level = BACKEND.build_pyramid(PixelSet.from_mask(make_mask("all", (5, 5))), 1)[0]
    features = torch.zeros(25, 5)
    features[12, 2] = math.copysign(math.nan, sign)
    out = BACKEND.submanifold_conv(features.to(dtype), torch.randn(7, 5, 3, 3).to(dtype), None, level, relu_input=True)
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
    with pytest.raises(ModelError, match=r"computes in (bfloat16 or )?float32 on this machine, not torch.float16"):
        BACKEND.submanifold_conv(torch.zeros(level.count, 5).half(), torch.randn(7, 5, 3, 3).half(), None, level)
    with pytest.raises(ModelError, match=r"features are torch.float32, weights torch.float16: convert"):
        BACKEND.submanifold_conv(torch.zeros(level.count, 5), torch.randn(7, 5, 3, 3).half(), None, level)


def test_bfloat16_is_refused_where_the_compiler_may_not_use_it() -> None:
    """As on a CPU without AVX-512 BF16, where the instruction would end the process."""
    code = (
        "import torch; cpu = torch.device('cpu')\n"
        "from depth_retrofit_ros.refinement.pixels.refiner import load_sparse_refiner as load\n"
        "print(load(None, cpu).backend_name)\nload(None, cpu, precision='bfloat16')"
    )
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "cpu in float32\n"
    told = (
        "sparse backend 'cpu' computes in float32 on this machine, not in bfloat16 (the CPU, or what Numba may use of it, has no "
        "AVX-512 BF16): choose that, or auto"
    )
    assert done.stderr.splitlines()[-1].endswith(f"ModelError: {told}")


@pytest.fixture
def fresh_answers() -> Iterator[None]:
    """What is known of the machine is asked again, before and after."""
    asked = (vectors.lack_of_bfloat16, vectors.vector_unit, vectors.target_features)
    for question in asked:
        question.cache_clear()
    yield
    for question in asked:
        question.cache_clear()


@pytest.mark.usefixtures("fresh_answers")
def test_bfloat16_is_not_offered_where_llvm_is_too_old_for_its_instruction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "target_features", lambda: frozenset({"avx512f", "avx512vl", "avx512bf16"}))
    monkeypatch.setattr("llvmlite.binding.llvm_version_info", (15, 0, 7))
    backend = CpuBackend()
    assert type_for(backend, "auto") == torch.float32
    told = (
        r"not in bfloat16 \(this Numba compiles by LLVM 15.0.7, and it needs 16 or later: update numba .*\): choose that, or auto$"
    )
    with pytest.raises(ModelError, match=told):
        type_for(backend, "bfloat16")
    vectors.lack_of_bfloat16.cache_clear()
    monkeypatch.setattr("llvmlite.binding.llvm_version_info", (16, 0, 0))
    assert type_for(CpuBackend(), "auto") == torch.bfloat16


@pytest.mark.usefixtures("fresh_answers")
@pytest.mark.parametrize(
    ("features", "unit"),
    [
        ("+avx512f,+avx2,+fma", VectorUnit(16, 32)),
        ("+avx2,+fma,-avx512f", VectorUnit(8, 16)),
        ("+avx2,-fma", VectorUnit(4, vectors.NARROW_REGISTERS)),
        ("", VectorUnit(4, vectors.NARROW_REGISTERS)),
    ],
)
def test_tiles_are_those_of_the_cpu_that_is_compiled_for(monkeypatch: pytest.MonkeyPatch, features: str, unit: VectorUnit) -> None:
    """Not of the one that this runs on: Numba can be told of another one."""
    target = SimpleNamespace(codegen=lambda: SimpleNamespace(magic_tuple=lambda: ("", "", features)))
    monkeypatch.setattr(vectors, "cpu_target", SimpleNamespace(target_context=target))
    assert vectors.vector_unit() == unit and vectors.lack_of_bfloat16()


def test_weights_are_packed_once_and_again_when_they_change() -> None:
    backend = CpuBackend()
    level = backend.build_pyramid(PixelSet.from_mask(make_mask("band", (8, 8))), 1)[0]
    features, weight = torch.randn(level.count, 5), torch.nn.Parameter(torch.randn(7, 5, 3, 3))
    with torch.inference_mode():
        first = backend.submanifold_conv(features, weight, None, level)
        (packed,) = backend.packed.values()
        assert torch.equal(backend.submanifold_conv(features, weight, None, level), first)
        assert [block is packed for block in backend.packed.values()] == [True]
    with torch.no_grad():
        weight.mul_(2)
        torch.testing.assert_close(backend.submanifold_conv(features, weight, None, level), 2 * first)
    assert len(backend.packed) == 1


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
