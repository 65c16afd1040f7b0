"""Views of a scene that is known exactly: refined, brought into one frame, merged, written."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_retrofit_ros.coarse.networks.signed_log import exp_signed, log_signed
from depth_retrofit_ros.frame import DepthFrame
from depth_retrofit_ros.reconstruction.cloud import cloud_points, confidence_limit
from depth_retrofit_ros.reconstruction.geometry import inverse, moved, rays
from depth_retrofit_ros.reconstruction.reconstruct import Reconstruction, reconstruct
from depth_retrofit_ros.reconstruction.refined_view import Geometry, RefinedView, ViewRefiner, depth_of_points
from depth_retrofit_ros.reconstruction.result_files import write_reconstruction
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from test.reconstruction.scene import BOX, COARSE, WALL, WORLD_FROM, ExactModel, coarse_view, exact_depth, image, turned
from test.refinement.nets import random_refiner

IMAGES = [partial(image, i) for i in range(3)]


def from_known(geometry: Geometry = "depth", budget: float = 0.0, drop: float = 0.25, **model: object) -> Reconstruction:
    return reconstruct(ExactModel(**model), random_refiner(), IMAGES, budget, geometry, drop)  # type: ignore[arg-type]


def off_surface(points: np.ndarray) -> np.ndarray:
    """Distance of points ``[3, …]`` in the world from the wall or the box's front, whichever is nearer."""
    z = points[2]
    return np.minimum(np.abs(z - WALL), np.abs(z - BOX))


@pytest.mark.parametrize("geometry", ["depth", "points"])
def test_all_views_lie_on_the_same_surfaces(geometry: Geometry) -> None:
    for view in from_known(geometry).views:
        assert view.points.shape == (3, 72, 96)
        off = off_surface(view.points)
        assert np.median(off) < 2e-3
        assert (off > 0.05).mean() < 0.1  # along the box's outline, where a coarse pixel is both


@pytest.mark.parametrize("geometry", ["depth", "points"])
def test_the_world_is_the_first_camera_whatever_the_model_s_was(geometry: Geometry) -> None:
    moved_world = list(from_known(geometry, world=turned(0.8, (3.0, -1.0, 2.0))).views)
    plain = list(from_known(geometry).views)
    assert np.allclose(moved_world[0].camera_from_world, np.eye(4)[:3], atol=1e-6)
    for view, expected, pose in zip(moved_world, plain, WORLD_FROM, strict=True):
        assert np.allclose(view.camera_from_world, inverse(pose), atol=1e-5)
        assert np.allclose(view.points, expected.points, atol=2e-3)


def test_depth_and_its_points_are_the_same_geometry() -> None:
    for view in from_known(budget=0.2).views:
        expected = moved(rays(view.camera) * view.frame.depth.numpy(), inverse(view.camera_from_world))
        assert np.allclose(view.points, expected, atol=1e-5)


def test_a_point_map_is_mixed_in_its_raw_space() -> None:
    """Where refined, the gate's mix of the signed logarithms; elsewhere the base depth along the map's rays."""
    view = coarse_view(1)
    refined = ViewRefiner("exact", ExactModel().claim, random_refiner(), 0.2, "points")(image(1), view)
    frame = refined.frame
    chosen = frame.selection.indices.long()
    share = (1 - frame.gate).double()
    base = frame.base.flatten().double()[chosen]
    pure = base * ((frame.depth.flatten().double()[chosen] / base).log() / share).exp()
    looks = torch.from_numpy(rays(view.camera)).double().flatten(1)[:, chosen]
    world = torch.from_numpy(inverse(view.camera_from_world))
    coarse, after = (world[:, :3] @ (looks * depth) + world[:, 3:] for depth in (base, pure))
    mixed = exp_signed((1 - share) * log_signed(coarse) + share * log_signed(after))
    got = torch.from_numpy(refined.points).flatten(1).double()
    assert float((frame.depth - frame.base).abs().max()) > 0.05
    assert torch.allclose(got[:, chosen], mixed, rtol=2e-3, atol=2e-3)
    others = torch.ones(got.shape[1], dtype=torch.bool)
    others[chosen] = False
    everywhere = torch.from_numpy(rays(view.camera)).double().flatten(1) * frame.base.flatten().double()
    assert torch.allclose(got[:, others], (world[:, :3] @ everywhere + world[:, 3:])[:, others], rtol=2e-3, atol=2e-3)


def test_what_a_point_map_has_behind_the_camera_is_no_surface() -> None:
    view = coarse_view(0, confidence=3.0)
    assert view.point_map is not None
    view.point_map.raw[2, :4] = -1.0
    prediction, confidence = depth_of_points(view, view.point_map)
    assert bool((prediction.depth > 0).all())
    assert bool((confidence[:4] == 0).all()) and bool((confidence[4:] == 3).all())
    refined = ViewRefiner("exact", ExactModel().claim, random_refiner(), 0.1, "points")(image(0), view)
    assert np.isfinite(refined.points).all()
    positions, _ = cloud_points(refined, 0.0, 1)
    assert 0.7 * 72 * 96 < len(positions) < 0.9 * 72 * 96


