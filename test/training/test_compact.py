"""Training of ``compact``: views whose depth belongs to their pixels, a loss that holds with nothing but sky, honest validation."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from depth_retrofit_ros.coarse.compact_net import CANONICAL_F_PX, LONG_SIDE, SPAN, CompactNet, bin_centers, expected_log_depth
from depth_retrofit_ros.training.compact import ASPECTS, CoarseViews, compact_losses, train_compact, validate_compact, view_shape
from depth_retrofit_ros.training.loop import LoopSpec
from depth_retrofit_ros.training.losses import gradient_loss, local_window_loss, silog_loss, two_hot_cross_entropy

CPU = torch.device("cpu")
F_LOW = 200.0


def write_view(path: Path, depth: np.ndarray) -> Path:
    """A coarse view whose brightness tells the depth: 50 below 4 m, 200 beyond, blue in the sky."""
    image = np.where(depth[..., None] < 4, 50, 200).repeat(3, 2).astype(np.uint8)
    image[np.isinf(depth)] = (0, 0, 255)
    frame = np.array([10 * depth.shape[1], 10 * depth.shape[0]])
    f_px = np.array(F_LOW * frame.max() / LONG_SIDE)
    np.savez(path, view=image, view_depth=depth.astype(np.float32), frame=frame, f_px=f_px)
    return path


def step_depth(column: int = 100, near: float = 2.0, far: float = 8.0) -> np.ndarray:
    """A step between two depths, [144, 256]."""
    depth = np.full((144, 256), far)
    depth[:, :column] = near
    return depth


@pytest.mark.parametrize("shrink", [1, 2])
def test_views_have_the_stated_shapes_and_depend_on_seed_and_step_alone(tmp_path: Path, shrink: int) -> None:
    files = [write_view(tmp_path / f"{i}.npz", step_depth(40 + 60 * i)) for i in range(3)]
    views, again = (CoarseViews(files, 4, 3, CPU) for _ in range(2))
    seen = set()
    for step in range(12):
        image, log_depth = views(step, shrink)
        assert image.shape[:2] == (4, 3) and image.shape[2:] == log_depth.shape[1:]
        assert all(v % 16 == 0 for v in image.shape[2:])
        assert image.dtype == log_depth.dtype == torch.float32
        assert float(image.min()) >= 0 and float(image.max()) <= 1
        repeated = again(step, shrink)
        assert torch.equal(image, repeated[0]) and torch.equal(log_depth, repeated[1])
        seen.add(tuple(v * shrink for v in image.shape[2:]))
    assert len(seen) > 1
    if shrink == 1:
        assert seen <= {view_shape(aspect, LONG_SIDE) for aspect in ASPECTS}
    assert not torch.equal(views(0)[0], CoarseViews(files, 4, 4, CPU)(0)[0])


def test_shapes_keep_the_aspect_and_fit_the_network() -> None:
    assert [view_shape(aspect, 256) for aspect in ASPECTS] == [(192, 256), (176, 256), (144, 256), (144, 256), (256, 192)]
    assert view_shape(9 / 16, 128) == (64, 128)


def test_depth_belongs_to_the_pixels(tmp_path: Path) -> None:
    """Whatever is cut, zoomed, mirrored and jittered: the near side is the dark side, to the very pixel."""
    views = CoarseViews([write_view(tmp_path / "a.npz", step_depth())], 8, 0, CPU)
    checked = 0
    for step in range(6):
        image, log_depth = views(step)
        for picture, depth in zip(image.mean(1), log_depth, strict=True):
            near = depth < depth.mean()
            if not 0.1 < float(near.float().mean()) < 0.9:
                continue
            middle = (picture[near].median() + picture[~near].median()) / 2
            assert float(((picture < middle) == near).float().mean()) > 0.985
            checked += 1
    assert checked > 20


def test_the_edge_of_the_depth_is_where_the_edge_of_the_picture_is(tmp_path: Path) -> None:
    """On average over many views the two coincide to a tenth of a pixel: both are resampled about pixel centres."""
    views = CoarseViews([write_view(tmp_path / "a.npz", step_depth(128))], 8, 0, CPU)
    offsets = []
    for step in range(40):
        image, log_depth = views(step)
        for picture, depth in zip(image.mean(1).mean(1), log_depth.mean(1), strict=True):
            steps = [np.abs(np.diff(profile.double().numpy())) for profile in (picture, depth)]
            at = int(steps[1].argmax())
            if not 12 < at < len(steps[0]) - 12 or steps[0].max() < 0.1:
                continue
            window = slice(at - 8, at + 9)
            position = np.arange(17) - 8
            picture_at, depth_at = ((s[window] * position).sum() / s[window].sum() for s in steps)
            unmirrored = 1 if depth[0] < depth[-1] else -1
            offsets.append(unmirrored * (picture_at - depth_at))
    assert len(offsets) > 150
    assert abs(np.mean(offsets)) < 0.1


def test_focal_length_is_divided_out(tmp_path: Path) -> None:
    """Stripes of 16 columns at 4 m and 8 m: stretched z times in the view, they are seen by z times the focal length."""
    stripes = np.where((np.arange(256) // 16) % 2, 8.0, 4.0)[None].repeat(144, 0)
    views = CoarseViews([write_view(tmp_path / "a.npz", stripes)], 8, 0, CPU)
    zooms = []
    for step in range(5):
        for row in views(step)[1][:, 0].double().numpy():
            steps = np.flatnonzero(np.abs(np.diff(row)) > 0.3)
            zoom = np.diff(steps).mean() / 16
            assert np.exp(row.min()) == pytest.approx(4 * CANONICAL_F_PX / (zoom * F_LOW), rel=0.02)
            assert np.exp(row.max() - row.min()) == pytest.approx(2.0)
            zooms.append(zoom)
    assert min(zooms) < 1.2 and max(zooms) > 1.5


def batch(sky_only: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Two images and their log depth, with some sky; sky_only: the second is nothing else."""
    log_true = torch.randn(2, 32, 48).cumsum(2) / 10 + 1
    log_true[:, :5] = math.inf
    if sky_only:
        log_true[1] = math.inf
    return torch.rand(2, 3, 32, 48), log_true


