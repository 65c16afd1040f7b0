"""The live view as a browser sees it: a WebSocket client of this machine asks for a view and is sent ROS messages."""

from __future__ import annotations

import base64
import builtins
import json
import socket
import struct
from typing import Any

import pytest
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage

from depth_retrofit_ros.errors import OutputError, SetupError
from depth_retrofit_ros.ros.view.live_view import LiveView
from depth_retrofit_ros.ros.view.viewer import VIEWS
from test.ros.graph import PATIENCE_S, image_message, wait_until

MESSAGE_DATA = 1  # the protocol's opcode of a message, before subscription id and log time


class Browser:
    """As much of RFC 6455 and of Foxglove's protocol as a test needs."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._stream = self._socket.makefile("rb")
        key = base64.b64encode(bytes(16)).decode()
        headers = {"Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        headers |= {"Sec-WebSocket-Key": key, "Sec-WebSocket-Protocol": "foxglove.sdk.v1"}
        lines = ["GET / HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self._socket.sendall("\r\n".join(lines).encode())
        assert b"101" in self._stream.readline()
        while self._stream.readline() != b"\r\n":
            pass

    def send(self, command: dict[str, Any]) -> None:
        """A text frame of up to 65535 bytes, masked with zeros."""
        data = json.dumps(command).encode()
        self._socket.sendall(struct.pack(">BBHI", 0x81, 0x80 | 126, len(data), 0) + data)

    def receive(self) -> bytes:
        """The next frame's payload."""
        length = self._stream.read(2)[1]
        if length >= 126:
            (length,) = struct.unpack(">H", self._stream.read(2)) if length == 126 else struct.unpack(">Q", self._stream.read(8))
        return self._stream.read(length)

    def receive_command(self, name: str) -> dict[str, Any]:
        while True:
            data = self.receive()
            if data[:1] == b"{" and json.loads(data)["op"] == name:
                return dict(json.loads(data))

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


def test_a_view_is_served_to_whoever_looks_at_it_and_to_nobody_else() -> None:
    pytest.importorskip("foxglove", reason="foxglove-sdk is not installed (extra `view`)")
    message = CompressedImage(header=image_message(stamp_s=7).header, format="jpeg", data=b"picture")
    with LiveView(0) as live:
        assert live.address.startswith("ws://127.0.0.1:")
        assert not any(live.wanted(view) for view in VIEWS), "nobody is there"
        browser = Browser(int(live.address.rpartition(":")[2]))
        channels = {channel["topic"]: channel for channel in browser.receive_command("advertise")["channels"]}
        while channels.keys() != VIEWS.keys():  # they may come one by one
            channels |= {channel["topic"]: channel for channel in browser.receive_command("advertise")["channels"]}
        channel = channels["/view/depth"]
        assert (channel["encoding"], channel["schemaName"]) == ("cdr", "sensor_msgs/msg/CompressedImage")
        assert "uint8[] data" in channel["schema"] and "MSG: std_msgs/Header" in channel["schema"]

        browser.send({"op": "subscribe", "subscriptions": [{"id": 5, "channelId": channel["id"]}]})
        wait_until(lambda: live.wanted("/view/depth"), "the subscription")
        assert not live.wanted("/view/points")
        live.write("/view/depth", message)
        data = browser.receive()
        while data[0] != MESSAGE_DATA:
            data = browser.receive()
        assert struct.unpack_from("<IQ", data, 1) == (5, 7_250_000_000)
        assert deserialize_message(data[13:], CompressedImage) == message
        browser.close()
        wait_until(lambda: not live.wanted("/view/depth"), "the end of the subscription")


def test_a_port_that_is_taken_is_one_line() -> None:
    pytest.importorskip("foxglove", reason="foxglove-sdk is not installed (extra `view`)")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(OutputError, match=rf"^cannot serve at port {port} \([^\n]*--port$"), LiveView(port):
            pass


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "foxglove":
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SetupError, match=r"^the live view needs foxglove-sdk: pip install [^\n]*$"), LiveView(1):
        pass