@pytest.mark.parametrize("confidence", [None, 2.0])
def test_the_sky_has_no_points(confidence: float | None) -> None:
    view = coarse_view(0, confidence)
    sky = torch.zeros(24, 32, dtype=torch.bool)
    sky[:8] = True
    view = replace(view, prediction=replace(view.prediction, sky=sky))
    refined = ViewRefiner("exact", ExactModel().claim, random_refiner(), 0.0)(image(0), view)
    positions, _ = cloud_points(refined, 0.0, 1)
    assert len(positions) == (72 - 24) * 96


def test_the_least_confident_share_is_left_out_over_all_views() -> None:
    result = from_known(confidences=(5.0, 1.0, 3.0), drop=0.4)
    counts = [len(cloud_points(view, result.limit, 1)[0]) for view in result.views]
    assert counts == [72 * 96, 0, 72 * 96]


def test_without_confidence_nothing_is_left_out() -> None:
    assert from_known(drop=0.9).limit == 0
    assert confidence_limit([None, None], 0.5) == 0
    assert confidence_limit([torch.arange(101.0)], 0.25) == pytest.approx(25.0)
    assert confidence_limit([torch.arange(101.0)], 0.0) == 0


def view_of(depth: np.ndarray, points: np.ndarray, confidence: np.ndarray | None) -> RefinedView:
    picture = np.arange(depth.size * 3, dtype=np.uint8).reshape(*depth.shape, 3)
    view = coarse_view(0)
    empty = torch.empty(0, dtype=torch.int64)
    tensor = torch.from_numpy(depth)
    pixels = PixelSet.from_indices(empty, (depth.shape[0], depth.shape[1]))
    frame = DepthFrame(tensor, tensor, tensor, None, pixels, torch.empty(0))
    return RefinedView(picture, frame, points, confidence, view.camera, view.camera_from_world)


def test_points_keep_their_colours_and_unknown_ones_are_left_out() -> None:
    depth = np.ones((4, 6), np.float32)
    depth[0, 0], depth[2, 2] = np.nan, 0.0
    points = np.stack([np.full((4, 6), c, np.float32) for c in (1, 2, 3)])
    points[1, 2, 4] = np.inf
    points[0] = np.arange(24).reshape(4, 6)
    positions, colors = cloud_points(view_of(depth, points, None), 0.0, 2)
    assert positions[:, 0].tolist() == [2.0, 4.0, 12.0]
    assert colors.tolist() == [[6, 7, 8], [12, 13, 14], [36, 37, 38]]
    assert positions.dtype == np.float32 and colors.dtype == np.uint8


def test_confidence_0_is_left_out_whatever_the_limit() -> None:
    confidence = np.zeros((2, 2), np.float32)
    confidence[0, 1] = 1e-3
    positions, _ = cloud_points(view_of(np.ones((2, 2), np.float32), np.ones((3, 2, 2), np.float32), confidence), 0.0, 1)
    assert len(positions) == 1


def test_the_files(tmp_path: Path) -> None:
    seen: list[str] = []
    result = from_known(budget=0.1, confidences=(2.0, 2.0, 2.0))
    count = write_reconstruction(tmp_path, ["a", "b", "c"], result, 2, True, lambda name, view: seen.append(name))
    assert seen == ["a", "b", "c"]
    assert count == 3 * 36 * 48
    data = (tmp_path / "cloud.ply").read_bytes()
    header, _, body = data.partition(b"end_header\n")
    assert f"element vertex {count}\n".encode() in header and b"comment metres" in header
    vertices = np.frombuffer(body, [("position", "<f4", 3), ("colour", "u1", 3)])
    assert len(vertices) == count
    assert np.median(off_surface(vertices["position"].T)) < 5e-3
    about = json.loads((tmp_path / "cameras.json").read_text())
    assert about["metric"] and about["points"] == count and about["cloud"] == "cloud.ply"
    assert [view["name"] for view in about["views"]] == ["a", "b", "c"]
    assert np.allclose(about["views"][2]["camera_from_world"], inverse(WORLD_FROM[2]), atol=1e-6)
    for view in about["views"]:
        assert (view["width"], view["height"]) == (96, 72)
        assert all((tmp_path / name).is_file() for name in view["files"].values())
    with np.load(tmp_path / about["views"][1]["files"]["npz"]) as stored:
        assert stored["depth"].shape == (72, 96)
        assert stored["points"].shape == (3, 72, 96)
        assert float(stored["fx"]) == pytest.approx(about["views"][1]["fx"])
        known = np.abs(stored["depth"] / exact_depth(COARSE.resized(96, 72), WORLD_FROM[1]) - 1)
    assert np.median(known) < 0.02


def test_one_image_at_a_time_is_in_memory() -> None:
    """Views are refined as they are taken, and each image is read for its own."""
    reads: list[int] = []

    def reader(number: int) -> np.ndarray:
        reads.append(number)
        return image(number)

    views = reconstruct(ExactModel(), random_refiner(), [partial(reader, i) for i in range(3)], 0.0).views
    assert reads == [0, 1, 2]
    next(views)
    assert reads == [0, 1, 2, 0]
