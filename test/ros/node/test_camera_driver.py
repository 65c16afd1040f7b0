"""A camera of this machine beside the node: its images, one that is unplugged, and the command with a video in its place."""

from __future__ import annotations

import queue
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.io.camera_capture import Given
from depth_retrofit_ros.ros.node.camera_driver import FRAME_ID, CameraDriver
from depth_retrofit_ros.ros.node.camera_main import info_of
from test.ros.graph import NODE, PATIENCE_S, Graph, pixels_of, record, record_info, wait_until
from test.ros.node.test_main import running_command
from test.videos import write_video


class Plugged:
    """A ``CameraSource`` that gives what a test puts in; None is what an unplugged camera gives."""

    name, encoding = "camera 0", "rgb8"

    def __init__(self) -> None:
        self.images: queue.Queue[np.ndarray | None] = queue.Queue()
        self.refusals = 0
        self.opened = 0
        self.interrupted = self.closed = False

    def put(self, value: int, height: int = 48) -> None:
        self.images.put(np.full((height, 64, 3), value, np.uint8))

    def open(self) -> Given:
        if self.refusals:
            self.refusals -= 1
            raise ImageError("camera 0 is not there")
        self.opened += 1
        return Given("camera 0: 64x48 at 30 Hz", 64, 48)

    def read(self) -> np.ndarray | None:
        while not self.interrupted:
            try:
                return self.images.get(timeout=0.02)
            except queue.Empty:
                continue
        return None

    def interrupt(self) -> None:
        self.interrupted = True

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def source() -> Plugged:
    return Plugged()


@pytest.fixture
def driver(graph: Graph, source: Plugged) -> Iterator[CameraDriver]:
    made = CameraDriver(source, info_of(90.0), "/front/image_raw", "/front/camera_info", graph.context, retry_s=0.01)
    yield made
    made.stop()
    assert source.closed


def test_images_go_out_with_their_camera_info_while_somebody_listens(graph: Graph, source: Plugged, driver: CameraDriver) -> None:
    told = record_info(driver._node.get_logger())
    driver.start(source.open().told)
    assert told == ["camera 0: 64x48 at 30 Hz"]
    source.put(1)
    wait_until(source.images.empty, "an image that nobody wants to be read")
    images, infos = graph.listen(Image, "/front/image_raw"), graph.listen(CameraInfo, "/front/camera_info")
    wait_until(lambda: driver._images.get_subscription_count() and driver._infos.get_subscription_count(), "listeners")
    source.put(2)
    wait_until(lambda: images and infos, "an image and its camera_info")
    (image,), (info,) = images, infos
    assert (pixels_of(image) == 2).all() and pixels_of(image).shape == (48, 64, 3)
    assert image.header == info.header and image.header.frame_id == FRAME_ID and image.header.stamp.sec > 0
    assert info.k[0] == pytest.approx(32.0)


def test_an_unplugged_camera_is_told_and_opened_again(graph: Graph, source: Plugged, driver: CameraDriver) -> None:
    log = driver._node.get_logger()
    warned, told = record(log), record_info(log)
    images = graph.listen(Image, "/front/image_raw")
    driver.start(source.open().told)
    wait_until(driver._images.get_subscription_count, "a listener")
    source.refusals = 3
    source.images.put(None)
    source.put(1)
    wait_until(lambda: images, "an image after it was plugged in again")
    assert (source.opened, source.refusals) == (2, 0)
    assert warned == ["camera 0 gives no image any more: trying again every 0.01 s, is it plugged in?"]
    wait_until(lambda: len(told) == 3, "the news")
    assert told[1:] == ["camera 0: 64x48 at 30 Hz", "camera 0 is fine now"]


def test_the_command_with_a_video_in_its_place(graph: Graph, tmp_path: Path) -> None:
    video, log = write_video(tmp_path / "a.mp4", 8), tmp_path / "log"
    options = ["--model", "compact", "--hfov", "60", "--trust-scale", "--device", "cpu", "--coarse-engine", "eager"]
    command = [sys.executable, "-m", "depth_retrofit_ros", "run", "--camera", str(video), *options]
    with running_command(log, command) as process:
        depths, clouds = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(PointCloud2, f"{NODE}/points")
        wait_until(lambda: (depths and clouds) or process.poll() is not None, "depth and cloud of the video")
        assert depths and clouds, log.read_text()
        assert (depths[0].width, depths[0].height, depths[0].encoding) == (96, 72, "32FC1")
        assert depths[0].header.frame_id == FRAME_ID
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0, log.read_text()
    assert "96x72 at 20 Hz, again and again" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_what_cannot_be_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = str(write_video(tmp_path / "a.mp4", 1))
    for arguments, told in (
        (["--hfov", "60"], "--hfov is of --camera"),
        (["--camera", "0", "--image-topic", "/a/compressed"], "publishes raw images"),
        (["--camera", video, "--camera-rate", "5"], "are its own"),
    ):
        assert cli.main(["run", *arguments]) == 2
        assert told in capsys.readouterr().err
