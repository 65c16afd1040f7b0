"""The fit of the confidence table finds what made its samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from depth_retrofit_ros.confidence.calibration import KEPT, REFINED, Calibration
from depth_retrofit_ros.training.confidence import KNOTS, Samples, draw, fit, hats, simulated_model, table_of
from test.refinement.nets import random_refiner

KEPT_WIDTH = sum(len(KNOTS[name]) for name in KEPT)


def test_hats_interpolate() -> None:
    knots = (0.0, 1.0, 3.0)
    at = torch.tensor([-1.0, 0.0, 0.5, 2.0, 3.0, 8.0])
    torch.testing.assert_close(hats(at, knots) @ torch.tensor(knots), at.clamp(0, 3))
    torch.testing.assert_close(hats(at, knots).sum(-1), torch.ones(6))


def test_the_fit_finds_the_odds_that_made_the_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    feature = torch.rand(200_000, generator=generator)
    odds = 2 - 4 * feature
    samples = Samples()
    samples.add(hats(feature, KNOTS["gate"]), torch.rand(feature.shape, generator=generator) < odds.sigmoid(), "simulated")
    curve = fit(samples, ["gate"])[0]["gate"]
    assert curve["values"] == pytest.approx([2, 1, 0, -1, -2], abs=0.1)


def test_pixels_of_a_view_fit_a_table() -> None:
    rng = np.random.default_rng(3)
    depth = np.full((96, 128), 5.0, np.float32)
    depth[30:70, 40:90], depth[:10] = 2.0, np.inf
    view = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
    data: dict[str, np.ndarray] = {"view": view, "view_depth": depth, "frame": np.array([1280, 960]), "f_px": np.array(1000.0)}
    kept, refined = Samples(), Samples()
    for _ in range(4):
        draw(rng, data, simulated_model(rng, data), random_refiner(), 200, kept, refined)
    assert all(len(right) <= 200 for right in kept.right + refined.right) and refined.right
    table = Calibration.of(table_of(kept, refined), Path("table.json"))
    assert np.isfinite([v for part in (table.kept, table.refined) for curve in part.curves.values() for v in curve.values]).all()


def test_a_worse_model_has_lower_odds_and_one_that_is_not_known_the_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    samples = Samples()
    for model, odds in (("simulated", 0.0), ("good", 1.0), ("bad", -2.5)) * 8:
        feature = torch.rand(5000, generator=generator)
        right = torch.rand(feature.shape, generator=generator) < torch.tensor(odds).sigmoid()
        samples.add(torch.cat([hats(feature, KNOTS[name]) for name in REFINED], -1), right, model)
    kept = Samples([b[:, :KEPT_WIDTH] for b in samples.basis], samples.right, samples.model)
    table = Calibration.of(table_of(kept, samples), Path("table.json"))
    for part in (table.kept, table.refined):
        found = [part.offset(model) for model in ("simulated", "good", "bad", "another", "files")]
        assert found == pytest.approx([0, 1, -2.5, -0.5, 0], abs=0.2)
