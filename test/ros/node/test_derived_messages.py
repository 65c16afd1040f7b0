"""What subscribers of several derived outputs get of a frame, and in whose memory it is made; without a graph."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.io.color_map import colorize
from depth_retrofit_ros.lens import Lens, RayTable
from depth_retrofit_ros.pointcloud.surfaces import surface_depth
from depth_retrofit_ros.ros.node.derived_messages import DerivedMessages, derived_settings
from depth_retrofit_ros.ros.node.outputs import _TOPICS, Outputs
from depth_retrofit_ros.ros.node.parameters import PARAMETERS, Settings
from depth_retrofit_ros.runtime import host_outputs
from depth_retrofit_ros.runtime.derived_outputs import DERIVED, device_takes
from depth_retrofit_ros.runtime.host_outputs import HostOutputs
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from test.io.test_rvl import decoded

CPU = torch.device("cpu")
HEADER = Header(frame_id="cam_optical_frame")
BOTH = ("depth_mm", "preview", "depth_mm_compressed", "preview_compressed")


def settings(**changes: Any) -> Settings:
    defaults: dict[str, Any] = {row.name: row.default for row in PARAMETERS}
    return replace(Settings(**defaults), **changes)


def answer(height: int = 12, width: int = 20, sky: torch.Tensor | None = None) -> tuple[DepthFrame, Frame]:
    camera = Camera(width, height, 15.0, 15.0, 0.4 * width, 0.5 * height)
    depth = torch.linspace(0.6, 9.0, height * width).view(height, width)
    depth[1, 2:6] = torch.tensor([torch.nan, torch.inf, 0.0, -1.0])
    nothing = PixelSet.from_mask(torch.zeros(height, width, dtype=torch.bool))
    made = DepthFrame(depth, depth, torch.full((2, 4), 9.0), "model", nothing, torch.ones(0), camera=camera, sky=sky)
    return made, Frame(np.zeros((height, width, 3), np.uint8), camera=camera)


class Listener:
    """A publisher's place that keeps what is sent."""

    def __init__(self, kind: type) -> None:
        self.kind, self.received = kind, list[Any]()

    def publish(self, message: Any) -> None:
        self.received.append(deserialize_message(message.tobytes(), self.kind) if isinstance(message, np.ndarray) else message)

    def get_subscription_count(self) -> int:
        return 1

    def destroy(self) -> None: ...


def sent(frame: Frame, result: DepthFrame, names: tuple[str, ...], **changes: Any) -> dict[str, Any]:
    """Output → its message, of those that went out."""
    topics = {topic: name for name, (_, topic, _) in _TOPICS.items()}
    listeners: dict[str, Listener] = {}

    def make(node: object, kind: type, topic: str, depth: int) -> Listener:
        return listeners.setdefault(topics[topic], Listener(kind))

    node: Any = SimpleNamespace(context=SimpleNamespace(ok=lambda: True))
    failed = Outputs(node, names, make).publish(frame, result, HEADER, None, settings(**changes)).failed
    assert not failed
    return {name: listener.received[0] for name, listener in listeners.items() if listener.received}


def test_compressed_millimeters_end_where_they_are_told_and_the_raw_ones_do_not() -> None:
    result, frame = answer()
    got = sent(frame, result, BOTH, compressed_depth_max=4.0)
    raw, compressed = got["depth_mm"], got["depth_mm_compressed"]
    assert isinstance(raw, Image) and isinstance(compressed, CompressedImage)
    millimeters = np.frombuffer(raw.data, np.uint16).reshape(12, 20)
    assert millimeters.max() == 9000 and (millimeters[1, 2:6] == 0).all()
    np.testing.assert_array_equal(decoded(bytes(compressed.data)[12:]), np.where(millimeters > 4000, 0, millimeters))


def test_two_previews_are_painted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    paint = mock.Mock(wraps=colorize)
    monkeypatch.setattr(host_outputs, "colorize", paint)
    result, frame = answer()
    fills = HostOutputs(CPU).begin(result, frame, BOTH, 1)
    first, second = np.zeros((2, 12, 20, 3), np.uint8)
    fills["preview_compressed"](first)
    fills["preview"](second)
    np.testing.assert_array_equal(first, second)
    assert paint.call_count == 1 and first.any()


def test_a_lens_that_bends_rays_has_no_disparity_and_no_scan_and_neither_has_a_frame_without_a_camera() -> None:
    result, frame = answer()
    assert frame.camera is not None
    rays = RayTable(Lens("equidistant", (0.01, 0.0, 0.0, 0.0), frame.camera))
    assert set(sent(frame, result, DERIVED)) == set(DERIVED)
    compressed = {"depth_compressed", "depth_mm_compressed", "preview_compressed"}
    assert set(sent(replace(frame, optics=rays), result, DERIVED)) == compressed
    assert set(sent(replace(frame, camera=None), replace(result, camera=None), DERIVED)) == compressed


def test_memory_is_allocated_once_per_size() -> None:
    messages, outputs, now = DerivedMessages(), HostOutputs(CPU), settings()

    def addresses(height: int, width: int) -> dict[str, int]:
        result, frame = answer(height, width)
        fills = outputs.begin(result, frame, DERIVED, 1, derived_settings(now))
        made = {name: messages.filled(name, fill, (height, width), frame.camera, HEADER, now) for name, fill in fills.items()}
        for name in ("depth_compressed", "depth_mm_compressed"):
            read = deserialize_message(made[name].tobytes(), CompressedImage)
            assert decoded(bytes(read.data)[12:]).shape == (height, width)
        return {name: message.ctypes.data for name, message in made.items()}

    first = addresses(12, 20)
    assert addresses(12, 20) == first and len(set(first.values())) == len(DERIVED)
    assert addresses(9, 31).keys() == addresses(12, 20).keys()


def test_a_device_makes_what_the_host_makes() -> None:
    """By the operations of a device, on a CPU; the sky is no surface, and no end of the scan."""
    sky = torch.zeros(2, 4, dtype=torch.bool)
    sky[:, 2:] = True
    for seen in (None, sky):
        result, frame = answer(sky=seen)
        derived = derived_settings(settings(scan_height=5))
        host = HostOutputs(CPU).begin(result, frame, DERIVED, 1, derived)
        made: dict[str, np.ndarray] = {"disparity": np.zeros((12, 20), np.float32), "scan": np.zeros(20, np.float32)}
        made["depth_compressed"] = np.zeros((12, 20), np.uint16)
        surfaces = surface_depth(result)
        takes = device_takes(
            lambda result=result: result,  # type: ignore[misc]  # as below
            frame.camera,
            derived,
            lambda name, tensor: tensor.numpy,
            lambda: pytest.fail("millimeters"),
            lambda: pytest.fail("preview"),
            lambda surfaces=surfaces: surfaces,  # type: ignore[misc]  # mypy infers no type of a default
        )
        for name, out in made.items():
            host[name](out)
            there = takes[name]()()
            assert there.dtype == out.dtype
            np.testing.assert_allclose(there.astype(np.float64), out, rtol=1e-6, atol=int(name == "depth_compressed"))
        assert np.isposinf(made["scan"]).any() == (seen is not None)
