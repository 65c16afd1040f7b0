"""What is said of frames that end after the node let go of their model, and of a model whose node could not be configured."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import GraphError
from depth_retrofit_ros.frame import DepthFrame
from depth_retrofit_ros.ros.health.diagnostics import Health
from depth_retrofit_ros.ros.health.monitor import FrameMonitor
from depth_retrofit_ros.ros.health.throttled_log import ThrottledLogger
from depth_retrofit_ros.ros.node.processor import Processor
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from test.ros.graph import Graph, SlantedWall, record, small_retrofit


def test_an_abandoned_frame_may_end_when_the_model_is_gone(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), start=False)
    health, log = Health(node.settings), ThrottledLogger(graph.client.get_logger())
    warnings = record(graph.client.get_logger())
    monitor = FrameMonitor(graph.client, health, log, SlantedWall(metric=False).claim)
    health.claim = None  # as after a cleanup
    depth = torch.ones(4, 4)
    nothing = PixelSet.from_indices(torch.zeros(0, dtype=torch.int64), (4, 4))
    monitor.scaled(DepthFrame(depth, depth, depth, None, nothing, torch.zeros(0), camera=Camera.from_hfov(4, 4, 60.0)), None)
    assert ["up to an unknown scale and shift" in line for line in warnings] == [True]


def test_a_processor_that_cannot_be_leaves_no_claim(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), start=False)
    health, log = Health(node.settings), ThrottledLogger(graph.client.get_logger())
    method = small_retrofit(SlantedWall(), node.settings)

    def refuse(*arguments: Any) -> Any:
        raise GraphError("an override that means nothing")

    with pytest.raises(GraphError):
        Processor(graph.client, method, health, log, refuse)
    assert health.claim is None
    processor = Processor(graph.client, method, health, log)
    assert health.claim is method.coarse.claim
    assert processor.destroy()
