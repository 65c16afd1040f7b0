"""The three convolutions of the torch backend against masked dense convolutions: values and gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from depth_retrofit_ros.sparse.backends import gather_gemm
from depth_retrofit_ros.sparse.backends.registry import load_backend
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.pyramid import Pyramid
from test.sparse.dense_reference import MASKS, SIZES, dense_down, dense_up, make_mask, to_dense, to_sparse

BACKEND = load_backend("torch")
CIN, COUT = 5, 7


@pytest.fixture(autouse=True)
def several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small sets must cross chunk borders too."""
    monkeypatch.setattr(gather_gemm, "CPU_CHUNK", 32)


def parameters(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {"3x3": (COUT, CIN, 3, 3), "down": (COUT, CIN, 2, 2), "up": (CIN, COUT, 2, 2), "bias": (COUT,)}
    return {name: torch.randn(shape, generator=generator, dtype=dtype) / 3 for name, shape in shapes.items()}


Operation = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]


def operations(pyramid: Pyramid) -> dict[str, tuple[Operation, Operation, int, str]]:
    """name → (sparse, dense, level of the input, weight)."""
    fine, coarse = pyramid[0].pixels, pyramid[1].pixels
    return {
        "submanifold": (
            lambda x, w, b: BACKEND.submanifold_conv(x, w, b, pyramid[0]),
            lambda x, w, b: to_sparse(F.conv2d(to_dense(x, fine), w, b, padding=1), fine),
            0,
            "3x3",
        ),
        "relu_submanifold": (
            lambda x, w, b: BACKEND.submanifold_conv(x, w, b, pyramid[0], relu_input=True),
            lambda x, w, b: to_sparse(F.conv2d(to_dense(x, fine).relu(), w, b, padding=1), fine),
            0,
            "3x3",
        ),
        "down": (
            lambda x, w, b: BACKEND.down_conv(x, w, b, pyramid[0]),
            lambda x, w, b: to_sparse(dense_down(to_dense(x, fine), w, b), coarse),
            0,
            "down",
        ),
        "up": (
            lambda x, w, b: BACKEND.up_conv(x, w, b, pyramid[0]),
            lambda x, w, b: to_sparse(dense_up(to_dense(x, coarse), w, b, fine.size), fine),
            1,
            "up",
        ),
    }


NAMES = ("submanifold", "relu_submanifold", "down", "up")


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_match_dense(name: str, kind: str, size: tuple[int, int], with_bias: bool) -> None:
    pyramid = BACKEND.build_pyramid(PixelSet.from_mask(make_mask(kind, size)), 2)
    sparse, dense, depth, weight_name = operations(pyramid)[name]
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(pyramid[depth].count, CIN, generator=generator)
    weights = [parameters()[weight_name]] + ([parameters()["bias"]] if with_bias else [])

    results = []
    for operation in (sparse, dense):
        leaves = [tensor.clone().requires_grad_() for tensor in (features, *weights)]
        output = operation(leaves[0], leaves[1], leaves[2] if with_bias else None)
        output.square().sum().backward()
        results.append([output.detach(), *(leaf.grad for leaf in leaves)])
    for ours, reference in zip(*results, strict=True):
        assert ours is not None and reference is not None and ours.shape == reference.shape
        scale = max(1.0, float(reference.abs().max())) if reference.numel() else 1.0
        torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck(name: str) -> None:
    pyramid = BACKEND.build_pyramid(PixelSet.from_mask(make_mask("random", (7, 9))), 2)
    sparse, _, depth, weight_name = operations(pyramid)[name]
    values = parameters(torch.float64)
    features = torch.randn(pyramid[depth].count, CIN, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    leaves = [tensor.requires_grad_() for tensor in (features, values[weight_name], values["bias"])]
    assert torch.autograd.gradcheck(sparse, leaves)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_each_gradient_alone(name: str, wanted: int) -> None:
    pyramid = BACKEND.build_pyramid(PixelSet.from_mask(make_mask("band", (9, 9))), 2)
    sparse, dense, depth, weight_name = operations(pyramid)[name]
    features = torch.randn(pyramid[depth].count, CIN, generator=torch.Generator().manual_seed(4))
    inputs = [features, parameters()[weight_name], parameters()["bias"]]
    inputs[wanted].requires_grad_()
    ours = torch.autograd.grad(sparse(*inputs).square().sum(), inputs[wanted])[0]
    reference = torch.autograd.grad(dense(*inputs).square().sum(), inputs[wanted])[0]
    torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_inference_mode_gives_the_same_values(name: str) -> None:
    pyramid = BACKEND.build_pyramid(PixelSet.from_mask(make_mask("random", (20, 30))), 2)
    sparse, _, depth, weight_name = operations(pyramid)[name]
    values = parameters()
    features = torch.randn(pyramid[depth].count, CIN, generator=torch.Generator().manual_seed(5), requires_grad=True)
    trained = sparse(features, values[weight_name], values["bias"])
    with torch.inference_mode():
        assert torch.equal(sparse(features, values[weight_name], values["bias"]), trained)


@pytest.mark.parametrize("name", NAMES)
def test_features_of_another_frame_are_refused(name: str) -> None:
    pyramid = BACKEND.build_pyramid(PixelSet.from_mask(make_mask("random", (20, 30))), 2)
    sparse, _, depth, weight_name = operations(pyramid)[name]
    values = parameters()
    with pytest.raises(ValueError, match="do not belong to this level"):
        sparse(torch.zeros(pyramid[depth].count + 1, CIN), values[weight_name], values["bias"])


def test_the_coarsest_level_has_nothing_below_it() -> None:
    pyramid = BACKEND.build_pyramid(PixelSet.from_mask(make_mask("band", (8, 8))), 2)
    with pytest.raises(ValueError, match="one more level"):
        BACKEND.down_conv(torch.zeros(pyramid[1].count, CIN), parameters()["down"], None, pyramid[1])


def test_a_pyramid_has_a_level() -> None:
    with pytest.raises(ValueError, match="at least one level"):
        BACKEND.build_pyramid(PixelSet.from_mask(make_mask("band", (8, 8))), 0)
