"""What is shown of a live node: frames that belong together, only what is looked at, and no more often than asked for."""

from __future__ import annotations

import array
import threading
from collections.abc import Collection
from typing import Any

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_retrofit_ros.io.color_map import colorize
from depth_retrofit_ros.ros.messages.images import compressed_to_rgb
from depth_retrofit_ros.ros.view.pictures import MARK_RGB
from depth_retrofit_ros.ros.view.viewer import VIEWS, Sink, Viewer
from test.ros.graph import NODE, Graph, SlantedWall, image_message, info_message, pixels_of, record, repeat_until, wait_until


class Screen:
    """A sink that keeps what it is shown, and can look at something else later."""

    def __init__(self, looks_at: Collection[str] = tuple(VIEWS)) -> None:
        self.looks_at = looks_at
        self.shown: dict[str, list[Any]] = {view: [] for view in VIEWS}
        self.sink = Sink(lambda view, message: self.shown[view].append(message), lambda view: view in self.looks_at)

    def stamps(self, view: str) -> list[int]:
        return [message.header.stamp.sec for message in self.shown[view]]


def viewer(graph: Graph, screen: Screen, width: int = 64, rate_hz: float = 0.0, inputs: int = 4) -> Viewer:
    """A viewer that has met the node."""
    found = Viewer(graph.client, NODE, screen.sink, width, rate_hz)
    wait_until(lambda: len(found._inputs) == inputs, "the viewer's subscriptions")
    listening = [subscription.topic_name for subscription in graph.client.subscriptions]
    publishers = [publisher for node in graph.nodes for publisher in node.publishers if publisher.topic_name.startswith(NODE)]
    wait_until(
        lambda: all(p.get_subscription_count() == listening.count(p.topic_name) for p in publishers), "the node to know them"
    )
    return found


def decoded(message: CompressedImage) -> np.ndarray:
    return compressed_to_rgb(message).astype(int)


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_image_depth_selection_and_cloud_of_one_frame_are_shown(graph: Graph, transport: str) -> None:
    graph.depth_node(SlantedWall(), image_transport=transport, cloud_stride=1)
    depths, selections = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(Image, f"{NODE}/depth/selection")
    screen = Screen()
    found = viewer(graph, screen, width=32)
    infos = graph.publisher(CameraInfo, "/camera_info")
    image = image_message()
    image.data = array.array("B", cv2.resize(pixels_of(image)[::12, ::12], (64, 48)).tobytes())  # smooth, for JPEG
    message: Any = image
    if transport == "compressed":
        data = cv2.imencode(".png", pixels_of(image)[..., ::-1])[1]
        message = CompressedImage(header=image.header, format="png", data=array.array("B", data.tobytes()))
    images = graph.publisher(type(message), "/image" + ("/compressed" if transport == "compressed" else ""), listeners=2)
    repeat_until(lambda: infos.publish(info_message()), lambda: graph.nodes[1]._processor.info, "the camera_info")
    images.publish(message)
    wait_until(lambda: all(screen.shown.values()) and depths and selections, "all views")

    (shown,), (depth,), (selection,), (points,) = screen.shown.values()
    assert all(view.header == image.header for view in (shown, depth, selection, points))
    small = cv2.resize(pixels_of(image), (32, 24), interpolation=cv2.INTER_AREA)
    assert np.abs(decoded(shown) - small).mean() < 6
    expected = cv2.resize(colorize(pixels_of(depths[0])), (32, 24), interpolation=cv2.INTER_AREA)
    assert np.abs(decoded(depth) - expected).mean() < 8
    share = cv2.resize(pixels_of_mono(selections[0]), (32, 24), interpolation=cv2.INTER_AREA) / 255
    assert share.sum() == pytest.approx(0.1 * 32 * 24, rel=0.05)
    difference = np.abs(decoded(selection) - small).mean(axis=2)
    assert difference[share > 0.9].mean() > 3 * difference[share == 0].mean(), f"marked with {MARK_RGB}"
    assert (points.height, points.width) == (24, 32) and np.isfinite(pixels_of(points)[..., :3]).all()
    assert found.shown == 1


def pixels_of_mono(message: Image) -> np.ndarray:
    assert message.encoding == "mono8"
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)


