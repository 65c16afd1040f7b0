"""Training of the paper's refiner: its samples are what the preset sees at run time, its losses teach every weight."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.registry import load_coarse
from depth_retrofit_ros.refinement.base import RefinerInput
from depth_retrofit_ros.refinement.paper.network import PaperNet
from depth_retrofit_ros.refinement.paper.refiner import PaperRefiner
from depth_retrofit_ros.refinement.pixels.features import normalized
from depth_retrofit_ros.selection.threshold import AboveThreshold, calibrated
from depth_retrofit_ros.sparse.backends.registry import load_backend
from depth_retrofit_ros.training import paper
from depth_retrofit_ros.training.coarse_views import CoarseView
from depth_retrofit_ros.training.group import Group
from depth_retrofit_ros.training.loop import LoopSpec
from depth_retrofit_ros.training.paper import (
    PaperCrops,
    PaperSample,
    calibrate,
    make_sample,
    paper_losses,
    shared_thresholds,
    train_paper,
)
from depth_retrofit_ros.upsampling.interpolation import nearest
from test.refinement.paper.nets import random_paper_network
from test.training.samples import HEIGHT, SIDE, WIDTH, full_frame, sample, view_of, write_samples

SIZE, TORCH = (HEIGHT, WIDTH), load_backend("torch")


def seen(factor: float = 1.7) -> CoarseView:
    """Features of a model that hesitates here and there, as they are kept."""
    generator = torch.Generator().manual_seed(3)
    return replace(view_of(sample(), factor), features=torch.randn(8, 24, 32, generator=generator).half(), model="told")


def some(count: int = 2) -> list[PaperSample]:
    return [make_sample(sample(), index, seen(), 0.2, None) for index in range(count)]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_sample_is_what_the_preset_sees_at_run_time(index: int) -> None:
    view, data = seen(), sample()
    x0, y0 = data["at"][index]
    thresholds = calibrated([AboveThreshold(0.5).score(CoarsePrediction(view.depth, view.features), torch.empty(0))])
    part = make_sample(data, index, view, 0.2, thresholds)
    image, coarse = torch.from_numpy(full_frame()[0]), CoarsePrediction(view.depth, view.features)
    selector = AboveThreshold(thresholds)
    pixels = selector.choose(selector.score(coarse, image), SIZE, 0.2)
    crop = torch.zeros(SIZE, dtype=torch.bool)
    crop[y0 : y0 + SIDE, x0 : x0 + SIDE] = True
    assert torch.equal(part.mask, pixels.mask()[y0 : y0 + SIDE, x0 : x0 + SIDE]) and part.target.numel() > 100
    small = torch.zeros(24, 32, 3)
    given = RefinerInput(image, small, coarse, nearest(coarse.depth, SIZE), torch.zeros(24, 32), pixels)
    refined = PaperRefiner(random_paper_network(), TORCH).refine(given)
    inside = crop[pixels.mask()]
    assert torch.equal(part.coarse, refined.coarse[inside]) and torch.equal(part.entropy, refined.entropy[inside])
    assert torch.equal(part.rgb, normalized(image[pixels.mask() & crop]))


def test_the_target_is_the_truth_at_the_coarse_map_s_own_scale() -> None:
    for part in some():
        assert float((part.target - part.coarse).abs().median()) < 0.02  # but beside the edge the coarse map is right


def test_the_scale_of_the_coarse_map_is_not_seen() -> None:
    a, b = (make_sample(sample(), 0, seen(factor), 0.2, None) for factor in (1.0, 50.0))
    for name in ("coarse", "entropy", "target", "rgb"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), atol=2e-5, rtol=0)


def test_mirroring_twice_changes_nothing(tmp_path: Path) -> None:
    draws = PaperCrops(write_samples(tmp_path, 1), [], 1, 0)
    (part, _) = some()
    there = draws.mirrored(part)
    assert torch.equal(there.mask, part.mask.flip(1)) and not torch.equal(there.rgb, part.rgb)
    back = draws.mirrored(there)
    assert all(torch.equal(getattr(back, name), getattr(part, name)) for name in ("mask", "rgb", "coarse", "entropy", "target"))


def test_too_many_pixels_are_cut_by_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    (whole, _) = some()
    monkeypatch.setattr(paper, "MAX_ACTIVE", whole.target.numel() // 2)
    (part, _) = some()
    count = part.target.numel()
    assert 0 < count <= whole.target.numel() // 2
    assert torch.equal(part.rgb, whole.rgb[:count])


def test_every_weight_learns() -> None:
    network, samples = random_paper_network(), some()
    losses = paper_losses(network, samples, TORCH)
    losses["total"].backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters())
    wanted = torch.cat([part.coarse - part.target for part in samples]).abs().mean()
    torch.testing.assert_close(losses["coarse"], wanted)
    torch.testing.assert_close(losses["total"], losses["value"] + losses["blend"] + paper.BINS_WEIGHT * losses["bins"])


def test_a_batch_is_its_crops_side_by_side() -> None:
    """No pixel sees another crop: the mean of two crops' losses is that of both."""
    network, samples = random_paper_network(), some()
    both, *alone = (paper_losses(network, part, TORCH)["blend"] for part in (samples, samples[:1], samples[1:]))
    torch.testing.assert_close(both, (alone[0] + alone[1]) / 2, rtol=1e-4, atol=1e-5)


