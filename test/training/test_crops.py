"""Training crops show the network what it will see at run time, and ask of it what it can know."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.far_limit import far_limit
from depth_retrofit_ros.errors import DatasetError
from depth_retrofit_ros.refinement.pixels.features import WIDTHS, coarse_maps, normalized, pixel_features
from depth_retrofit_ros.selection import contrast as contrast_module
from depth_retrofit_ros.selection.contrast import contrast, contrast_grid
from depth_retrofit_ros.selection.top_k import select_top
from depth_retrofit_ros.selection.uncertainty import weighted
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.training import crops as crops_module
from depth_retrofit_ros.training import degradations, draws
from depth_retrofit_ros.training.coarse_views import FAR_FACTORS, CoarseView, finite_truth, model_view, simulated_view
from depth_retrofit_ros.training.crops import Crops, CropSample, _maps_around, crop_score, make_crop
from depth_retrofit_ros.training.draws import BLOCK
from depth_retrofit_ros.training.group import Group
from depth_retrofit_ros.upsampling.edge_aware import guided_maps, guided_upsample, thumbnail, usual_kink
from test.training.samples import F_PX, HEIGHT, RATIO, SIDE, WIDTH, full_frame, sample, view_of, write_samples

SIZE = (HEIGHT, WIDTH)


def flipped(view: CoarseView) -> CoarseView:
    """The same model's answer to the mirrored frame."""
    depth, doubt, truth, features = (m.flip(-1) for m in (view.depth, view.doubt, view.truth, view.features))
    return CoarseView(depth, doubt, truth, view.far, features, view.model)


def seen(data: dict[str, np.ndarray], view: CoarseView) -> torch.Tensor:
    """The view averaged to the coarse grid."""
    return thumbnail(torch.from_numpy(data["view"]), view.depth)


def base(data: dict[str, np.ndarray], view: CoarseView) -> torch.Tensor:
    """The upsampled depth of the whole frame."""
    return guided_upsample(view.depth, torch.from_numpy(full_frame()[0]), seen(data, view))


def in_frame(crop: CropSample, corner: tuple[int, int]) -> PixelSet:
    """The crop's active pixels as pixels of the whole frame."""
    mask = torch.zeros(SIZE, dtype=torch.bool)
    x0, y0 = corner
    mask[y0 : y0 + SIDE, x0 : x0 + SIDE] = crop.mask
    return PixelSet.from_mask(mask)


@pytest.mark.parametrize("size", [(24, 32), (48, 64), (19, 27)])
def test_a_crop_sees_what_the_live_refiner_sees(size: tuple[int, int]) -> None:
    """Features of the crop's pixels, computed from the whole frame by the run-time code."""
    data = sample()
    image, _ = full_frame()
    for index in range(3):
        view = view_of(data, size=size)
        crop = make_crop(data, index, view, 0.2, flip=False)
        pixels = in_frame(crop, tuple(data["at"][index]))
        score = crop_score(data, index, view)
        live = pixel_features(torch.from_numpy(image), seen(data, view), view.depth, base(data, view), score, pixels)
        assert crop.target.numel() == pixels.count > 50
        for name in WIDTHS:
            torch.testing.assert_close(crop.features.part(name), live.part(name), atol=1e-4, rtol=0)
        # Live, the frame is averaged to the model's grid at once; in training by way of the view.
        assert float((thumbnail(torch.from_numpy(image), view.depth) - seen(data, view)).abs().mean()) < 0.01


@pytest.mark.parametrize("factor", [1.0, 0.4, 3.0])
def test_target_is_the_true_edge_at_the_coarse_models_own_depths(factor: float) -> None:
    """A model that is right up to a factor has nothing to learn but where the edge runs."""
    data = sample()
    view = view_of(data, factor, size=(48, 64))
    crop = make_crop(data, 0, view, 0.2, flip=False)
    indices = in_frame(crop, (96, 72)).indices
    truth = torch.from_numpy(full_frame()[1]).flatten()[indices]
    coarse = base(data, view).flatten()[indices]
    torch.testing.assert_close(crop.target, (factor * truth / coarse).log(), atol=5e-3, rtol=0)
    assert float(crop.target.abs().max()) > 0.5  # pixels beside the edge are on the other surface


def test_each_surface_keeps_the_models_depth() -> None:
    """The model has the near wall 30 % too far and the far one 20 % too near: the target does not hold that against it."""
    data = sample()
    view = view_of(data, size=(48, 64))
    near = view.truth < 3.5
    view = replace(view, depth=view.depth * torch.where(near, 1.3, 0.8))
    crop = make_crop(data, 0, view, 0.2, flip=False)
    indices = in_frame(crop, (96, 72)).indices
    truth = torch.from_numpy(full_frame()[1]).flatten()[indices]
    wanted = truth * torch.where(truth < 3.5, 1.3, 0.8)
    torch.testing.assert_close(crop.target, (wanted / base(data, view).flatten()[indices]).log(), atol=1e-2, rtol=0)


