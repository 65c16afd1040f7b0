"""The sky ends not far behind the farthest thing, wherever a model puts it; things are never cut off."""

from __future__ import annotations

import pytest
import torch

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.claim import ScaleClaim, stored_claim
from depth_retrofit_ros.coarse.far_limit import BEHIND, LEAST, NEVER_SKY_M, far_limit, limit_far

H, W = 90, 160


RELATIVE = stored_claim(metric=False)


def street(sky: float, rows: int = 30) -> torch.Tensor:
    """A floor from 3 m to 40 m below ``rows`` of sky: affine in inverse depth, as a plane is."""
    depth = torch.full((H, W), sky)
    depth[rows:] = (1 / torch.linspace(1 / 40, 1 / 3, H - rows))[:, None]
    return depth


@pytest.mark.parametrize("rows", [5, 30, 45])
def test_the_limit_does_not_depend_on_where_the_sky_is(rows: int) -> None:
    limits = torch.stack([far_limit(street(sky, rows)) for sky in (1e3, 1e4, 1e6, float("inf"))])
    assert float(limits.max() / limits.min()) < 1.25
    assert float(limits.min()) > 40 and float(limits.max()) < 120


@pytest.mark.parametrize("sky", [50.0, 100.0, 500.0, 1e5])
def test_the_sky_is_brought_near_and_the_street_left_alone(sky: float) -> None:
    depth = street(sky)
    limited = limit_far(CoarsePrediction(depth, torch.zeros(1, H, W)), RELATIVE).depth
    assert torch.equal(limited[30:], depth[30:])
    assert float(limited[:30].max()) <= min(sky, 100) and float(limited[:30].min()) >= min(sky, 40)


def test_a_far_wall_behind_a_near_table_is_no_sky() -> None:
    """Twenty times as far as the table, over a fifth of the frame."""
    depth = torch.full((H, W), 0.8)
    depth[: H // 5] = 16.0
    assert float(far_limit(depth)) > 16


def test_what_is_near_is_never_cut_off() -> None:
    depth = street(500.0)
    depth[50:70, 40:60] = 0.05  # the robot's own hand
    known = depth[torch.isfinite(depth)]
    assert float(far_limit(depth)) >= (1 - 1e-4) * LEAST / float(known.reciprocal().mean())
    alone = torch.full((H, W), 2.0)
    assert float(far_limit(alone)) == pytest.approx(LEAST * 2.0) and LEAST > BEHIND


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_scaling_the_depth_scales_the_limit(factor: float) -> None:
    depth = street(500.0)
    assert float(far_limit(factor * depth)) == pytest.approx(factor * float(far_limit(depth)), rel=1e-5)


def test_unknown_cells_stay_unknown_and_change_nothing() -> None:
    depth = street(500.0)
    broken = depth.clone()
    broken[40:45, 10:20] = torch.nan
    limited = limit_far(CoarsePrediction(broken, torch.zeros(1, H, W)), RELATIVE).depth
    assert torch.equal(limited.isnan(), broken.isnan())
    assert float(far_limit(broken)) == pytest.approx(float(far_limit(depth)), rel=0.05)
    assert bool(limit_far(CoarsePrediction(torch.full((H, W), torch.nan), torch.zeros(1, H, W)), RELATIVE).depth.isnan().all())


def test_large_and_small_grids_agree() -> None:
    """The limit is taken from some of the cells of a large map."""
    large = torch.nn.functional.interpolate(street(500.0)[None, None], scale_factor=6, mode="nearest")[0, 0]
    assert float(far_limit(large)) == pytest.approx(float(far_limit(street(500.0))), rel=0.05)


def test_metric_depth_of_a_hall_behind_a_tabletop_is_not_cut_off() -> None:
    """An open door at 12 m, a part of a view of things at half a meter."""
    depth = torch.full((H, W), 0.5)
    depth[:, : W // 25] = 12.0
    prediction = CoarsePrediction(depth, torch.zeros(1, H, W))
    assert float(far_limit(depth)) < 12
    assert torch.equal(limit_far(prediction, stored_claim(metric=True)).depth, depth)
    sky = CoarsePrediction(torch.where(depth > 1, 500.0, depth), torch.zeros(1, H, W))
    assert float(limit_far(sky, ScaleClaim("metric", "camera")).depth.max()) == NEVER_SKY_M


def test_what_the_model_calls_sky_has_no_part_in_the_limit_and_lies_at_it() -> None:
    depth = torch.linspace(2.0, 8.0, H * W).view(H, W)
    sky = torch.zeros(H, W, dtype=torch.bool)
    sky[: H // 2] = True
    limited = [
        limit_far(CoarsePrediction(torch.where(sky, far, depth), torch.zeros(1, H, W), sky), RELATIVE).depth for far in (9.0, 1e4)
    ]
    assert torch.equal(*limited) and torch.equal(limited[0][~sky], depth[~sky])
    assert bool((limited[0][sky] == far_limit(depth[~sky][None])).all())


def test_a_frame_of_sky_alone_stays_finite() -> None:
    sky = CoarsePrediction(torch.full((H, W), 300.0), torch.zeros(1, H, W), torch.ones(H, W, dtype=torch.bool))
    assert torch.equal(limit_far(sky, RELATIVE).depth, sky.depth)