def test_the_scale_invariant_loss_by_hand() -> None:
    """√(var(g) + 0.15·mean(g)²) of each crop, averaged."""
    pred, true = torch.randn(30), torch.randn(30)
    got = paper.scale_invariant(pred, true, [10, 20])
    parts = [(pred - true)[:10], (pred - true)[10:]]
    wanted = sum(float((g.var() + 0.15 * g.mean() ** 2).sqrt()) for g in parts) / 2
    assert float(got.alone()) == pytest.approx(wanted, rel=1e-4)


def test_calibration_is_of_models_and_of_maps_of_unknown_ones(tmp_path: Path) -> None:
    model = load_coarse("compact", weights=None, device="cpu", engine="eager")
    thresholds = calibrate([model], write_samples(tmp_path, 2))
    assert list(thresholds) == ["compact", "files"]
    assert thresholds["files"].at(0.3) < thresholds["files"].at(0.05) < 1.0  # also where simulated features tell nothing
    entropies = []
    for seed in range(2):
        prediction = model.predict(torch.from_numpy(sample(seed)["view"]), None)
        entropies.append(AboveThreshold(0.5).score(prediction, torch.empty(0)))
    above = sum(float((e > thresholds["compact"].at(0.1)).double().mean()) for e in entropies) / 2
    assert above == pytest.approx(0.1, abs=0.02)


class Told(Group):
    """A group that has heard the process that leads."""

    said = b""

    def content_of_leader(self, content: bytes, device: torch.device) -> bytes:
        if self.leads:
            Told.said = content
        return Told.said


def test_thresholds_are_those_of_the_process_that_leads(tmp_path: Path) -> None:
    """To the last bit, whatever another one would compute."""
    files = write_samples(tmp_path, 2)
    spec = LoopSpec(1, 2, 1e-2, 0, tmp_path, torch.device("cpu"))
    first = shared_thresholds([], files, replace(spec, group=Told(0, 2)))
    assert first == calibrate([], files) == shared_thresholds([], files, spec)
    assert shared_thresholds([], files[:1], replace(spec, group=Told(1, 2))) == first != calibrate([], files[:1])


def test_two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper, "FEWEST_ACTIVE", 10)
    monkeypatch.setattr(paper, "VALIDATION_BATCHES", 1)
    files = write_samples(tmp_path, 2)
    network = PaperNet((4, 8))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    spec = LoopSpec(2, 1, 1e-2, 0, tmp_path / "out", torch.device("cpu"))
    loop, figures = train_paper(files, files[:1], [], spec, network, {}, TORCH)
    assert loop.done == 2 and 0 < figures["val_left"] < 100
    assert any(not torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_bfloat16() -> None:
    network, samples = random_paper_network(), some()
    plain = paper_losses(network, samples, TORCH)
    with torch.autocast("cpu", torch.bfloat16):
        rough = paper_losses(network, samples, TORCH)
    rough["total"].backward()
    assert float(rough["total"]) == pytest.approx(float(plain["total"]), rel=0.05)