def test_flipping_is_the_same_as_a_mirrored_world() -> None:
    """Without ties in depth: of equally far backgrounds the first in reading order lends its colour, whichever side that is."""
    data, mirror = sample(), sample(mirrored=True)
    for index in range(3):
        view = view_of(data)
        view = replace(view, depth=view.depth * (1 + 1e-3 * torch.rand(24, 32, generator=torch.Generator().manual_seed(index))))
        got = make_crop(data, index, view, 0.2, flip=True)
        wanted = make_crop(mirror, index, flipped(view), 0.2, flip=False)
        assert torch.equal(got.mask, wanted.mask)
        torch.testing.assert_close(got.target, wanted.target, atol=1e-4, rtol=0)
        for name in WIDTHS:
            torch.testing.assert_close(getattr(got.features, name), getattr(wanted.features, name), atol=1e-3, rtol=0)


@pytest.mark.parametrize("budget", [0.05, 0.2, 0.5])
def test_active_pixels_are_those_that_the_frame_selects(budget: float) -> None:
    """Of a rough score, which interpolation makes smoother: a quantile of its own cells would select others."""
    data = sample()
    view = replace(view_of(data), doubt=torch.rand(24, 32))
    for index, (x0, y0) in enumerate(data["at"]):
        selected = select_top(crop_score(data, index, view), SIZE, round(budget * WIDTH * HEIGHT)).mask()
        crop = make_crop(data, index, view, budget, flip=False)
        assert torch.equal(crop.mask, selected[y0 : y0 + SIDE, x0 : x0 + SIDE])


def cells_inside(corner: tuple[int, int], low: tuple[int, int], margin_px: float) -> torch.Tensor:
    """``bool [h, w]``: the cells that lie in a crop, this far from its sides."""
    inside = []
    for start, high, n in zip(reversed(corner), SIZE, low, strict=True):
        begin = torch.arange(n) * high / n
        inside.append((begin >= start + margin_px) & (begin + high / n <= start + SIDE - margin_px))
    return inside[0][:, None] & inside[1]


@pytest.mark.parametrize("size", [(24, 32), (48, 64), (19, 27), (96, 128)])
def test_a_crops_score_is_the_frames_up_to_a_factor(size: tuple[int, int]) -> None:
    """That of the run-time code on the whole frame; where contrast is interpolated, a cell of it further in. The factor is what the
    view does not tell of the rest of the frame."""
    data = sample()
    frame = torch.from_numpy(full_frame()[0])
    grid = contrast_grid(SIZE, size)
    margin_px = 1 if grid == size else 1.5 * HEIGHT / grid[0]
    for index, corner in enumerate(data["at"]):
        view = replace(view_of(data, size=size), doubt=0.1 + torch.rand(size))
        live = weighted(view.doubt, contrast(frame, size))
        got = crop_score(data, index, view)
        ratio = (got / live)[cells_inside(tuple(corner), size, margin_px)]
        assert ratio.numel() > 9
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-4, atol=0)
        assert 0.5 < float(ratio[0]) < 2
        assert float(got.mean()) == pytest.approx(1, rel=1e-4)


