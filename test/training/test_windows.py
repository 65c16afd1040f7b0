"""Training windows show a network what its tiles show it at run time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.errors import DatasetError
from depth_retrofit_ros.pointcloud.exact_normals import exact_normals
from depth_retrofit_ros.refinement.base import RefinerInput
from depth_retrofit_ros.refinement.tiles.refiner import TileAnswer, TileRefiner, Tiles
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.training.crops import crop_score, selected_in
from depth_retrofit_ros.training.windows import LEAST_SELECTED, Window, Windows, cut_window, with_normals
from depth_retrofit_ros.upsampling.edge_aware import guided_upsample, thumbnail
from test.training.samples import HEIGHT, SIDE, WIDTH, full_frame, sample, view_of, write_samples

CPU, SIZE = torch.device("cpu"), (HEIGHT, WIDTH)
PLACE = (5, 11, 48, 64)


class Recorder:
    """Keeps what it is shown."""

    name, side, overlap, together, context = "recorder", 32, 8, 10_000, 0

    def __init__(self) -> None:
        self.seen: list[Tiles] = []

    def project(
        self, coarse: CoarsePrediction, small: torch.Tensor, score: torch.Tensor, model: str, camera: Camera | None
    ) -> torch.Tensor:
        return torch.stack((coarse.depth, score))

    def __call__(self, tiles: Tiles) -> TileAnswer:
        self.seen.append(tiles)
        return TileAnswer(torch.zeros_like(tiles.level[:, 0]))


def window(index: int = 0) -> Window:
    data = sample()
    view = view_of(data, factor=1.7)
    score = crop_score(data, index, view)
    return cut_window(data, index, view, score, selected_in(data, index, score, 0.1), PLACE)


@pytest.mark.parametrize("index", [0, 1])
def test_a_network_is_shown_what_it_is_shown_at_run_time(index: int) -> None:
    part, network = window(index), Recorder()
    image = torch.from_numpy(full_frame()[0])
    coarse = CoarsePrediction(part.view.depth, part.view.features)
    small = thumbnail(torch.from_numpy(sample()["view"]), coarse.depth)  # as the pool has it, in whole numbers
    everything = PixelSet.from_mask(torch.ones(SIZE, dtype=torch.bool))
    depth = guided_upsample(coarse.depth, image, small)
    TileRefiner(network, CPU).refine(RefinerInput(image, small, coarse, depth, part.score, everything))
    (frame,) = network.seen
    y, x = part.origin
    h, w = part.depth.shape
    within = (frame.origins >= torch.tensor([y, x])).all(1) & (frame.origins + 32 <= torch.tensor([y + h, x + w])).all(1)
    assert within.any()
    shown = part.tiles(network, frame.origins[within] - torch.tensor([y, x]))
    assert torch.equal(shown.colors, frame.colors[within]) and torch.equal(shown.origins, frame.origins[within])
    torch.testing.assert_close(shown.level, frame.level[within], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(shown.under(16), frame.under(16)[within])
    assert shown.size == frame.size == SIZE


def test_its_target_has_the_edges_of_the_truth_in_the_scale_of_the_coarse_map() -> None:
    part = window()
    truth, known = part.truth, part.truth.isfinite()
    apart = (part.target.exp() / truth)[known]
    assert float((apart / 1.7 - 1).abs().quantile(0.9)) < 0.03
    assert part.selected.shape == part.target.shape == part.truth.shape == PLACE[2:]


def test_normals_are_those_of_the_frame() -> None:
    part = with_normals(window())
    assert part.normals is not None
    y, x = part.origin
    inside = (slice(None), slice(y, y + PLACE[2]), slice(x, x + PLACE[3]))
    frame = exact_normals(full_frame()[1], part.camera)[inside]
    ours = part.normals.numpy()
    known = np.isfinite(ours).all(0) & np.isfinite(frame).all(0)
    assert known.mean() > 0.5
    np.testing.assert_allclose(ours[:, known], frame[:, known], atol=2e-3)


def test_a_mirrored_window_is_one_of_the_mirrored_world(tmp_path: Path) -> None:
    mirrored = Windows([PLACE[2:]], [tmp_path], [], batch=1, seed=0).mirrored(with_normals(window()))
    data, (y, x, h, w) = sample(mirrored=True), PLACE
    score = crop_score(data, 0, mirrored.view)
    other = cut_window(data, 0, mirrored.view, score, selected_in(data, 0, score, 0.1), (y, SIDE - x - w, h, w))
    assert mirrored.origin == other.origin and torch.equal(mirrored.image, other.image)
    torch.testing.assert_close(mirrored.depth, other.depth, rtol=1e-4, atol=0)
    torch.testing.assert_close(mirrored.target, other.target, rtol=0, atol=2e-2)
    again = with_normals(other).normals
    assert mirrored.normals is not None and again is not None
    known = (mirrored.normals.isfinite() & again.isfinite()).all(0)
    assert float(known.float().mean()) > 0.5
    torch.testing.assert_close(mirrored.normals[:, known], again[:, known], rtol=0, atol=2e-3)


def test_windows_are_drawn_where_much_is_selected_and_each_the_same_again(tmp_path: Path) -> None:
    files = write_samples(tmp_path, 2)
    windows = Windows([(32, 64), (64, 32)], files, [], batch=3, seed=1)
    first = windows(0)
    assert {tuple(part.depth.shape) for step in range(4) for part in windows(step)} == {(32, 64), (64, 32)}
    assert all(float(part.selected.float().mean()) >= LEAST_SELECTED for part in first)
    again = Windows([(32, 64), (64, 32)], files, [], batch=3, seed=1)(0)
    assert all(torch.equal(a.target, b.target) for a, b in zip(first, again, strict=True))


def test_scenes_without_uncertain_windows_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depth_retrofit_ros.training.windows.LEAST_SELECTED", 1.1)
    monkeypatch.setattr("depth_retrofit_ros.training.draws.PATIENCE", 2)
    with pytest.raises(DatasetError, match="other scenes"):
        Windows([(32, 32)], write_samples(tmp_path, 1), [], batch=2, seed=1)(0)
