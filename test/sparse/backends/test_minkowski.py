"""Training through an adapter: to MinkowskiEngine where it is installed, and always to dense convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.refinement.pixels.network import RefinerNet
from depth_retrofit_ros.sparse.backends.registry import BACKENDS, SparseBackend, is_installed, load_backend
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.training.crops import CropSample
from depth_retrofit_ros.training.loop import At, Loop, LoopSpec
from depth_retrofit_ros.training.losses import Losses
from depth_retrofit_ros.training.refiner import refiner_losses
from test.sparse.backends.conformance import check_operations, check_unet
from test.sparse.backends.dense_library import DenseLibrary
from test.sparse.backends.gradients import check_gradients, check_network_gradients
from test.sparse.dense_reference import MASKS, SIZES, make_mask
from test.training.samples import some_crops

LEVELS = 5  # strides 1, 2, 4, 8 and 16
WIDTHS = ((1, 1), (5, 7), (16, 32), (64, 48))


def missing(name: str) -> str | None:
    return None if is_installed(BACKENDS[name]) else f"{BACKENDS[name].package} is not installed"


@pytest.fixture(params=["dense", "minkowski"])
def library(request: pytest.FixtureRequest) -> SparseBackend:
    if request.param == "dense":
        return DenseLibrary()
    if reason := missing(request.param):
        pytest.skip(reason)
    return load_backend(request.param, gradients=True)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", MASKS)
def test_values_and_gradients_on_all_kinds_of_sets(library: SparseBackend, kind: str, size: tuple[int, int]) -> None:
    mask = make_mask(kind, size)
    check_operations(library, mask, (5, 7))
    check_unet(library, mask)
    check_gradients(library, mask, (5, 7), 3)
    check_network_gradients(library, mask, (6, 8, 10))


@pytest.mark.parametrize("channels", WIDTHS)
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_gradients_of_random_sets_at_strides_1_to_16(library: SparseBackend, share: float, channels: tuple[int, int]) -> None:
    for seed, size in enumerate([(67, 83), (50, 33)]):
        mask = torch.rand(size, generator=torch.Generator().manual_seed(seed)) < share
        check_gradients(library, mask, channels, LEVELS)


@pytest.mark.parametrize("pixel", [None, (0, 0), (66, 82), (31, 48)])
def test_gradients_of_no_pixel_and_of_one_at_strides_1_to_16(library: SparseBackend, pixel: tuple[int, int] | None) -> None:
    mask = torch.zeros(67, 83, dtype=torch.bool)
    if pixel:
        mask[pixel] = True
    check_gradients(library, mask, (5, 7), LEVELS)
    check_network_gradients(library, mask, (6, 8, 10, 12, 14))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda weight: weight.flip(2, 3), "values"),
        (lambda weight: weight.transpose(2, 3), "values"),
        (lambda weight: weight * (1 + 3e-4), "values"),
        (lambda weight: weight + (weight - weight.detach()), "gradient 2"),
    ],
)
def test_the_check_sees_an_error(spoil: Callable[[torch.Tensor], torch.Tensor], told: str) -> None:
    """Neighbours in another order, a weight that is off, a weight whose gradient is."""
    with pytest.raises(AssertionError, match=f"submanifold on level 0, {told}"):
        check_gradients(DenseLibrary(spoil), make_mask("random", (12, 16)), (5, 7), 2)


def train(out: Path, crops: list[CropSample], backend: SparseBackend | None, steps: int = 12) -> list[dict[str, float]]:
    """The losses of each step."""
    torch.manual_seed(3)
    losses: list[dict[str, float]] = []

    def learn(network: torch.nn.Module, samples: Sequence[CropSample], at: At) -> Losses:
        assert isinstance(network, RefinerNet)
        found = refiner_losses(network, samples, backend)
        losses.append({name: float(value.detach()) for name, value in found.items()})
        return found

    loop = Loop(RefinerNet((8, 12, 16)), LoopSpec(steps, len(crops), 3e-3, 0, out, torch.device("cpu")))
    loop.run(lambda step, progress: crops, learn, lambda net: {}, steps)
    return losses


def test_training_goes_as_by_torch(library: SparseBackend, tmp_path: Path) -> None:
    """Step by step the same losses, which fall."""
    crops = some_crops(2)
    wanted, got = train(tmp_path / "torch", crops, None), train(tmp_path / "library", crops, library)
    assert wanted[-1]["total"] < 0.97 * wanted[0]["total"]
    for ours, theirs in zip(got, wanted, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)


def test_training_sees_an_error(tmp_path: Path) -> None:
    """The comparison above is not blind: neighbours in another order part the two within its steps."""
    crops = some_crops(1)
    spoiled = DenseLibrary(lambda weight: weight.transpose(2, 3))
    wanted, got = train(tmp_path / "torch", crops, None), train(tmp_path / "library", crops, spoiled)
    assert got[-1] != pytest.approx(wanted[-1], rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precision_is_one_line(dtype: torch.dtype) -> None:
    if reason := missing("minkowski"):
        pytest.skip(reason)
    backend = load_backend("minkowski")
    level = backend.build_pyramid(PixelSet.from_mask(make_mask("random", (12, 16))), 1)[0]
    with pytest.raises(ModelError, match=rf"'minkowski' computes in float32, not in {dtype}: use that, or") as caught:
        backend.submanifold_conv(torch.zeros(level.count, 2).to(dtype), torch.zeros(3, 2, 3, 3).to(dtype), None, level)
    assert "\n" not in str(caught.value)


def test_spconv_refuses_gradients_in_one_line() -> None:
    if reason := missing("spconv"):
        pytest.skip(reason)
    backend = load_backend("spconv")
    pyramid = backend.build_pyramid(PixelSet.from_mask(make_mask("random", (12, 16))), 2)
    refused = partial(pytest.raises, ModelError, match="'spconv' computes no gradients: train with 'torch'")
    features, three, two = (
        torch.zeros(*shape, requires_grad=True) for shape in ((pyramid[0].count, 2), (3, 2, 3, 3), (3, 2, 2, 2))
    )
    with refused():
        backend.submanifold_conv(features, three.detach(), None, pyramid[0])
    with refused():
        backend.down_conv(features.detach(), two, None, pyramid[0])
    with torch.no_grad():
        assert backend.submanifold_conv(features, three, None, pyramid[0]).shape == (pyramid[0].count, 3)
