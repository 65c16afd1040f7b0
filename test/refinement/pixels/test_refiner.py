"""The sparse refiner as a whole, and its checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from depth_retrofit_ros.coarse.compact_net import CompactNet
from depth_retrofit_ros.device.precisions import name_of
from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.io.checkpoints import save_tensors
from depth_retrofit_ros.refinement.base import Refiner, RefinerInput
from depth_retrofit_ros.refinement.pixels.decision import Refinement
from depth_retrofit_ros.refinement.pixels.features import IN_CHANNELS, PixelFeatures
from depth_retrofit_ros.refinement.pixels.network import RefinerNet
from depth_retrofit_ros.refinement.pixels.refiner import Refined, SparseRefiner, load_sparse_refiner
from depth_retrofit_ros.selection.top_k import select_top
from depth_retrofit_ros.selection.uncertainty import doubt
from depth_retrofit_ros.upsampling.edge_aware import thumbnail
from depth_retrofit_ros.upsampling.interpolation import upsample
from test.refinement.nets import random_network, random_refiner, two_planes

SIZE = (90, 120)
CPU = torch.device("cpu")
SHAPE = {"widths": [8, 12, 16], "blocks": 1}


@torch.no_grad()
def answer(refiner: SparseRefiner, factor: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Gate and fused depth at the 500 least certain pixels of a random image."""
    coarse = two_planes()
    depth = coarse.depth * factor
    score = doubt(coarse)
    pixels = select_top(score, SIZE, 500)
    image = torch.randint(0, 256, (*SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    scaled = type(coarse)(depth, coarse.features)
    given = RefinerInput(image, thumbnail(image, depth), scaled, upsample(depth, SIZE), score, pixels)
    gate, fused, *_ = refiner.fuse(refiner.refine(given))
    return gate, fused


def save(path: Path, network: torch.nn.Module, shape: object) -> Path:
    """A checkpoint as the training writes it."""
    save_tensors(path, network.state_dict(), {"network": json.dumps(shape)})
    return path


def test_answers_with_a_gate_and_a_positive_depth_per_pixel() -> None:
    refiner: Refiner[Refined] = random_refiner()
    gate, fused = answer(random_refiner())
    assert isinstance(refiner, SparseRefiner)
    assert gate.shape == fused.shape == (500,)
    assert bool(torch.isfinite(fused).all()) and float(fused.min()) > 0
    assert float(gate.min()) >= 0 and float(gate.max()) <= 1


@pytest.mark.parametrize("factor", [1e-3, 0.037, 2.0, 1e3])
def test_scale_goes_straight_through(factor: float) -> None:
    gate, fused = answer(random_refiner())
    scaled_gate, scaled = answer(random_refiner(), factor)
    torch.testing.assert_close(scaled, factor * fused, rtol=2e-5, atol=0)
    torch.testing.assert_close(scaled_gate, gate, rtol=0, atol=1e-5)


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    network = random_network(seed=3)
    path = save(tmp_path / "refiner.safetensors", network, SHAPE)
    loaded = load_sparse_refiner(path, CPU, precision="float32")
    assert (loaded.network.widths, loaded.network.blocks, loaded.network.training) == ((8, 12, 16), 1, False)
    expected = answer(SparseRefiner(network, loaded.backend))
    for got, wanted in zip(answer(loaded), expected, strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize(
    "shape",
    [
        None,
        [],
        {"widths": [8, 12, 16]},
        {"widths": [], "blocks": 1},
        {"widths": 8, "blocks": 1},
        {"widths": [8, 0, 16], "blocks": 1},
        {"widths": [8, "12", 16], "blocks": 1},
        {"widths": [8, 12.5, 16], "blocks": 1},
        {"widths": [8, 12, 10**9], "blocks": 1},
        {"widths": [8, 12, 16], "blocks": 0},
        {"widths": [8, 12, 16], "blocks": True},
        {"widths": [8, 12, 16], "blocks": -1},
    ],
)
def test_an_impossible_shape_is_refused(tmp_path: Path, shape: object) -> None:
    path = save(tmp_path / "refiner.safetensors", random_network(), shape)
    with pytest.raises(WeightsError, match=r"is not a refiner checkpoint: make one with 'depth-retrofit train refiner'"):
        load_sparse_refiner(path, CPU)


def test_another_networks_checkpoint_is_refused(tmp_path: Path) -> None:
    compact = tmp_path / "compact.safetensors"
    save_tensors(compact, CompactNet().state_dict(), {"network": json.dumps("compact")})
    bare = tmp_path / "bare.safetensors"
    save_tensors(bare, random_network().state_dict(), {})
    for path in (compact, bare):
        with pytest.raises(WeightsError, match="is not a refiner checkpoint"):
            load_sparse_refiner(path, CPU)
    other_widths = save(tmp_path / "other.safetensors", RefinerNet((8, 12)), SHAPE)
    with pytest.raises(WeightsError, match="made for another network") as caught:
        load_sparse_refiner(other_widths, CPU)
    assert "\n" not in str(caught.value)


def test_damaged_checkpoints_are_one_line(tmp_path: Path) -> None:
    path = save(tmp_path / "refiner.safetensors", random_network(), SHAPE)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-100])
    spoiled = random_network()
    with torch.no_grad():
        spoiled.mix.weight[0, 0] = torch.nan
    nan = save(tmp_path / "nan.safetensors", spoiled, SHAPE)
    for bad in (cut, nan, tmp_path / "absent.safetensors"):
        with pytest.raises(WeightsError) as caught:
            load_sparse_refiner(bad, CPU)
        assert "\n" not in str(caught.value) and str(bad) in str(caught.value)


def test_a_refiner_computes_in_the_first_type_of_its_backend(tmp_path: Path) -> None:
    path = save(tmp_path / "refiner.safetensors", random_network(), SHAPE)
    for backend in ("cpu", "torch"):
        loaded = load_sparse_refiner(path, CPU, backend)
        assert loaded.dtype == loaded.backend.types[0] and loaded.network.unet.stem.weight.dtype == loaded.dtype
        assert loaded.backend_name == f"{backend} in {name_of(loaded.dtype)}"


def test_precision_is_as_asked_or_refused_in_one_line(tmp_path: Path) -> None:
    path = save(tmp_path / "refiner.safetensors", random_network(), SHAPE)
    assert load_sparse_refiner(path, CPU, precision="float32").dtype == torch.float32
    with pytest.raises(ModelError, match=r"^unknown refiner_precision 'half': choose one of auto, float32, bfloat16, float16$"):
        load_sparse_refiner(path, CPU, precision="half")
    with pytest.raises(ModelError, match=r"'cpu' computes in (bfloat16 or )?float32 on this machine, not in float16: choose that"):
        load_sparse_refiner(path, CPU, precision="float16")


def test_bfloat16_changes_little_and_keeps_the_logits_in_float32(tmp_path: Path) -> None:
    path = save(tmp_path / "refiner.safetensors", random_network(seed=3), SHAPE)
    coarser, exact = (load_sparse_refiner(path, CPU, "torch", precision) for precision in ("bfloat16", "float32"))
    head = coarser.network.unet.head
    assert head.weight.dtype == torch.float32 and torch.equal(head.weight, exact.network.unet.head.weight)
    assert {p.dtype for part in (coarser.network.mix, coarser.network.unet.stem) for p in part.parameters()} == {torch.bfloat16}
    (gate, fused), (exact_gate, exact_fused) = answer(coarser), answer(exact)
    assert not torch.equal(fused, exact_fused)
    torch.testing.assert_close(fused, exact_fused, rtol=1e-2, atol=0)
    torch.testing.assert_close(gate, exact_gate, rtol=0, atol=1e-2)


@pytest.mark.parametrize("count", [0, 1, 1500])
def test_the_compiled_gate_equals_its_specification(count: int) -> None:
    refiner, generator = random_refiner(), torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    change, entropy = random(count), random(count).abs()
    change[3::100], change[7::100] = torch.nan, 40.0
    refined = Refined(random(count).exp(), PixelFeatures(random(count, IN_CHANNELS)), Refinement(change, None, entropy))
    with torch.no_grad():
        wanted = refiner.fuse(refined)
    with torch.inference_mode():
        got = refiner.fuse(refined)
    for ours, theirs in zip(got[:2], wanted[:2], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=5e-6, atol=1e-6, equal_nan=True)
    assert int(got[1].isnan().sum()) == len(change[3::100])


def test_unknown_backend(tmp_path: Path) -> None:
    path = save(tmp_path / "refiner.safetensors", random_network(), SHAPE)
    with pytest.raises(ModelError, match="unknown sparse backend 'fast'"):
        load_sparse_refiner(path, CPU, backend="fast")
