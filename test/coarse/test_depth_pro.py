"""Depth Pro: metres for any camera, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse import depth_pro
from depth_retrofit_ros.coarse.transformers_model import NetworkModel
from test.coarse import tiny_networks as tiny
from test.coarse.families import CPU, FAMILIES, image, model_of

pytest.importorskip("transformers")


def _raw(model: NetworkModel, frame: Tensor) -> Tensor:
    with torch.no_grad():
        answer: Tensor = model.network(model.planes(frame))[0][0]
        return answer


def test_depth_pro_s_metres_by_hand() -> None:
    """A frame twice as wide as high is stretched to a square: what counts is its width over its horizontal focal length."""
    model, frame = model_of(FAMILIES["depth pro"]), image(60, 120)
    raw, camera = _raw(model, frame), Camera(120, 60, 100.0, 100.0, 59.5, 29.5)
    expected = 1 / (raw * 120 / 100.0).clamp(1e-4, 1e4)
    torch.testing.assert_close(model.predict(frame, camera).depth, expected)


def test_depth_pro_follows_the_lens_and_not_the_sensor_s_pixels() -> None:
    model, frame = model_of(FAMILIES["depth pro"]), image(60, 120)
    camera = Camera.from_hfov(120, 60, 70.0)
    depth = model.predict(frame, camera).depth
    torch.testing.assert_close(model.predict(frame, camera.resized(2400, 1200)).depth, depth)
    longer = Camera(120, 60, 2 * camera.fx, 2 * camera.fy, camera.cx, camera.cy)
    far = depth < 4e3
    torch.testing.assert_close(model.predict(frame, longer).depth[far], 2 * depth[far])
    squeezed = Camera(120, 60, camera.fx, 3 * camera.fy, camera.cx, camera.cy)
    torch.testing.assert_close(model.predict(frame, squeezed).depth, depth)


def test_depth_pro_without_a_camera_goes_by_its_own_field_of_view() -> None:
    model, frame = model_of(FAMILIES["depth pro"]), image(60, 120)
    net = model.network.net
    with torch.no_grad():
        output = net(pixel_values=model.planes(frame))
    view_deg = float(output.field_of_view)
    expected = 1 / (_raw(model, frame) * 2 * math.tan(math.radians(view_deg) / 2)).clamp(1e-4, 1e4)
    torch.testing.assert_close(model.predict(frame, None).depth, expected)
    blind = depth_pro.DepthPro(
        depth_pro.DepthProNetwork(tiny.depth_pro(use_fov_model=False)), "blind", model.claim, CPU, model.size
    )
    torch.testing.assert_close(blind.predict(frame, None).depth, 1 / _raw(blind, frame).clamp(1e-4, 1e4))
