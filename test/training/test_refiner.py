"""The refiner's losses are what they are defined to be, and training by them helps."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_retrofit_ros.refinement.pixels.candidates import COUNT
from depth_retrofit_ros.refinement.pixels.features import PixelFeatures
from depth_retrofit_ros.refinement.pixels.network import RefinerNet
from depth_retrofit_ros.sparse.backends.registry import load_backend
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.training import refiner
from depth_retrofit_ros.training.crops import Crops, CropSample
from depth_retrofit_ros.training.loop import LoopSpec
from depth_retrofit_ros.training.losses import CHOICE_SCALE
from depth_retrofit_ros.training.refiner import (
    VALIDATION_BATCH,
    VALIDATION_BATCHES,
    neighboring_rows,
    parameter_groups,
    refiner_losses,
    relative_error,
    train_refiner,
    validate_refiner,
)
from depth_retrofit_ros.training.validation import VALIDATION_SEED
from test.refinement.nets import random_network
from test.training.samples import SIDE, some_crops, write_samples


def test_losses_by_definition() -> None:
    """One crop, every term written out on a dense image."""
    network, (crop,) = random_network(11), some_crops(1)
    losses = {name: float(value.detach()) for name, value in refiner_losses(network, [crop]).items()}
    pyramid = load_backend("torch").build_pyramid(PixelSet.from_mask(crop.mask), network.levels)
    with torch.no_grad():
        refined = network(crop.features, pyramid)
        _, change = network.fusion(crop.features.level, refined.change, crop.features.entropy, refined.entropy)
    target, fused = crop.target.clamp(-2, 2), change
    assert losses["fused"] == pytest.approx(float((fused - target).abs().mean()), rel=1e-5)
    off = (fused - target).double().numpy()
    assert losses["relative"] == pytest.approx(relative_by_numpy(off).mean(), rel=1e-5)
    assert losses["coarse"] == pytest.approx(float(target.abs().mean()), rel=1e-5)
    dense = np.full((SIDE, SIDE), np.nan)
    dense[crop.mask.numpy()] = (fused - target).double().numpy()
    gradient = sum(np.nanmean(np.abs(np.diff(dense, axis=axis))) for axis in (0, 1))
    assert losses["gradient"] == pytest.approx(gradient, rel=1e-4)
    candidates = crop.features.candidates.double().numpy()
    wanted = np.exp(-np.abs(candidates - target.double().numpy()[:, None]) / CHOICE_SCALE)
    wanted /= wanted.sum(1, keepdims=True)
    matters = np.minimum(candidates.std(1, ddof=1) / 0.1, 1)
    assert refined.log_choice is not None
    chance = refined.log_choice.double().exp().numpy()
    off = (refined.change - target).double().numpy()
    assert losses["refined"] == pytest.approx(relative_by_numpy(off).mean(), rel=1e-5)
    residual = refined.change.double().numpy() - (chance * candidates).sum(1)
    off = candidates + residual[:, None] - target.double().numpy()[:, None]
    assert losses["expected"] == pytest.approx((chance * relative_by_numpy(off)).sum(1).mean(), rel=1e-4)
    assert losses["expected"] > 1.02 * losses["refined"], "the mean of a choice is nearer than what it may choose"
    in_log = (chance * np.abs(off)).sum(1).mean(), (refined.change - target).abs().double().mean()
    assert in_log[0] > 1.02 * in_log[1], "in ln depth too"
    choice = -((wanted * refined.log_choice.double().numpy()).sum(1) * matters).mean()
    assert losses["choice"] == pytest.approx(choice, rel=1e-4)
    total = losses["expected"] + losses["relative"] + losses["gradient"] + 0.1 * losses["choice"]
    assert losses["total"] == pytest.approx(total, rel=1e-5)


def relative_by_numpy(off: np.ndarray) -> np.ndarray:
    """|d / t − 1| of ln d − ln t, a straight line from ``STEEPEST`` on."""
    ratio = np.where(off < refiner.STEEPEST, np.exp(off), math.exp(refiner.STEEPEST) * (1 + off - refiner.STEEPEST))
    return np.asarray(np.abs(ratio - 1))


def test_neighboring_rows_by_hand() -> None:
    """Rows 0 1 . / 2 . 3 / 4 5 6: a pixel at the end of a line has none to its right."""
    mask = torch.tensor([[1, 1, 0], [1, 0, 1], [1, 1, 1]], dtype=torch.bool)
    side, above = neighboring_rows(PixelSet.from_mask(mask))
    assert [rows.tolist() for rows in side] == [[0, 4, 5], [1, 5, 6]]
    assert [rows.tolist() for rows in above] == [[0, 2, 3], [2, 4, 6]]


def test_relative_error_by_hand() -> None:
    got = relative_error(torch.tensor([0.0, -math.log(2), math.log(2), 1.0, 3.0])).tolist()
    assert got == pytest.approx([0, 0.5, 1, math.e - 1, 3 * math.e - 1], rel=1e-6)


def test_crops_of_a_batch_do_not_touch() -> None:
    """The loss of a batch is the mean over its crops' pixels: no convolution reaches from one crop into the next."""
    network, crops = random_network(), some_crops(3)
    together = refiner_losses(network, crops)
    apart = [refiner_losses(network, [crop]) for crop in crops]
    weights = torch.tensor([crop.target.numel() for crop in crops]).double()
    for name in ("expected", "fused", "relative", "coarse", "choice"):
        mean = (torch.stack([losses[name].detach() for losses in apart]).double() * weights).sum() / weights.sum()
        assert float(together[name].detach()) == pytest.approx(float(mean), rel=1e-5)


