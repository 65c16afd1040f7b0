"""The sky, where the model says so, is no surface."""

from __future__ import annotations

from dataclasses import replace

import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.views import GivenCoarse
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.pointcloud.normals import surface_normals
from depth_retrofit_ros.pointcloud.surfaces import surface_depth
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from test.refinement.nets import random_refiner


def frame(sky: torch.Tensor | None) -> DepthFrame:
    """Things at 5 m below, 40 m above; two pixels there are refined, one of them to a thing at 6 m."""
    coarse = torch.full((2, 2), 5.0)
    coarse[0] = 40.0
    depth = coarse.repeat_interleave(3, 0).repeat_interleave(3, 1)
    depth[0, 1], depth[0, 2] = 6.0, 39.0
    pixels = PixelSet.from_indices(torch.tensor([1, 2, 20]), (6, 6))
    return DepthFrame(depth, depth, coarse, "model", pixels, torch.zeros(3), camera=Camera.from_hfov(6, 6, 60.0), sky=sky)


def test_the_sky_has_no_depth_but_for_what_refinement_found_before_it() -> None:
    sky = torch.tensor([[True, True], [False, False]])
    result = frame(sky)
    expected = result.depth.clone()
    expected[:3] = torch.nan
    expected[0, 1] = 6.0
    torch.testing.assert_close(surface_depth(result), expected, equal_nan=True)
    assert bool(result.depth.isfinite().all()), "the frame's own depth is as it was"
    assert torch.equal(surface_normals(result).isfinite().all(0), expected.isfinite())


def test_a_hole_within_the_sky_does_not_bring_it_back() -> None:
    sky = torch.tensor([[True, True], [False, False]])
    result = frame(sky)
    result.coarse[0, 1] = torch.nan
    assert surface_depth(result)[0, 2:].isnan().all() and float(surface_depth(result)[0, 1]) == 6.0


def test_scale_does_not_matter_and_without_a_word_of_sky_all_is_surface() -> None:
    sky = torch.tensor([[True, False], [False, False]])
    result = frame(sky)
    metres = replace(result, depth=0.01 * result.depth, coarse=0.01 * result.coarse)
    torch.testing.assert_close(surface_depth(metres), 0.01 * surface_depth(result), equal_nan=True)
    assert surface_depth(frame(None)).isfinite().all()
    assert surface_depth(frame(torch.zeros(2, 2, dtype=torch.bool))).isfinite().all()


def test_a_frame_has_the_sky_of_its_coarse_model() -> None:
    sky = torch.zeros(6, 8, dtype=torch.bool)
    sky[:3] = True
    prediction = CoarsePrediction(torch.where(sky, 500.0, 3.0), torch.zeros(1, 6, 8), sky)
    model = GivenCoarse(prediction, "given", ScaleClaim("metric", "camera"))
    image = torch.randint(0, 255, (60, 80, 3), dtype=torch.uint8).numpy()
    result = Retrofit(model, random_refiner(), 0.0)(Frame(image, camera=Camera.from_hfov(80, 60, 60.0)))
    assert surface_depth(result)[:30].isnan().all() and surface_depth(result)[30:].isfinite().all()
