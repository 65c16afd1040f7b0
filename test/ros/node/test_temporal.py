"""Depth that is held steady over time, on the graph."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.temporal.coarse_filter import FARTHEST, RECENT_S
from test.ros.graph import NODE, Graph, SlantedWall, image_message, info_message, wait_until

HELD = np.exp(np.log(1.1) * -np.exp(-1 / RECENT_S) - FARTHEST)  # the factor on a scale that grew by a tenth in a second


class Growing(SlantedWall):
    """Its scale grows by a tenth from one second's image to the next."""

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel.predict``."""
        told = super().predict(image, camera, hints)
        seconds = 0 if hints.stamp_ns is None else hints.stamp_ns // 10**9 - 100
        return dataclasses.replace(told, depth=told.depth * 1.1**seconds)


def test_it_is_chosen_while_inactive_and_begins_anew_with_each_activation(graph: Graph) -> None:
    node = graph.depth_node(Growing())
    stats = graph.listen(FrameStats, f"{NODE}/frame_stats")
    graph.listen(Image, f"{NODE}/depth/image_rect")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    pixels = image_message().data

    def answered(stamp_s: int) -> Any:
        message = image_message(stamp_s=stamp_s)
        message.data = pixels
        before = len(stats)
        images.publish(message)
        wait_until(lambda: len(stats) > before, f"the answer to {stamp_s}")
        return stats[-1]

    def activated(temporal: bool) -> None:
        node.trigger_deactivate()
        assert graph.set_parameter(node, "temporal", temporal).successful
        node.trigger_activate()
        wait_until(lambda: images.get_subscription_count() > 0, "the node's subscription")

    assert [answered(second).temporal_scale for second in (100, 101)] == [1.0, 1.0]
    assert "deactivate the node first" in graph.set_parameter(node, "temporal", True).reason
    activated(True)
    assert answered(102).temporal_scale == 1.0
    assert answered(103).temporal_scale == pytest.approx(HELD, rel=0.002)
    assert graph.call(Trigger, f"{NODE}/reset", Trigger.Request()).success
    assert answered(104).temporal_scale == 1.0
    assert answered(105).temporal_scale == pytest.approx(HELD, rel=0.002)
    activated(True)
    assert answered(106).temporal_scale == 1.0
    activated(False)
    assert [answered(second).temporal_scale for second in (107, 108)] == [1.0, 1.0]
