"""Scale and shift, found robustly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from depth_retrofit_ros.scale.affine import LEAST_TRUSTED, MOST, least_squares, reanchored, robust_fit


def noisy_line(outliers: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """values, and 1.7 · values − 0.3 with a little noise, of which a share is far off to one side."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(4000, generator=generator) * 2 - 1
    reference = 1.7 * values - 0.3 + 0.01 * torch.randn(4000, generator=generator)
    wrong = torch.rand(4000, generator=generator) < outliers
    return values, torch.where(wrong, reference + 0.5 + torch.rand(4000, generator=generator), reference)


def test_least_squares_are_numpy_s() -> None:
    values, reference = noisy_line(0.2)
    weights = torch.rand(4000, generator=torch.Generator().manual_seed(1))
    root = weights.sqrt().numpy()[:, None]
    rows = np.stack((values.numpy(), np.ones(4000)), 1)
    wanted = np.linalg.lstsq(rows * root, reference.numpy()[:, None] * root, rcond=None)[0][:, 0]
    fit = least_squares(values, reference, weights)
    assert [float(fit.scale), float(fit.shift)] == pytest.approx(wanted.tolist(), rel=1e-4)


def test_a_third_of_outliers_on_one_side_hardly_matters() -> None:
    values, reference = noisy_line(0.3)
    everywhere = torch.ones(4000, dtype=torch.bool)
    robust, plain = robust_fit(values, reference, everywhere), least_squares(values, reference, everywhere.float())
    assert abs(float(plain.shift) + 0.3) > 0.25
    assert float(robust.scale) == pytest.approx(1.7, abs=0.03) and float(robust.shift) == pytest.approx(-0.3, abs=0.1)


def test_what_is_not_trusted_says_nothing() -> None:
    values, reference = noisy_line(0.0)
    trusted = torch.arange(4000) < 2000
    broken = torch.where(trusted, reference, torch.nan)
    fits = [robust_fit(values, reference, trusted), robust_fit(values, broken, trusted), robust_fit(broken, reference, trusted)]
    assert float(fits[0].scale) == float(fits[1].scale) == pytest.approx(1.7, abs=0.01)
    assert fits[2].scale.isfinite() and fits[2].shift.isfinite()


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_not_trusted(wrong: float) -> None:
    values, reference = noisy_line(0.0)
    everywhere = torch.ones(4000, dtype=torch.bool)
    for broken in (values, reference):
        broken[7] = wrong
    fit = robust_fit(values, reference, everywhere)
    assert (float(fit.scale), float(fit.shift)) == pytest.approx((1.7, -0.3), abs=0.01)


def test_of_many_pixels_some_are_looked_at_that_tell_the_same() -> None:
    """Evenly, and of all columns of a tile."""
    values, reference = (every.repeat(600) for every in noisy_line(0.2))
    seen = 0

    class Counted(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal seen
            if func._schema.name == "aten::nanmedian":
                seen = max(seen, args[0].numel())
            return func(*args, **(kwargs or {}))

    with Counted():
        fit = robust_fit(values, reference, torch.ones_like(values, dtype=torch.bool))
    assert 0 < seen <= MOST
    few = robust_fit(*noisy_line(0.2), torch.ones(4000, dtype=torch.bool))
    assert float(fit.scale) == pytest.approx(float(few.scale), abs=0.01)
    assert float(fit.shift) == pytest.approx(float(few.shift), abs=0.01)
    columns = (torch.arange(MOST) * (64 * 192 * 192) // MOST) % 192
    assert float(columns.bincount(minlength=192).min()) > 0.8 * MOST / 192


@pytest.mark.parametrize(("share", "is_fitted"), [(LEAST_TRUSTED + 0.01, True), (LEAST_TRUSTED - 0.01, False), (0.0, False)])
def test_too_few_trusted_pixels_leave_it_as_it_is(share: float, is_fitted: bool) -> None:
    values, reference = noisy_line(0.0)
    fit = robust_fit(values, reference, torch.arange(4000) < share * 4000)
    assert (float(fit.scale), float(fit.shift)) == (pytest.approx((1.7, -0.3), abs=0.02) if is_fitted else (1.0, 0.0))


def test_fits_are_independent() -> None:
    values, reference = noisy_line(0.1)
    stacked = robust_fit(
        torch.stack((values, values)), torch.stack((reference, 2 * reference)), torch.ones(2, 4000, dtype=torch.bool)
    )
    assert stacked.scale.tolist() == pytest.approx([1.7, 3.4], abs=0.05)


def test_tiles_are_anchored_together() -> None:
    level = torch.linspace(0, 3, 2 * 64 * 64).view(2, 64, 64)
    change = 0.25 * level + 0.4  # of all tiles alike: right up to scale and shift
    trusted = torch.ones(2, 64, 64, dtype=torch.bool)
    assert float(reanchored(level, change, trusted).abs().max()) < 1e-4
    edge = change.clone()
    edge[0, :8] += 0.7  # what the coarse depth has wrong
    settled = reanchored(level, edge, trusted)
    assert float(settled[0, 8:].abs().max()) < 0.02 and float(settled[0, :8].min()) > 0.4
