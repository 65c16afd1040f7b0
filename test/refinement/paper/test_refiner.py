"""The paper's refiner: what it sees, how its value scales, how it is blended, what its checkpoint must say."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.errors import WeightsError
from depth_retrofit_ros.io.checkpoints import load_tensors, save_tensors
from depth_retrofit_ros.refinement.base import RefinerInput
from depth_retrofit_ros.refinement.paper.network import BINS, SPAN, PaperNet, ValueBlend
from depth_retrofit_ros.refinement.paper.refiner import PaperRefiner, at_pixels, load, read_thresholds
from depth_retrofit_ros.selection.uncertainty import entropy_share
from depth_retrofit_ros.sparse.backends.registry import load_backend
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.interpolation import nearest
from test.refinement.nets import two_planes
from test.refinement.paper.nets import paper_checkpoint, random_paper_network, random_paper_refiner

CPU, SIZE = torch.device("cpu"), (60, 81)


def given(factor: float = 1.0, seed: int = 0) -> RefinerInput:
    """A third of a random frame's pixels, on ``two_planes`` times a factor."""
    generator = torch.Generator().manual_seed(seed)
    coarse = two_planes()
    coarse = replace(coarse, depth=factor * coarse.depth)
    image = torch.randint(0, 256, (*SIZE, 3), generator=generator, dtype=torch.uint8)
    pixels = PixelSet.from_mask(torch.rand(SIZE, generator=generator) < 0.3)
    small = torch.zeros(*coarse.depth.shape, 3)
    return RefinerInput(image, small, coarse, nearest(coarse.depth, SIZE), torch.zeros_like(coarse.depth), pixels)


def test_the_blend_by_hand() -> None:
    """w = σ(w₂·relu(W₁[Ŷ; ΔY; H(Ŷ); H(ΔY)] + b₁) + b₂), Y = w·Ŷ + (1 − w)·ΔY."""
    blend = ValueBlend()
    with torch.no_grad():
        first, first_bias, last, last_bias = (parameter.zero_() for parameter in blend.mlp.parameters())
        first[0], first_bias[0] = torch.tensor([1.0, 2.0, 3.0, 4.0]), 0.5
        first[1] = torch.tensor([-1.0, -1.0, -1.0, -1.0])  # below 0 there: the ReLU ends it
        last[0, :2], last_bias[0] = torch.tensor([0.1, 9.0]), -0.2
    with torch.no_grad():
        gate, level = blend(*(torch.tensor([v]) for v in (1.0, -0.5, 0.25, 0.75)))
    w = 1 / (1 + math.exp(-(0.1 * (1.0 - 1.0 + 0.75 + 3.0 + 0.5) - 0.2)))
    assert float(gate) == pytest.approx(w) and float(level) == pytest.approx(w * 1.0 - (1 - w) * 0.5)


