"""The recorder stores what arrives, in order, and never calls it metres unless the node does."""

from __future__ import annotations

import array
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_retrofit_ros.errors import ImageError, OutputError
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.replay import recorder as recorder_module
from depth_retrofit_ros.ros.replay.recorder import RecordedDepth, Recorder, depth_array
from test.ros.graph import NODE, Graph, image_message, info_message, wait_until

STAMP_NS = 7_250_000_000


def depth_message(stamp_s: int = 7, padding: int = 0) -> Image:
    pixels = np.full((48, 64 + padding), 1.5, np.float32)
    pixels[0, 0] = np.nan
    message = Image(height=48, width=64, encoding="32FC1", step=4 * (64 + padding), data=array.array("B", pixels.tobytes()))
    message.header = image_message(stamp_s=stamp_s).header
    return message


def stats_message(metric: bool, stamp_s: int = 7) -> FrameStats:
    return FrameStats(header=image_message(stamp_s=stamp_s).header, metric=metric)


def output(graph: Graph, message_type: type, topic: str) -> Any:
    """A reliable publisher, as the node's are, once the recorder has met it."""
    publisher = graph.client.create_publisher(message_type, topic, 10)
    wait_until(lambda: publisher.get_subscription_count() > 0, f"the recorder on {topic}")
    return publisher


@pytest.fixture
def record(graph: Graph) -> Iterator[Callable[[Callable[[RecordedDepth], None]], Recorder]]:
    made: list[Recorder] = []

    def make(store: Callable[[RecordedDepth], None]) -> Recorder:
        made.append(Recorder(graph.client, NODE, store))
        return made[0]

    yield make
    made[0].close()


def test_depth_is_stored_with_camera_and_unit(graph: Graph, record: Callable[..., Recorder]) -> None:
    stored: list[RecordedDepth] = []
    recorder = record(stored.append)
    output(graph, CameraInfo, f"{NODE}/depth/camera_info").publish(info_message())
    output(graph, FrameStats, f"{NODE}/frame_stats").publish(stats_message(metric=True))
    wait_until(lambda: recorder.recording.stats and recorder._info, "statistics and camera_info")
    output(graph, Image, f"{NODE}/depth/image_rect").publish(depth_message(padding=3))
    wait_until(lambda: stored, "the depth")
    (entry,) = stored
    assert (entry.index, entry.stamp_ns, entry.metric, entry.depth.shape) == (0, STAMP_NS, True, (48, 64))
    assert np.isnan(entry.depth[0, 0]) and np.nanmin(entry.depth) == np.nanmax(entry.depth) == 1.5
    assert entry.camera is not None and entry.camera.fx == 48.0
    assert [arrival.stamp_ns for arrival in recorder.recording.arrivals] == [STAMP_NS] and recorder.recording.answers == 1


@pytest.mark.parametrize("said", [None, False])
def test_unless_the_node_says_so_it_is_not_metric(
    graph: Graph, record: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch, said: bool | None
) -> None:
    monkeypatch.setattr(recorder_module, "_STATS_PATIENCE_S", 0.1)
    stored: list[RecordedDepth] = []
    record(stored.append)
    if said is not None:
        output(graph, FrameStats, f"{NODE}/frame_stats").publish(stats_message(said))
    output(graph, Image, f"{NODE}/depth/image_rect").publish(depth_message())
    wait_until(lambda: stored, "the depth")
    assert stored[0].metric is False and stored[0].camera is None


def test_a_full_disk_does_not_block_the_subscription(
    graph: Graph, record: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_STATS_PATIENCE_S", 0.0)

    def full(entry: RecordedDepth) -> None:
        raise OutputError("no space left")

    recorder = record(full)
    images = output(graph, Image, f"{NODE}/depth/image_rect")
    for number in range(40):  # more than the queue holds
        images.publish(depth_message(stamp_s=number))
        wait_until(lambda n=number: recorder.recording.answers == n + 1, "the depth to be received")  # type: ignore[misc]
    recorder.close()
    with pytest.raises(OutputError, match="no space left"):
        recorder.check()


def test_every_output_is_kept_and_a_full_disk_there_is_told_too(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "_STATS_PATIENCE_S", 0.0)
    kept: list[str] = []

    def keep(topic: str, message: Any) -> None:
        kept.append(topic)
        if len(kept) == 4:
            raise OutputError("no space left")

    recorder = Recorder(graph.client, NODE, lambda entry: None, keep=keep)
    try:
        messages = {
            "depth/camera_info": info_message(),
            "points": PointCloud2(),
            "frame_stats": stats_message(True),
            "depth/image_rect": depth_message(),
        }
        for name, message in messages.items():
            output(graph, type(message), f"{NODE}/{name}").publish(message)
            wait_until(partial(kept.__contains__, f"{NODE}/{name}"), name)
    finally:
        recorder.close()
    assert kept == [f"{NODE}/{name}" for name in messages]
    with pytest.raises(OutputError, match="no space left"):
        recorder.check()


def test_after_close_nothing_is_stored(graph: Graph, record: Callable[..., Recorder]) -> None:
    stored: list[RecordedDepth] = []
    recorder = record(stored.append)
    recorder.close()
    output(graph, Image, f"{NODE}/depth/image_rect").publish(depth_message())
    wait_until(lambda: recorder.recording.answers == 1, "the depth to be received")
    assert stored == []
    recorder.check()


def test_reports_are_kept_by_name(graph: Graph, record: Callable[..., Recorder]) -> None:
    recorder = record(lambda entry: None)
    assert not recorder.connected()
    status = DiagnosticStatus(name=f"{NODE}: input", values=[KeyValue(key="received", value="3")])
    output(graph, DiagnosticArray, "/diagnostics").publish(DiagnosticArray(status=[status]))
    wait_until(lambda: recorder.recording.reports_count == 1, "the report")
    assert recorder.recording.reports == {f"{NODE}: input": {"received": "3"}}
    assert not recorder.connected()  # nobody publishes depth
    graph.client.create_publisher(Image, f"{NODE}/depth/image_rect", 1)
    wait_until(recorder.connected, "the depth publisher")


@pytest.mark.parametrize("change", [{"encoding": "16UC1"}, {"step": 255}, {"height": 47}, {"height": 49}])
def test_depth_that_does_not_fit_is_refused(change: dict[str, object]) -> None:
    message = depth_message()
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ImageError, match="does not fit"):
        depth_array(message)
