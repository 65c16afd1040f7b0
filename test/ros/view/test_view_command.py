"""`depth-retrofit view` as a user runs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import CameraInfo, Image

from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.ros.view import run as view_run
from depth_retrofit_ros.ros.view.viewer import VIEWS, Sink
from test.ros.graph import NODE, PATIENCE_S, Graph, SlantedWall, image_message, info_message, repeat_until, wait_until
from test.ros.view.page_client import PageClient


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_a_recording_of_a_running_node_can_be_read_back(graph: Graph, tmp_path: Path, ended_by: signal.Signals) -> None:
    with (tmp_path / "log").open("wb") as log:
        graph.depth_node(SlantedWall())
        command = [sys.executable, "-m", "depth_retrofit_ros.cli.main", "view", "--out", str(tmp_path / "bag"), "--rate", "1000"]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            topics = [f"{NODE}/{name}" for name in ("depth/image_rect", "depth/selection", "points")]
            wait_until(lambda: all(graph.client.count_subscribers(topic) == 1 for topic in topics), "the viewer")
            images, infos = graph.publisher(Image, "/image", listeners=2), graph.publisher(CameraInfo, "/camera_info")
            stamps = iter(range(1, 10_000))

            def send() -> None:
                infos.publish(info_message())
                images.publish(image_message(stamp_s=next(stamps)))

            # Some fifty frames, which the recorder writes as one chunk: also a slow one has whole ones among them.
            repeat_until(send, lambda: recorded_bytes(tmp_path / "bag") > 200_000, "frames in the bag")
            process.send_signal(ended_by)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
            process.wait()
    told = (tmp_path / "log").read_text()
    assert "frames" in told and "Traceback" not in told
    with AnyReader([tmp_path / "bag"]) as reader:
        types = {connection.topic: connection.msgtype for connection in reader.connections}
        assert types == {view: f"sensor_msgs/msg/{kind.__name__}" for view, kind in VIEWS.items()}
        stamps_of = {view: {time for connection, time, _ in reader.messages() if connection.topic == view} for view in VIEWS}
    assert set.intersection(*stamps_of.values()), "some frames are there as a whole"


def recorded_bytes(bag: Path) -> int:
    return sum(path.stat().st_size for path in bag.iterdir() if path.is_file())


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert cli.main(["view", "--out", str(tmp_path / "file" / "bag")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--out" in line


def test_what_is_no_port_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("0", "65536"):
        with pytest.raises(SystemExit):
            cli.main(["view", "--port", text])
        assert f"{text} is outside 1 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--host", "0.0.0.0"], ["--points", "5"]])
def test_what_is_of_the_page_needs_the_page(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["view", *option]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "give --web too" in line


def test_a_page_is_no_recording(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["view", "--web", "--out", "bag"])
    assert "not allowed with" in capsys.readouterr().err


def test_a_page_ends_by_a_signal_while_a_browser_is_on_and_an_open_one_is_warned_of(tmp_path: Path) -> None:
    pytest.importorskip("viser", reason="viser is not installed (extra `web`)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        options = ["view", "--web", "--host", "0.0.0.0", "--port", str(port)]
        command = [sys.executable, "-m", "depth_retrofit_ros.cli.main", *options]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: "until Ctrl-C" in (tmp_path / "log").read_text(), "the page")
            with PageClient(f"http://127.0.0.1:{port}") as browser:
                wait_until(lambda: NODE in browser.said, "its state")
                process.send_signal(signal.SIGTERM)
                assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
            process.wait()
    warning, address = (tmp_path / "log").read_text().splitlines()
    assert "no password" in warning and f"http://0.0.0.0:{port}" in address


def test_no_argument_of_the_program_is_taken_for_one_of_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among them may be a folder whose name is not UTF-8. As soon as the viewer is there, it is asked to end."""

    def viewer(*arguments: object) -> SimpleNamespace:
        signal.raise_signal(signal.SIGINT)
        return SimpleNamespace(shown=3)

    monkeypatch.setattr(view_run, "Viewer", viewer)
    monkeypatch.setattr(sys, "argv", ["depth-retrofit", "view", "--out", os.fsdecode(b"caf\xe9")])
    assert view_run.show("/depth_retrofit", Sink(lambda topic, message: None), 640, 5.0, None) == 3
