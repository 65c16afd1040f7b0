"""A headless Chromium, driven through its DevTools protocol: what a test needs of it, without a driver program."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from test.waiting import PATIENCE_S, wait_until

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# WebGL by software: no test machine needs a display or a GPU. No sandbox: tests may run as root, in a container.
_OPTIONS = ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage")
_QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars")


class Chromium:
    """``with Chromium(folder, address) as page:``; one page, of which every request is noted in ``requested``."""

    def __init__(self, folder: Path, address: str, size: tuple[int, int] = (1280, 720)) -> None:
        self.requested: list[str] = []
        self.errors: list[str] = []
        self._folder, self._address, self._size = folder, address, size
        self._numbers = itertools.count(1)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Chromium:
        from websockets.sync.client import connect

        assert PROGRAM is not None
        width, height = self._size
        own = (f"--user-data-dir={self._folder}", "--remote-debugging-port=0", f"--window-size={width},{height}")
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen([PROGRAM, *_OPTIONS, *_QUIET, *own, "about:blank"], stdout=quiet, stderr=quiet)
        try:
            told = self._folder / "DevToolsActivePort"
            wait_until(lambda: told.is_file() and len(told.read_text().splitlines()) == 2, "Chromium")
            port, path = told.read_text().split()
            self._socket = self._stack.enter_context(connect(f"ws://127.0.0.1:{port}{path}", max_size=None))
            self._session: str | None = None
            targets = self.call("Target.getTargets")["targetInfos"]
            target = next(target["targetId"] for target in targets if target["type"] == "page")
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Network", "Runtime"):
                self.call(f"{domain}.enable")
            self.call("Page.navigate", url=self._address)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._end()

    def _end(self) -> None:
        self._stack.close()
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            command["sessionId"] = self._session
        self._socket.send(json.dumps(command))
        while True:
            message = json.loads(self._socket.recv(timeout=PATIENCE_S))
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        found = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requested.append(found["request"]["url"])
        elif message.get("method") == "Network.webSocketCreated":
            self.requested.append(found["url"])
        elif message.get("method") == "Runtime.exceptionThrown" or found.get("type") == "error":  # the latter on the console
            self.errors.append(json.dumps(found)[:500])

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self) -> str:
        """What can be read on the page."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def press(self, key: str) -> None:
        """A key, in whatever has the focus."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode={"ArrowRight": 39}.get(key, 0))

    def click(self, x: float, y: float) -> None:
        """The left button, there [px]."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self) -> np.ndarray:
        """``uint8 [H, W, 3]`` RGB."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        return np.ascontiguousarray(picture[..., ::-1])