def test_the_value_is_the_mean_of_a_distribution_whose_entropy_is_told() -> None:
    network, pixels = random_paper_network(), PixelSet.from_mask(torch.ones(8, 8, dtype=torch.bool))
    with torch.no_grad():
        value = network(torch.randn(64, 3), load_backend("torch").build_pyramid(pixels, network.levels))
    q = value.logits.double().softmax(1)
    centers = torch.linspace(-SPAN, SPAN, BINS).double()
    torch.testing.assert_close(value.level.double(), (q * centers).sum(1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(value.entropy.double(), -(q * q.log()).sum(1) / math.log(BINS), atol=1e-5, rtol=1e-5)
    assert float(value.entropy.min()) > 0 and float(value.entropy.max()) <= 1


@pytest.mark.parametrize("factor", [1e-3, 0.4, 1e3])
def test_scaling_the_coarse_depth_scales_the_answer(factor: float) -> None:
    refiner = random_paper_refiner()
    refiner.network.requires_grad_(False)
    plain, scaled = (refiner.fuse(refiner.refine(given(f))) for f in (1.0, factor))
    torch.testing.assert_close(scaled.depth, factor * plain.depth, rtol=1e-4, atol=0)
    torch.testing.assert_close(scaled.gate, plain.gate, rtol=1e-4, atol=1e-6)
    assert float((plain.depth / given().depth.flatten()[given().pixels.indices]).log().abs().max()) > 0.1  # it does something


def test_the_value_is_of_rgb_alone() -> None:
    """Another depth of the same median changes the gate, and not what is blended with."""
    refiner, first = random_paper_refiner(), given()
    mirrored = replace(first.coarse, depth=first.coarse.depth.flip(0).contiguous(), features=first.coarse.features.flip(0))
    second = replace(first, coarse=mirrored, depth=nearest(mirrored.depth, SIZE))
    a, b = refiner.refine(first), refiner.refine(second)
    assert torch.equal(a.value.level, b.value.level) and not torch.equal(a.coarse, b.coarse)
    third = replace(first, image=255 - first.image)
    assert not torch.equal(refiner.refine(third).value.level, a.value.level)


def test_what_the_gate_is_given_is_the_coarse_pixel_s_own() -> None:
    frame, refiner = given(), random_paper_refiner()
    refined, low = refiner.refine(frame), frame.coarse.depth
    entropy = nearest(entropy_share(frame.coarse.features, (low.shape[0], low.shape[1])), SIZE)
    assert torch.equal(refined.entropy, entropy[frame.pixels.mask()])
    torch.testing.assert_close(refined.coarse, (nearest(low, SIZE) / low.median()).log()[frame.pixels.mask()], atol=1e-5, rtol=0)


def test_it_is_the_same_on_the_fast_backend() -> None:
    network, frame = random_paper_network(), given()
    with torch.inference_mode():
        answers = [(r := PaperRefiner(network, load_backend(name))).fuse(r.refine(frame)).depth for name in ("torch", "cpu")]
    torch.testing.assert_close(answers[1], answers[0], rtol=1e-3, atol=1e-5)


def test_no_pixels() -> None:
    frame, refiner = given(), random_paper_refiner()
    none = PixelSet.from_mask(torch.zeros(SIZE, dtype=torch.bool))
    assert refiner.fuse(refiner.refine(replace(frame, pixels=none))).depth.numel() == 0


def test_features_on_another_grid() -> None:
    frame, refiner = given(), random_paper_refiner()
    finer = CoarsePrediction(frame.coarse.depth, torch.randn(5, 36, 48))
    assert bool(refiner.fuse(refiner.refine(replace(frame, coarse=finer))).depth.isfinite().all())


def test_at_pixels_is_nearest_there() -> None:
    values = torch.randn(7, 9)
    pixels = torch.randperm(SIZE[0] * SIZE[1])[:300].sort().values
    assert torch.equal(at_pixels(values, pixels, SIZE), nearest(values, SIZE).flatten()[pixels])


def test_a_new_network_stays_near_the_coarse_depth_and_is_small() -> None:
    network = PaperNet()
    pixels = PixelSet.from_mask(torch.ones(32, 32, dtype=torch.bool))
    with torch.no_grad():
        value = network(torch.randn(1024, 3), load_backend("torch").build_pyramid(pixels, network.levels))
    assert float(value.level.abs().mean()) < 0.5
    assert sum(p.numel() for p in network.parameters()) * 4 < 5e6


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    path = paper_checkpoint(tmp_path / "a.safetensors", compact=0.7)
    refiner = load(path, CPU, "torch", "float32")
    assert refiner.backend_name == "torch in float32"
    again = random_paper_refiner()
    assert torch.equal(refiner.fuse(refiner.refine(given())).depth, again.fuse(again.refine(given())).depth)
    assert read_thresholds(path)["compact"].at(0.1) == pytest.approx(0.7)


@pytest.mark.parametrize(
    "network",
    ["", "{}", '{"thresholds": 3}', '{"thresholds": {"compact": [1, 2]}}', '{"thresholds": {"compact": "abc"}}', "[]"],
)
def test_a_checkpoint_without_thresholds_is_told(tmp_path: Path, network: str) -> None:
    tensors, metadata = load_tensors(paper_checkpoint(tmp_path / "a.safetensors"))
    save_tensors(tmp_path / "b.safetensors", tensors, metadata | {"network": network})
    with pytest.raises(WeightsError, match=r"b\.safetensors has no thresholds to select by: make one with"):
        read_thresholds(tmp_path / "b.safetensors")


def test_a_checkpoint_of_another_shape_is_told(tmp_path: Path) -> None:
    tensors, metadata = load_tensors(paper_checkpoint(tmp_path / "a.safetensors"))
    save_tensors(tmp_path / "b.safetensors", tensors, metadata | {"network": json.dumps({"widths": [], "blocks": 1})})
    with pytest.raises(WeightsError, match="is not a paper checkpoint: make one with 'depth-retrofit train paper'"):
        load(tmp_path / "b.safetensors", CPU, "torch", "auto")