def test_the_rest_of_the_frame_is_as_strong_as_the_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The view is an average and shows less contrast than the frame: without a factor the crop would take all of the budget."""
    monkeypatch.setattr(contrast_module, "LEAST_PX", 4)  # the view is small: cells of 3 px of it hide the edge of the sky
    data = sample()
    view, low = replace(view_of(data), doubt=torch.ones(24, 32)), (24, 32)
    shown, factors = contrast(torch.from_numpy(data["view"]), low), list[float]()
    for index, corner in enumerate(data["at"]):
        inside = cells_inside(tuple(corner), low, 0)
        exact = contrast(torch.from_numpy(full_frame()[0]), low)[inside]
        factors.append(min(4.0, float(exact.mean() / shown[inside].mean())))
        wanted = weighted(view.doubt, (factors[-1] * shown).masked_scatter(inside, exact))
        torch.testing.assert_close(crop_score(data, index, view), wanted, rtol=1e-4, atol=0)
    assert min(factors) < 1 < 1.4 < max(factors), "among a texture, and at the edge of the sky, which the view widens"


def test_cells_larger_than_a_crop_are_scored_by_the_view() -> None:
    data = sample()
    view = view_of(data, size=(2, 2))
    wanted = weighted(view.doubt, contrast(torch.from_numpy(data["view"]), (2, 2)))
    torch.testing.assert_close(crop_score(data, 0, view), wanted)


def test_the_largest_crop_is_bounded_and_keeps_its_neighborhoods(monkeypatch: pytest.MonkeyPatch) -> None:
    data = sample()
    view = replace(view_of(data), doubt=torch.rand(24, 32))
    whole = make_crop(data, 0, view, 0.9, flip=False)
    monkeypatch.setattr(crops_module, "MAX_ACTIVE", 2000)
    crop = make_crop(data, 0, view, 0.9, flip=False)
    assert 2000 - SIDE < crop.target.numel() <= 2000
    kept = int(crop.mask.any(1).sum())
    assert torch.equal(crop.mask[:kept], whole.mask[:kept])


def test_a_windows_maps_are_the_frames_to_the_last_bit() -> None:
    """Also where the window is rougher than the frame, or nearer: every statistic of the frame is the frame's."""
    data = sample()
    for size in ((48, 64), (96, 128)):
        view = view_of(data, size=size)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(size, generator=generator) * torch.linspace(0, 0.05, size[1])
        view = replace(view, depth=view.depth * noise.exp())
        first, last = (np.array((data["at"][0] + more)[::-1]) / SIZE for more in (0, SIDE))
        score = torch.rand(size, generator=generator)
        maps, guides = _maps_around(data, 0, view, score)
        small = torch.from_numpy(cv2.resize(data["view"], size[::-1], interpolation=cv2.INTER_AREA))
        whole = coarse_maps(view.depth, score, normalized(small))
        wanted = guided_maps(view.depth, small / 255, usual_kink(view.depth))
        (top, left), (bottom, right) = (np.floor(first * size).astype(int) - 1, np.ceil(last * size).astype(int) + 1)
        assert top > 0 and left > 0 and bottom < size[0] and right < size[1]
        inside = (slice(top, bottom), slice(left, right))
        assert torch.equal(maps.values[inside], whole.values[inside]) and torch.equal(maps.colors[inside], whole.colors[inside])
        assert torch.equal(maps.mixtures[inside], whole.mixtures[inside])
        assert torch.equal(maps.log_median, whole.log_median)
        assert torch.equal(guides[inside], wanted[inside])
        assert not torch.equal(usual_kink(view.depth[inside]), usual_kink(view.depth))


def test_sky_is_put_behind_everything() -> None:
    data = sample()
    truth, far = finite_truth(data, 7.0)
    known = np.isfinite(data["view_depth"])
    assert far == pytest.approx(7.0 * data["view_depth"][known].max())
    np.testing.assert_array_equal(truth[known], data["view_depth"][known])
    assert (truth[~known] == np.float32(far)).all() and (~known).any()
    nothing, at = finite_truth({"view_depth": np.full((4, 5), np.inf, np.float32)}, 7.0)
    assert (nothing == at).all() and math.isfinite(at)


