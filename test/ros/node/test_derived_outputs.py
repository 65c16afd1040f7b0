"""One frame as compressed depth, compressed preview, disparity and scan: all of the same depth, in a live graph."""

from __future__ import annotations

import struct
import sys
from typing import Any
from unittest import mock

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan
from stereo_msgs.msg import DisparityImage

from test.io.test_rvl import decoded
from test.ros.graph import NODE, Graph, SlantedWall, image_message, info_message, pixels_of, wait_until

OUTPUTS = ["depth", "depth_mm", "preview", "depth_compressed", "depth_mm_compressed", "preview_compressed", "disparity", "scan"]


def test_every_derived_output_is_of_the_depth_that_is_sent(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), outputs=OUTPUTS, disparity_baseline=0.2, scan_height=3, scan_range_max=5.0)
    kinds: dict[str, Any] = {
        "depth/image_rect": Image,
        "depth/image_rect_raw": Image,
        "depth/preview": Image,
        "disparity": DisparityImage,
    }
    kinds |= {name: CompressedImage for name in ("depth/image_rect/compressedDepth", "depth/image_rect_raw/compressedDepth")}
    kinds |= {"depth/preview/compressed": CompressedImage, "scan": LaserScan}
    received = {name: graph.listen(kind, f"{NODE}/{name}") for name, kind in kinds.items()}
    graph.publisher(CameraInfo, "/camera_info").publish(info_message(96, 128))
    images = graph.publisher(Image, "/image")
    image = image_message(96, 128, frame_id="cam_optical_frame")
    images.publish(image)
    wait_until(lambda: all(received.values()), "every output")
    for name, (message,) in received.items():
        assert message.header.stamp == image.header.stamp
        assert message.header.frame_id == ("cam_frame" if name == "scan" else "cam_optical_frame"), name
    depth, camera = pixels_of(received["depth/image_rect"][0]), info_message(96, 128).p

    compressed = received["depth/image_rect/compressedDepth"][0]
    data = bytes(compressed.data)
    _, a, b = struct.unpack_from("<iff", data)
    assert compressed.format == "32FC1; compressedDepth rvl"
    np.testing.assert_allclose(a / (decoded(data[12:]) - b), depth, rtol=2e-4)
    raw, millimeters = received["depth/image_rect_raw/compressedDepth"][0], received["depth/image_rect_raw"][0]
    assert raw.format == "16UC1; compressedDepth rvl"
    np.testing.assert_array_equal(decoded(bytes(raw.data)[12:]), np.frombuffer(millimeters.data, np.uint16).reshape(96, 128))

    jpeg = received["depth/preview/compressed"][0]
    assert jpeg.format == "rgb8; jpeg compressed bgr8"
    picture = np.asarray(cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_UNCHANGED))[..., ::-1]
    off = np.abs(picture.astype(int) - pixels_of(received["depth/preview"][0]))
    assert off.mean() < 6 and picture.shape == (96, 128, 3)

    disparities = received["disparity"][0]
    found = np.frombuffer(disparities.image.data, np.float32).reshape(96, 128)
    np.testing.assert_allclose(disparities.f * disparities.t / found, depth, rtol=1e-5)
    assert (disparities.f, disparities.t) == (np.float32(camera[0]), np.float32(0.2))

    scan = received["scan"][0]
    band = depth[round(camera[6]) - 1 : round(camera[6]) + 2]
    assert len(scan.ranges) == 128 and scan.range_max == 5.0
    assert band.min() <= min(scan.ranges) and max(scan.ranges) <= band.max() / np.cos(max(-scan.angle_min, scan.angle_max))

    assert graph.set_parameter(node, "compressed_depth_format", "png").successful
    assert graph.set_parameter(node, "compressed_depth_max", 2.0).successful
    images.publish(image_message(96, 128, stamp_s=200, frame_id="cam_optical_frame"))
    of_png = received["depth/image_rect/compressedDepth"]
    wait_until(lambda: len(of_png) == 2, "the same as PNG")
    assert of_png[1].format == "32FC1; compressedDepth png"
    values = np.asarray(cv2.imdecode(np.frombuffer(bytes(of_png[1].data)[12:], np.uint8), cv2.IMREAD_UNCHANGED))
    wait_until(lambda: len(received["depth/image_rect"]) == 2, "its depth")
    np.testing.assert_array_equal(values > 0, pixels_of(received["depth/image_rect"][1]) < 2.0)


def test_disparity_without_its_message_is_refused_and_relative_depth_has_none_of_them(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(metric=False), outputs=["depth", "depth_compressed", "scan"])
    with mock.patch.dict(sys.modules, {"stereo_msgs.msg": None}):
        result = graph.set_parameter(node, "outputs", ["depth", "disparity"])
    assert not result.successful and "stereo_msgs" in result.reason and "\n" not in result.reason
    depths = graph.listen(Image, f"{NODE}/depth/image_rect")
    compressed = graph.listen(CompressedImage, f"{NODE}/depth/image_rect/compressedDepth")
    scans = graph.listen(LaserScan, f"{NODE}/scan")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    for number in (1, 2):
        images.publish(image_message(stamp_s=number))
        wait_until(lambda n=number: len(depths) == n, f"depth {number}")  # type: ignore[misc]
    assert not compressed and not scans