@pytest.mark.parametrize("phase", range(4))
def test_loss_by_definition(phase: int) -> None:
    network = CompactNet().eval()
    images, log_true = batch()
    with torch.no_grad():
        losses = compact_losses(network, images, log_true, phase)
        logits, log_median = network(images)
    truth = log_true[:, phase // 2 :: 2, phase % 2 :: 2]
    known = torch.isfinite(truth)
    median = torch.stack([t[k].median() for t, k in zip(truth, known, strict=True)])
    relative = torch.where(known, truth - median[:, None, None], SPAN)
    predicted = expected_log_depth(logits)
    expected = {
        "ce": two_hot_cross_entropy(logits, relative, bin_centers(), torch.ones_like(known)),
        "silog": torch.stack([silog_loss(predicted[i : i + 1], relative[i : i + 1], known[i : i + 1]) for i in range(2)]).mean(),
        "gradient": gradient_loss(predicted, relative, known),
        "windows": local_window_loss(predicted, relative, known, torch.Generator().manual_seed(phase)),
        "scale": (log_median - median).abs().mean(),
    }
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
    total = expected["ce"] + 0.1 * expected["silog"] + 0.5 * expected["gradient"] + expected["windows"] + 0.3 * expected["scale"]
    torch.testing.assert_close(losses["total"], total)


def test_a_view_of_nothing_but_sky_has_a_loss_without_a_scale() -> None:
    network = CompactNet()
    images, log_true = batch(sky_only=True)
    losses = compact_losses(network, images, log_true, 0)
    losses["total"].backward()
    assert all(math.isfinite(float(value.detach())) for value in losses.values())
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in network.parameters())
    only_sky = torch.full_like(log_true, math.inf)
    assert float(compact_losses(network, images, only_sky, 0)["scale"].detach()) == 0


class Oracle(nn.Module):
    """Answers with logits whose expectation is a given log depth map (about its median), times a factor."""

    def __init__(self, log_canonical: torch.Tensor, factor: float) -> None:
        super().__init__()
        self.log_canonical, self.factor = log_canonical, factor

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As CompactNet."""
        assert image.shape[2:] == (2 * self.log_canonical.shape[0], 2 * self.log_canonical.shape[1])
        centers = bin_centers()
        median = self.log_canonical.median()
        position = (self.log_canonical - median + SPAN) / (centers[1] - centers[0])
        low = position.floor().long().clamp(0, len(centers) - 2)
        share = position - low
        p = torch.full((len(centers), *low.shape), 1e-12)
        p.scatter_(0, low[None], (1 - share)[None]).scatter_(0, low[None] + 1, share[None])
        return p.clamp_min(1e-12).log()[None], (median + math.log(self.factor))[None]


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_validation_of_an_oracle(tmp_path: Path, factor: float) -> None:
    """Exact up to a factor: that factor is the error, and median scaling removes it."""
    depth = np.repeat(np.linspace(3, 6, 256)[None], 144, 0)
    depth[:20] = np.inf
    file = write_view(tmp_path / "a.npz", depth)
    half = cv2.resize(depth.astype(np.float32), (128, 72), interpolation=cv2.INTER_NEAREST_EXACT)
    known = torch.from_numpy(np.where(np.isfinite(half), half, 6.0))
    canonical = (known / (F_LOW / CANONICAL_F_PX)).log().float()
    figures = validate_compact(Oracle(canonical, factor), [file, file], CPU)
    assert figures["abs_rel"] == pytest.approx(factor - 1, abs=1e-4)
    assert figures["abs_rel_median"] == pytest.approx(0.0, abs=1e-4)
    assert figures["delta1"] == (1.0 if factor < 1.25 else 0.0)


def test_training_runs_from_files_to_figures(tmp_path: Path) -> None:
    files = [write_view(tmp_path / f"{i}.npz", step_depth(40 + 60 * i)) for i in range(3)]
    loop, figures = train_compact(files, files[:1], LoopSpec(4, 2, 1e-3, 0, tmp_path / "out", CPU))
    assert isinstance(loop.average, CompactNet) and loop.done == 4
    assert set(figures) == {"abs_rel", "abs_rel_median", "delta1"} and all(math.isfinite(v) for v in figures.values())
    assert (tmp_path / "out" / "state.pt").is_file() and (tmp_path / "out" / "log.csv").is_file()