def test_what_nobody_looks_at_costs_the_node_nothing(graph: Graph) -> None:
    wall = SlantedWall()
    node = graph.depth_node(wall)
    screen = Screen(())
    found = Viewer(graph.client, NODE, screen.sink, 64, 0.0)
    wait_until(lambda: found.image_topic == "/image", "the node's report")
    calls = wall.calls
    images = graph.publisher(Image, "/image")
    images.publish(image_message())
    wait_until(lambda: node._health.frames.unsubscribed == 1, "the image")
    assert wall.calls == calls and not found._inputs

    screen.looks_at = ("/view/depth",)
    wait_until(lambda: found._inputs.keys() == {"depth"}, "the subscription")
    repeat_until(lambda: images.publish(image_message()), lambda: screen.shown["/view/depth"], "depth")
    assert not any(screen.shown[view] for view in VIEWS if view != "/view/depth")
    screen.looks_at = ()
    wait_until(lambda: not found._inputs, "its end")
    wait_until(lambda: graph.client.count_subscribers(f"{NODE}/depth/image_rect") == 0, "the node's rest")


def test_only_answered_images_are_shown_and_no_more_often_than_asked_for(graph: Graph) -> None:
    wall = SlantedWall()
    node = graph.depth_node(wall)
    screen = Screen(("/view/image", "/view/depth", "/view/selection"))
    found = viewer(graph, screen, rate_hz=0.001, inputs=3)
    images = graph.publisher(Image, "/image", listeners=2)
    wall.hold.clear()
    calls = wall.calls
    images.publish(image_message(stamp_s=1))
    wait_until(lambda: wall.calls > calls, "the node to be at work")
    for stamp in (2, 3, 4):
        images.publish(image_message(stamp_s=stamp))
        wait_until(lambda stamp=stamp: stamp * 1_000_000_000 + 250_000_000 in found._images, "the viewer's image")  # type: ignore[misc]
    waiting: Any = node._processor._worker._slot  # type: ignore[union-attr]
    wait_until(lambda: waiting._item is not None and waiting._item.header.stamp.sec == 4, "the node's image")
    assert not any(screen.shown.values()), "nothing is answered yet"
    # One answer at a time: of two that come at once the viewer may get the depth of one and the selection of the other.
    first, wall.hold = wall.hold, threading.Event()
    first.set()
    wait_until(lambda: all(screen.shown[view] for view in screen.looks_at), "a frame")
    wall.hold.set()
    wait_until(lambda: len(found._decided) > 1, "the other answer")
    assert list(found._decided) == [1_250_000_000, 4_250_000_000], "2 and 3 were dropped"
    assert [screen.stamps(view) for view in screen.looks_at] == [[1]] * 3, "too soon for another one"


def test_an_image_that_comes_after_its_answer_is_shown_all_the_same(graph: Graph) -> None:
    graph.depth_node(SlantedWall())
    screen = Screen(("/view/image", "/view/selection"))
    found = viewer(graph, screen, inputs=2)
    selection = Image(header=image_message(stamp_s=7).header, height=48, width=64, encoding="mono8", step=64)
    selection.data = array.array("B", bytes(48 * 64))
    found._on_selection(selection)
    assert screen.stamps("/view/selection") == [7] and not screen.shown["/view/image"]
    found._on_image(image_message(stamp_s=7))
    assert screen.stamps("/view/image") == [7] and found.shown == 1


def test_the_image_alone_waits_for_no_answer(graph: Graph) -> None:
    wall = SlantedWall()
    graph.depth_node(wall)
    calls, screen = wall.calls, Screen(("/view/image",))
    viewer(graph, screen, inputs=1)
    graph.publisher(Image, "/image", listeners=2).publish(image_message())
    wait_until(lambda: screen.shown["/view/image"], "the image")
    assert wall.calls == calls


def test_memory_is_bounded_and_a_broken_message_costs_a_line(graph: Graph) -> None:
    graph.depth_node(SlantedWall())
    logged = record(graph.client.get_logger())
    found = viewer(graph, Screen(), inputs=4)
    for stamp in range(200):
        found._on_image(image_message(4, 4, stamp_s=stamp))
        found._on_depth(Image(header=image_message(4, 4, stamp_s=stamp).header, encoding="nonsense"))
    assert len(found._images) == len(found._decided) == 90
    (line,) = logged
    assert "nonsense" in line and "\n" not in line
