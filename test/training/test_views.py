"""Coarse views to train on: their depth belongs to their pixels, and their focal length is divided out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from depth_retrofit_ros.coarse.compact_net import CANONICAL_F_PX
from depth_retrofit_ros.training.views import ASPECTS, KEPT_SIDE, CoarseViews, View, rendered_view, view_shape
from test.training.written_views import F_LOW, LOW_SIDE, step_depth, write_view

CPU = torch.device("cpu")


def views_of(paths: list[Path], batch: int, seed: int) -> CoarseViews:
    """Of rendered views alone."""
    return CoarseViews([rendered_view(path, i) for i, path in enumerate(paths)], [], 0.0, batch, seed, CPU)


@pytest.mark.parametrize("shrink", [1, 2])
def test_views_have_the_stated_shapes_and_depend_on_seed_and_step_alone(tmp_path: Path, shrink: int) -> None:
    files = [write_view(tmp_path / f"{i}.npz", step_depth(40 + 60 * i)) for i in range(3)]
    views, again = (views_of(files, 4, 3) for _ in range(2))
    seen = set()
    for step in range(12):
        image, log_depth, taught = views(step, shrink)
        assert image.shape[:2] == (4, 3) and image.shape[2:] == log_depth.shape[1:]
        assert all(v % 16 == 0 for v in image.shape[2:])
        assert image.dtype == log_depth.dtype == torch.float32 and not bool(taught.any())
        assert float(image.min()) >= 0 and float(image.max()) <= 1
        repeated = again(step, shrink)
        assert torch.equal(image, repeated[0]) and torch.equal(log_depth, repeated[1])
        seen.add(tuple(v * shrink for v in image.shape[2:]))
    assert len(seen) > 1
    if shrink == 1:
        assert seen <= {view_shape(*aspect) for aspect in ASPECTS}
    assert not torch.equal(views(0)[0], views_of(files, 4, 4)(0)[0])


def test_shapes_keep_the_aspect_and_fit_the_network() -> None:
    assert [view_shape(*aspect) for aspect in ASPECTS[:5]] == [(192, 256), (176, 256), (144, 256), (144, 256), (256, 192)]
    assert view_shape(*ASPECTS[5]) == (112, 352)
    assert view_shape(9, 16, shrink=2) == (64, 128)


def test_depth_belongs_to_the_pixels(tmp_path: Path) -> None:
    """Whatever is cut, zoomed, mirrored and jittered: the near side is the dark side, to the very pixel."""
    views = views_of([write_view(tmp_path / "a.npz", step_depth())], 8, 0)
    checked = 0
    for step in range(6):
        image, log_depth, _ = views(step)
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
    views = views_of([write_view(tmp_path / "a.npz", step_depth(128))], 8, 0)
    offsets = []
    for step in range(40):
        image, log_depth, _ = views(step)
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
    views = views_of([write_view(tmp_path / "a.npz", stripes)], 8, 0)
    zooms = []
    for step in range(5):
        for row in views(step)[1][:, 0].double().numpy():
            steps = np.flatnonzero(np.abs(np.diff(row)) > 0.3)
            zoom = np.diff(steps).mean() / 16
            assert np.exp(row.min()) == pytest.approx(4 * CANONICAL_F_PX / (zoom * F_LOW), rel=0.02)
            assert np.exp(row.max() - row.min()) == pytest.approx(2.0, rel=1e-3)  # kept in half precision
            zooms.append(zoom)
    assert min(zooms) < 1.2 and max(zooms) > 1.5


@pytest.mark.parametrize("phase", range(4))
def test_large_views_are_kept_small(tmp_path: Path, phase: int) -> None:
    """At half the size, the depth is that of one pixel of each block, another one at each phase; the focal length shrinks along."""
    depth = np.arange(2.0, 2.0 + 2 * 216 * 2 * KEPT_SIDE).reshape(2 * 216, 2 * KEPT_SIDE) / 1e4 + 1
    depth[:, -2:] = np.inf
    view = rendered_view(write_view(tmp_path / "a.npz", depth), phase)
    assert view.image.shape == (216, KEPT_SIDE, 3) and view.image.dtype == np.uint8 and not view.taught
    np.testing.assert_allclose(view.log_depth, np.log(depth[phase // 2 :: 2, phase % 2 :: 2]), rtol=1e-3)
    assert view.f_px == pytest.approx(F_LOW * 2 * KEPT_SIDE / LOW_SIDE / 2)


def test_a_share_of_each_batch_is_taught(tmp_path: Path) -> None:
    rendered = [rendered_view(write_view(tmp_path / "a.npz", step_depth()), 0)]
    unknown = View(np.zeros((48, 64, 3), np.uint8), np.full((48, 64), np.nan, np.float16), 50.0, taught=True)
    for share, expected in ((0.25, 2), (0.0, 0)):
        views = CoarseViews(rendered, [unknown], share, 8, 0, CPU)
        for step in range(3):
            batch = views(step)
            assert int(batch.taught.sum()) == expected
            assert torch.equal(batch.log_depth.isnan().flatten(1).all(1), batch.taught)
    assert int(CoarseViews(rendered, [], 0.25, 8, 0, CPU)(0).taught.sum()) == 0


def test_which_view_comes_first_does_not_depend_on_the_aspect() -> None:
    """Of as many views as there are aspects: had both one stream, each aspect would always bring its own."""
    image, depth = np.zeros((96, 96, 3), np.uint8), np.zeros((96, 96), np.float16)
    views = CoarseViews([View(image, depth + 100 * n, 100.0) for n in range(len(ASPECTS))], [], 0.0, 1, 3, CPU)
    found: dict[tuple[int, ...], set[int]] = {}
    for step in range(150):
        (drawn,) = views.draw(step, shrink=4)
        found.setdefault(drawn.log_depth.shape, set()).add(round(float(drawn.log_depth.mean()) / 100))
    assert set(found) == {view_shape(*aspect, shrink=4) for aspect in ASPECTS} and all(
        len(numbers) == len(ASPECTS) for numbers in found.values()
    )
