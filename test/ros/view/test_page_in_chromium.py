"""The live page in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depth_retrofit_ros.ros.view import node_watch
from depth_retrofit_ros.ros.view.web_view import WebView
from test.ros.graph import Graph, SlantedWall, repeat_until, wait_until
from test.ros.view.chromium import PROGRAM, Chromium
from test.ros.view.test_web_view import Camera, inputs, remove
from test.ros.view.test_web_view import web as web

SCENE = (slice(200, 600), slice(480, 900))  # rows and columns of the window between the panels


def colorful(picture: np.ndarray) -> float:
    """The share of its pixels that are no gray of the page."""
    pixels = picture.astype(int)
    return float((np.ptp(pixels, axis=2) > 40).mean())


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed (apt install chromium)")
def test_the_page_shows_points_sets_the_budget_and_says_that_the_node_is_lost(
    graph: Graph, web: WebView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_watch, "LOST_S", 2.0)
    node: Any = graph.depth_node(SlantedWall(), budget=0.3, cloud_stride=1)
    with Chromium(tmp_path, web.address) as page:
        wait_until(lambda: len(inputs(graph)) == 5, "the page")
        send = Camera(graph)
        repeat_until(send, lambda: "frames/s" in page.text(), "the node's state")
        repeat_until(send, lambda: colorful(page.screenshot()[SCENE]) > 0.1, "the points")
        wait_until(lambda: page.evaluate("[...document.images].filter(i => i.naturalWidth == 64).length") == 2, "the pictures")

        page.evaluate("document.querySelector('[role=slider]').focus()")
        page.press("ArrowRight")
        wait_until(lambda: node.settings.budget == pytest.approx(0.31), "the parameter")
        wait_until(lambda: "the node took 0.31" in page.text(), "the node's answer")

        remove(graph, node)
        wait_until(lambda: "node lost, waiting" in page.text(), "the loss")
        strange = [url for url in page.requested if not url.startswith((web.address, f"ws{web.address[4:]}", "data:", "blob:"))]
        assert page.requested and not strange, "the page needs no network"
        assert not page.errors
