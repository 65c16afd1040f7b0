"""The live page of a node on a real graph: what a browser is sent, what it can ask for, and what it costs while nobody looks."""

from __future__ import annotations

import array
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image

from depth_retrofit_ros.ros.view import node_watch
from depth_retrofit_ros.ros.view.viewer import Viewer
from depth_retrofit_ros.ros.view.web_view import WebView
from test.ros.graph import NODE, Graph, SlantedWall, image_message, info_message, repeat_until, wait_until
from test.ros.view.page_client import PageClient


@pytest.fixture
def web(graph: Graph) -> Iterator[WebView]:
    """Served, and looked after by the graph's client node."""
    pytest.importorskip("viser", reason="viser is not installed (extra `web`)")
    with WebView("127.0.0.1", 0, NODE, "ROS domain 7", 500) as web:
        Viewer(graph.client, NODE, web.sink, 64, 0.0)
        web.attach(graph.client)
        yield web
        graph.executor.remove_node(graph.client)  # nothing is written to a page that is gone


class Camera:
    """Of the graph; sends an image more at each call."""

    def __init__(self, graph: Graph) -> None:
        self._images = graph.publisher(Image, "/image", listeners=2)
        self._infos = graph.publisher(CameraInfo, "/camera_info")
        self._stamp = 1

    def __call__(self) -> None:
        self._stamp += 1
        self._infos.publish(info_message())
        self._images.publish(image_message(stamp_s=self._stamp))


def decoded(data: bytes) -> np.ndarray:
    """A picture of the page."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture)


def inputs(graph: Graph) -> set[str]:
    """What the viewer's node is subscribed to."""
    return {subscription.topic_name for subscription in graph.client.subscriptions}


def remove(graph: Graph, node: Any) -> None:
    graph.executor.remove_node(node)
    node.destroy_node()
    graph.nodes.remove(node)


def test_browsers_see_pictures_and_cloud_and_cost_nothing_once_they_left(graph: Graph, web: WebView) -> None:
    node: Any = graph.depth_node(SlantedWall(), cloud_stride=1)
    assert not inputs(graph) and not list(graph.client.clients), "nobody is there"
    with PageClient(web.address) as first, PageClient(web.address) as second:
        wait_until(lambda: len(inputs(graph)) == 5, "the subscriptions of a page with image, depth and cloud")
        send = Camera(graph)
        for client in (first, second):
            repeat_until(send, lambda client=client: "points" in client.nodes.get("/cloud", {}), "a cloud")  # type: ignore[misc]
            wait_until(lambda client=client: len(client.pictures) == 2, "image and depth")  # type: ignore[misc]
            sizes = {decoded(data).shape for data in client.pictures}
            assert sizes == {(48, 64, 3)}
        repeat_until(send, lambda: "frames/s" in first.said and "received" in first.said, "the node's state")
        second.set("Points", 5000)
        wait_until(lambda: web.page.points == 5000, "the points")
        second.set("Points", 10**9)
        wait_until(lambda: web.page.points == 200_000, "no more than there may be")
        second.set("Points", 0)
        wait_until(lambda: f"{NODE}/points" not in inputs(graph), "the end of the cloud")
        second.set("Refined pixels", True)
        wait_until(lambda: f"{NODE}/depth/selection" in inputs(graph), "the selection")
        repeat_until(send, lambda: len(second.pictures) == 3, "the selection's picture")
        assert len(first.pictures) == 2, "each browser chooses its own"
        wait_until(lambda: not (first.find("Confidence") or {"visible": True})["visible"], "what this node offers")
        confidence = image_message(stamp_s=10**6)
        confidence.encoding, confidence.step, confidence.width = "32FC1", 4, 1
        confidence.data = array.array("B", np.full(48, 0.5, np.float32).tobytes())
        publisher = graph.client.create_publisher(Image, f"{NODE}/depth/confidence", 1)  # as a node that offers it
        first.set("Confidence", True)
        wait_until(lambda: publisher.get_subscription_count() > 0, "its subscription")
        repeat_until(lambda: publisher.publish(confidence), lambda: len(first.pictures) == 3, "its picture")
        grays = [decoded(data) for data in first.pictures]
        assert any(gray.shape == (48, 1, 3) and np.ptp(gray) == 0 and abs(int(gray[0, 0, 0]) - 128) < 3 for gray in grays)
    wait_until(lambda: not inputs(graph) and not list(graph.client.clients), "the end of all of it")
    wait_until(lambda: not node._processor._outputs.wanted, "the node's rest")


def test_the_slider_sets_the_nodes_budget_and_shows_what_it_says(graph: Graph, web: WebView) -> None:
    node: Any = graph.depth_node(SlantedWall(), budget=0.3)
    with PageClient(web.address) as browser:
        wait_until(lambda: (browser.find("Budget") or {}).get("value") == 0.3, "the node's own budget")
        browser.set("Budget", 0.55)
        wait_until(lambda: node.settings.budget == 0.55, "the parameter")
        wait_until(lambda: "the node took 0.55" in browser.said, "its answer")
        browser.set("Budget", 7.0)  # as no slider would: the node is the judge
        wait_until(lambda: "the node refused 7: " in browser.said and "1.0" in browser.said, "its refusal, which names the limit")
        wait_until(lambda: (browser.find("Budget") or {}).get("value") == 0.55, "what it still has")
        browser.set("Budget", "nonsense <script>")  # viser would take these three for what they claim to be
        browser.send("GuiUpdateMessage", uuid=next(iter(browser.elements)), updates={"removed": True})
        browser.send("ShareUrlRequest")
        graph.set_parameter(node, "budget", 0.2)
        wait_until(lambda: (browser.find("Budget") or {}).get("value") == 0.2, "what somebody else set")
        assert node.settings.budget == 0.2 and "<script>" not in browser.said


def test_a_lost_node_is_said_and_found_again(graph: Graph, web: WebView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_watch, "LOST_S", 2.0)
    monkeypatch.setattr(node_watch, "SEARCH_S", 0.5)
    with PageClient(web.address) as browser:
        wait_until(lambda: f"no node: none called {NODE} reports in ROS domain 7." in browser.said, "the missing node")
        node = graph.depth_node(SlantedWall())
        wait_until(lambda: "no frames: waiting for image on /image" in browser.said, "what it waits for")
        budget = browser.find("Budget") or {}
        wait_until(lambda: budget.get("disabled") is False, "the slider")
        remove(graph, node)
        wait_until(lambda: "node lost, waiting" in browser.said, "the loss")
        assert budget.get("disabled") is True
        assert (browser.find("Depth") or {}).get("visible") is True, "what was shown stays"
        graph.depth_node(SlantedWall(), budget=0.4, cli_args=["--ros-args", "-r", "image:=/other"])
        wait_until(lambda: "no frames: waiting for image on /other" in browser.said, "the next one")
        wait_until(lambda: "/other" in inputs(graph) and "/image" not in inputs(graph), "its other images")
        wait_until(lambda: budget.get("value") == 0.4, "its budget")
