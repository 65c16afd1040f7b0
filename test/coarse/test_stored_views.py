"""Several views' predictions from files: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.networks.signed_log import exp_signed
from depth_retrofit_ros.coarse.stored_views import StoredViews
from depth_retrofit_ros.coarse.views import CoarseView, GivenCoarse, MultiViewModel
from depth_retrofit_ros.errors import DatasetError, ModelError
from test.refinement.nets import two_planes

CPU = torch.device("cpu")
IMAGE = torch.zeros(36, 48, 3, dtype=torch.uint8)
POSE = np.eye(4)[:3]
K = np.array([[20.0, 0, 11.5], [0, 20.0, 8.5], [0, 0, 1]])


def arrays(**changed: Any) -> dict[str, Any]:
    depth = np.random.default_rng(0).uniform(1, 5, (18, 24))
    return {"depth": depth, "K": K, "camera_from_world": POSE, "metric": True, **changed}


def read(folder: Path, point_maps: bool = False, **changed: Any) -> CoarseView:
    np.savez(folder / "a.npz", **{name: value for name, value in arrays(**changed).items() if value is not None})
    return StoredViews(folder, ["a"], CPU).predict_views([IMAGE], point_maps)[0]


def test_a_view_is_read(tmp_path: Path) -> None:
    pose = np.array([[0, -1, 0, 0.5], [1, 0, 0, -2.0], [0, 0, 1, 3.0]])
    view = read(tmp_path, camera_from_world=pose, confidence=np.full((18, 24), 2.0))
    assert torch.equal(view.prediction.depth, torch.from_numpy(arrays()["depth"]).float())
    assert (view.camera.width, view.camera.height, view.camera.fx) == (48, 36, 40.0)
    assert view.camera.cx == pytest.approx(23.5)  # the middle stays the middle
    assert np.array_equal(view.camera_from_world, pose)
    assert view.confidence is not None and float(view.confidence[3, 3]) == 2.0
    assert view.point_map is None


def test_points_are_read_into_their_raw_space(tmp_path: Path) -> None:
    points = np.random.default_rng(1).normal(size=(3, 18, 24))
    view = read(tmp_path, True, points=points, point_features=np.ones((4, 18, 24)), point_confidence=np.full((18, 24), 3.0))
    assert view.point_map is not None and view.point_map.confidence is not None
    assert torch.allclose(exp_signed(view.point_map.raw), torch.from_numpy(points).float(), atol=1e-5)
    assert view.point_map.features.shape == (4, 18, 24)


def test_metres_are_the_files_word(tmp_path: Path) -> None:
    for name, metric in (("a", True), ("b", False)):
        np.savez(tmp_path / f"{name}.npz", **arrays(metric=metric))
    assert str(StoredViews(tmp_path, ["a"], CPU).claim) == "metric on the word of its file"
    assert str(StoredViews(tmp_path, ["b"], CPU).claim) == "relative, up to an unknown scale"
    assert isinstance(StoredViews(tmp_path, ["b"], CPU), MultiViewModel)
    with pytest.raises(DatasetError, match=r"some files in .* are metric and some are not"):
        StoredViews(tmp_path, ["a", "b"], CPU)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"K": None}, "has no 'K'"),
        ({"K": np.eye(2)}, r"K must be \[3, 3\]"),
        ({"K": np.diag([0.0, 0.0, 1.0]) + K * [[0, 0, 1], [0, 0, 1], [0, 0, 0]]}, "not usable"),
        ({"K": K * [[9.0], [9.0], [1.0]]}, r"K's center \(103\.5, 76\.5\) lies outside of its 24x18 map"),
        ({"depth": arrays()["depth"].T, "K": K[[1, 0, 2]][:, [1, 0, 2]]}, "its map is 18x24 and the image 48x36"),
        ({"confidence": np.ones((10, 10))}, r"confidence must be \[18, 24\] as depth is, not \[10, 10\]"),
        ({"camera_from_world": np.eye(4)}, r"camera_from_world \[3, 4\]"),
        ({"camera_from_world": 2 * POSE}, "must be a rotation beside a translation"),
        ({"camera_from_world": POSE * np.nan}, "must be a rotation beside a translation"),
        ({"confidence": np.full((18, 24), np.inf)}, "'confidence' must be finite"),
        ({"depth": None}, "has no 'depth'"),
        ({"depth": None, "disparity": np.ones((18, 24))}, "has 'disparity' but views are put together from depth"),
        ({"depth": None, "other": np.ones((18, 24))}, "has no 'depth'"),
        ({"depth": -arrays()["depth"]}, "'depth' is below 0"),
        ({"points": np.ones((4, 18, 24))}, r"points must be \[3, h, w\]"),
    ],
)
def test_what_is_no_view_is_refused_in_one_line(changed: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=told) as error:
        read(tmp_path, "points" in changed, **changed)
    assert "a.npz" in str(error.value) and "\n" not in str(error.value)
    assert "--" not in str(error.value)  # reconstruct has no option for what a map is


@pytest.mark.parametrize("suffix", [".npy", ".pfm", ".png"])
def test_a_map_without_a_camera_is_refused(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"a\.npz is missing: store the view there, with depth, K and camera_from_world"):
        StoredViews(tmp_path, ["a"], CPU)
    (tmp_path / f"a{suffix}").touch()
    with pytest.raises(DatasetError, match=rf"a\{suffix} has no camera: store the view as a\.npz"):
        StoredViews(tmp_path, ["a"], CPU)


def test_point_maps_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no 'points': store them, or reconstruct from depth"):
        read(tmp_path, True)


def test_a_given_prediction_answers_images_that_are_no_smaller() -> None:
    given = GivenCoarse(two_planes(18, 24), "vggt", ScaleClaim("up-to-scale", "never"))
    assert given.predict(IMAGE, None) is given.prediction
    with pytest.raises(DatasetError, match="the depth of vggt is 24x18, larger than its image"):
        given.predict(IMAGE[:10], None)
