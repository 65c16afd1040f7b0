"""A browser as viser's server sees one: its WebSocket protocol, without a browser."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest

from test.waiting import PATIENCE_S, wait_until


class PageClient:
    """``with PageClient(address) as client:``; what the server says is kept by element: ``props`` and ``value`` of each label.

    htmls: the content of each HTML element. arrays: name of a scene node → its newest properties. received: messages so far.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self.elements: dict[str, dict[str, Any]] = {}  # by uuid
        self.nodes: dict[str, dict[str, Any]] = {}
        self.received = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> PageClient:
        import viser
        from websockets.sync.client import connect

        self._msgpack, self._zstd = pytest.importorskip("msgspec").msgpack, pytest.importorskip("zstandard")
        options = {"origin": self._address, "subprotocols": [f"viser-v{viser.__version__}"], "max_size": None, "compression": None}
        self._socket = self._stack.enter_context(connect(self._address.replace("http", "ws"), **options))
        self._thread = threading.Thread(target=self._read, name="page client")
        self._thread.start()
        pose = {"wxyz": (1.0, 0.0, 0.0, 0.0), "position": (0.0, 0.0, -1.0), "look_at": (0.0, 0.0, 1.0)}
        lens = {"fov": 1.0, "near": 0.1, "far": 100.0, "image_height": 480, "image_width": 640, "up_direction": (0.0, -1.0, 0.0)}
        self.send("ViewerCameraMessage", **pose, **lens)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()
        self._thread.join(PATIENCE_S)

    def send(self, kind: str, **fields: Any) -> None:
        """A message of viser's, whatever the page would send."""
        self.send_raw(self._msgpack.encode({"type": kind, **fields}))

    def send_raw(self, data: bytes) -> None:
        """Whatever no page would send."""
        self._socket.send(data)

    def set(self, label: str, value: Any) -> None:
        """Move a control."""
        wait_until(lambda: self.find(label) is not None, f"the control {label}")
        uuid = next(uuid for uuid, element in self.elements.items() if element.get("label") == label)
        self.send("GuiUpdateMessage", uuid=uuid, updates={"value": value})

    def find(self, label: str) -> dict[str, Any] | None:
        """The properties of a control, its value among them."""
        return next((element for element in list(self.elements.values()) if element.get("label") == label), None)

    @property
    def said(self) -> str:
        """The text of all HTML elements."""
        return "\n".join(str(element["content"]) for element in list(self.elements.values()) if "content" in element)

    @property
    def pictures(self) -> list[bytes]:
        """The pictures that are shown."""
        elements = list(self.elements.values())
        return [bytes(element["_data"]) for element in elements if element.get("_data") and element["visible"]]

    def _read(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            for data in self._socket:
                self._take(bytes(data))
        except ConnectionClosed:
            pass

    def _take(self, data: bytes) -> None:
        packed = int.from_bytes(data[8:16], "little")
        size = int.from_bytes(data[:8], "little")
        body = self._msgpack.decode(self._zstd.decompress(data[16 : 16 + packed], max_output_size=size))
        for message in body["messages"]:
            self.received += 1
            kind = message["type"]
            if kind == "GuiUpdateMessage":
                self.elements.setdefault(message["uuid"], {}).update(message["updates"])
            elif kind == "SceneNodeUpdateMessage":
                self.nodes.setdefault(message["name"], {}).update(message["updates"])
            elif kind.startswith("Gui") and "props" in message:
                self.elements.setdefault(message["uuid"], {}).update(message["props"])
                if "value" in message:
                    self.elements[message["uuid"]]["value"] = message["value"]
            elif "props" in message:
                self.nodes[message["name"]] = dict(message["props"])