def choosing(candidate: int) -> RefinerNet:
    """A network that chooses that candidate everywhere, and whose gate lets it through."""
    network = RefinerNet((4,))
    last = network.fusion.mlp[2]
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        network.unet.head.weight.zero_()
        network.unet.head.bias.zero_()
        network.unet.head.bias[candidate] = 50.0
        last.weight.zero_()
        last.bias.fill_(-50.0)
    return network


def test_a_perfect_choice_has_little_loss_and_no_error() -> None:
    """Candidates that contain the target, a network that chooses it, a gate that lets it through."""
    (crop,) = some_crops(1)
    candidates = torch.randn(crop.target.numel(), COUNT)
    candidates[:, 0], candidates[:, 3] = 0.0, crop.target.clamp(-2, 2)
    features = PixelFeatures(crop.features.rows.clone())
    features.candidates.copy_(candidates)
    with torch.no_grad():
        losses = refiner_losses(choosing(3), [CropSample(crop.mask, features, crop.target)])
    assert float(losses["expected"]) < 1e-5 and float(losses["fused"]) < 1e-5 and float(losses["gradient"]) < 1e-5


def test_to_answer_too_far_costs_more_than_too_near() -> None:
    """Half of the pixels lie at one surface, half at another twice as far: to answer the nearer everywhere costs half."""
    (crop,) = some_crops(1)
    near, far = 0.0, math.log(2)
    target = torch.full((crop.target.numel() // 2 * 2,), near)
    target[::2] = far
    mask = crop.mask & (crop.mask.flatten().cumsum(0) <= target.numel()).view(crop.mask.shape)
    features = PixelFeatures(crop.features.rows[: target.numel()].clone())
    features.candidates.fill_(0.0)
    features.candidates[:, 3], features.candidates[:, 4] = near, far
    sample = CropSample(mask, features, target)
    with torch.no_grad():
        nearer, farther = (refiner_losses(choosing(candidate), [sample]) for candidate in (3, 4))
    for name in ("expected", "relative"):
        assert float(farther[name]) == pytest.approx(2 * float(nearer[name]), rel=1e-4)
    assert float(farther["fused"]) == pytest.approx(float(nearer["fused"]), rel=1e-4), "L1 of ln depth does not tell them apart"


def test_training_learns_and_reports(tmp_path: Path) -> None:
    """A few steps on three scenes already leave less error than the coarse maps have."""
    files = write_samples(tmp_path, 3)
    spec = LoopSpec(30, 2, 3e-3, 0, tmp_path / "out", torch.device("cpu"))
    loop, figures = train_refiner(files, files[:1], [], spec, RefinerNet((8, 12)))
    assert isinstance(loop.average, RefinerNet) and loop.done == 30
    assert figures["val_left"] == pytest.approx(figures["val_fused"] / figures["val_coarse"])
    untrained = validate_refiner(RefinerNet((8, 12)), Crops(files[:1], [], VALIDATION_BATCH, VALIDATION_SEED), VALIDATION_BATCHES)
    assert untrained["val_coarse"] == pytest.approx(figures["val_coarse"])
    assert figures["val_left"] < 0.95 * untrained["val_left"]


def test_half_precision_of_products_reaches_no_loss_of_fixed_values() -> None:
    """With autocast the network's products are rounded, the terms that come from the features alone are not."""
    network, crops = RefinerNet((4,)), some_crops(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.unet.head.bias[3] = 2.0
    exact = refiner_losses(network, crops)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = refiner_losses(network, crops)
    for name in ("expected", "refined", "choice", "coarse"):
        assert float(rounded[name].detach()) == pytest.approx(float(exact[name].detach()), rel=1e-5)


@pytest.mark.cuda
def test_losses_on_cuda() -> None:
    network, crops = random_network(), some_crops(2)
    here = refiner_losses(network, crops)["total"].detach()
    there = refiner_losses(network.cuda(), crops)["total"].detach()
    assert float(there) == pytest.approx(float(here), rel=1e-3)


def test_every_parameter_is_in_one_group_and_convolutions_are_orthogonal() -> None:
    network = random_network()
    matrices, transposed, others = parameter_groups(network)
    found = [id(p) for group in (matrices, transposed, others) for p in group["params"]]
    assert sorted(found) == sorted(map(id, network.parameters()))
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert matrices["orthogonal"] and transposed["orthogonal"] and transposed["transposed"] and "orthogonal" not in others
    assert {names[id(p)].split(".")[0] for p in matrices["params"]} == {"mix", "unet"}
    assert all(p.dim() == 4 for p in transposed["params"]) and all(".up" in names[id(p)] for p in transposed["params"])
    assert {"unet.head.weight", "fusion.mlp.0.weight"} <= {names[id(p)] for p in others["params"]}
    assert all(p.dim() < 2 or names[id(p)].startswith(("unet.head.", "fusion.")) for p in others["params"])