class ToldModel:
    """A coarse model that remembers what it was shown."""

    claim = ScaleClaim("metric", "camera")
    device = torch.device("cpu")

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[tuple[torch.Size, Camera]] = []

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel.predict``."""
        assert camera is not None
        self.calls.append((image.shape, camera))
        return CoarsePrediction(torch.full((12, 16), 3.0), torch.randn(8, 12, 16))


def test_a_model_sees_the_view_with_its_camera() -> None:
    model = ToldModel("compact")
    view = model_view(model, sample())
    (shape, camera), (width, height) = model.calls[0], (WIDTH // RATIO, HEIGHT // RATIO)
    assert tuple(shape) == (height, width, 3)
    assert (camera.width, camera.height) == (width, height)
    assert [camera.fx, camera.fy] == pytest.approx([F_PX * width / WIDTH, F_PX * height / HEIGHT])
    assert view.depth.shape == view.doubt.shape == view.truth.shape == (12, 16)


def test_simulated_views_belong_to_the_sample() -> None:
    view = simulated_view(np.random.default_rng(0), sample())
    assert view.depth.shape == view.doubt.shape == view.truth.shape
    both = torch.stack([view.depth.log().flatten(), view.truth.log().flatten()])
    assert float(torch.corrcoef(both)[0, 1]) > 0.7


def test_the_sky_of_simulated_answers_is_anywhere_and_limited_as_at_run_time() -> None:
    data = sample()
    views = [simulated_view(np.random.default_rng(seed), data) for seed in range(40)]
    thing = data["view_depth"][np.isfinite(data["view_depth"])].max()
    factors = np.array([view.far / thing for view in views])
    assert FAR_FACTORS[0] <= factors.min() < 2 and 40 < factors.max() <= FAR_FACTORS[1]
    for view in views:
        assert float(view.truth.max()) == pytest.approx(view.far)
        assert float(view.depth.max()) <= float(far_limit(view.depth)) * (1 + 1e-6)


def test_simulated_answers_are_of_every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[degradations.Degradation] = []

    def told(rng: np.random.Generator, depth: np.ndarray, how: degradations.Degradation) -> tuple[np.ndarray, np.ndarray]:
        seen.append(how)
        return depth, np.zeros((2, *depth.shape), np.float32)

    monkeypatch.setattr(degradations, "simulate_coarse", told)
    for seed in range(60):
        simulated_view(np.random.default_rng(seed), sample())
    assert set(seen) == {kind for kind, _ in degradations.KINDS} and 20 <= seen.count(degradations.REAL) <= 40


def test_echoed_crops_come_twice_mirrored_and_among_others(tmp_path: Path) -> None:
    files = write_samples(tmp_path, 3)
    crops = Crops(files, [], batch=3, seed=1, echoed=True)
    steps = [crops(step) for step in range(2 * BLOCK)]
    first, second = ([sample for step in part for sample in step] for part in (steps[:BLOCK], steps[BLOCK:]))
    assert all(len(step) == 3 for step in steps)
    fresh = [sample for index in range(BLOCK) for sample in Crops(files, [], batch=3, seed=1)(index)]
    assert all(torch.equal(a.features.rows, b.features.rows) for a, b in zip(first, fresh, strict=True))
    pairs = [(i, j) for i, a in enumerate(first) for j, b in enumerate(second) if torch.equal(a.mask, b.mask.flip(1))]
    assert {i for i, _ in pairs} == {j for _, j in pairs} == set(range(3 * BLOCK))
    assert not all(torch.equal(a.mask, b.mask.flip(1)) for a, b in zip(first, second, strict=True))
    # The same at any step, however training came to it.
    again = Crops(files, [], batch=3, seed=1, echoed=True)(BLOCK + 1)
    assert all(torch.equal(a.features.rows, b.features.rows) for a, b in zip(again, steps[BLOCK + 1], strict=True))
    assert not torch.equal(crops(2 * BLOCK)[0].features.rows, first[0].features.rows)


@pytest.mark.slow
def test_samples_depend_neither_on_who_makes_them_nor_on_what_is_made_ahead(tmp_path: Path) -> None:
    """One process without workers, two with one and two."""
    files = write_samples(tmp_path, 3)
    alone = Crops(files, [], batch=3, seed=1, echoed=True)
    groups = [Group(rank, 2) for rank in range(2)]
    shares = [Crops(files, [], 3, 1, echoed=True, workers=1 + of.rank, places=of.places(3)) for of in groups]
    for step in (0, 1, BLOCK, 2 * BLOCK + 1):
        whole = alone(step)
        for of, share in zip(groups, shares, strict=True):
            made = share(step)
            assert len(made) == len(of.places(3))
            for place, sample_of in zip(of.places(3), made, strict=True):
                assert torch.equal(sample_of.mask, whole[place].mask) and torch.equal(sample_of.target, whole[place].target)
    for share in shares:
        share.close()


def test_batches_depend_on_seed_and_step_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_samples(tmp_path, 3)
    model = ToldModel("compact")
    crops = Crops(files, [model], batch=3, seed=1, simulated=0.5)
    first = crops(4)
    again = Crops(files, [ToldModel("compact")], batch=3, seed=1, simulated=1.0)(4)
    assert len(first) == len(again) == 3
    fresh = Crops(files, [], batch=3, seed=1, simulated=0.0)
    for a, b in zip(fresh(4), fresh(4), strict=True):
        assert torch.equal(a.mask, b.mask) and torch.equal(a.target, b.target)
    assert not all(torch.equal(a.mask, b.mask) for a, b in zip(fresh(4), fresh(5), strict=True))
    assert all(s.target.numel() > 1000 and s.target.numel() == int(s.mask.sum()) for s in (*first, *again))
    for step in range(8):
        crops(step)
    assert 1 <= len(model.calls) <= 3  # one view per file, kept


def test_scenes_without_uncertain_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops_module, "FEWEST_ACTIVE", SIDE * SIDE)
    monkeypatch.setattr(draws, "PATIENCE", 2)
    with pytest.raises(DatasetError, match="other scenes"):
        Crops(write_samples(tmp_path, 1), [], batch=2, seed=1)(0)
