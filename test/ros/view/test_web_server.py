"""Where the page is served, and to whom."""

from __future__ import annotations

import builtins
import http.client
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from depth_retrofit_ros.errors import OutputError, SetupError
from depth_retrofit_ros.ros.view.web_server import is_allowed, is_expected, is_loopback, own_names, start_server, stop_server
from test.ros.view.page_client import PageClient
from test.waiting import wait_until


@pytest.mark.parametrize(
    ("host", "origin", "loopback", "allowed"),
    [
        ("127.0.0.1:8080", None, True, True),
        ("localhost:9000", "http://localhost:9000", True, True),  # through a tunnel of ssh, at another port
        ("[::1]:8080", "http://[::1]:8080", True, True),
        ("localhost:8080", "http://evil.example", True, False),
        ("localhost:8080", "http://localhost:3000", True, False),
        ("localhost:8080", "null", True, False),
        ("evil.example:8080", "http://evil.example:8080", True, False),
        ("localhost.evil.example", None, True, False),
        (None, None, True, False),
        ("[", None, True, False),
        ("robot:8080", "http://robot:8080", False, True),
        ("10.0.0.5:8080", "http://10.0.0.5:8080", False, True),
        ("[fd00::5]:8080", "http://[fd00::5]:8080", False, True),
        ("localhost:9000", "http://localhost:9000", False, True),
        ("evil.example:8080", "http://evil.example:8080", False, False),  # a name that its DNS gave to this machine
        ("robot.evil.example:8080", None, False, False),
        ("10.0.0.5:8080", "http://10.0.0.5:8080", True, False),
        ("10.0.0.5:8080", "http://evil.example", False, False),
    ],
)
def test_pages_from_elsewhere_are_refused(host: str | None, origin: str | None, loopback: bool, allowed: bool) -> None:
    assert is_allowed(host, origin, loopback, {"robot"}) is allowed


def test_a_server_goes_by_its_machines_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Rover")
    assert own_names("0.0.0.0") == {"0.0.0.0", "rover", "rover.local"}


def test_what_only_this_machine_reaches() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.5", "robot", ""))


POSE = {"wxyz": [1.0, 0, 0, 0], "position": [0, 0, 0], "look_at": [0, 0, 1], "up_direction": [0, -1, 0]}
CAMERA = {"type": "ViewerCameraMessage", **POSE, "fov": 1.0, "near": 0.1, "far": 9, "image_height": 480, "image_width": 640}


@pytest.mark.parametrize("value", [True, 0, 0.25, 7.0, -3])
def test_a_page_says_where_it_looks_and_what_its_controls_are_at(value: object) -> None:
    assert is_expected({"type": "GuiUpdateMessage", "uuid": "a", "updates": {"value": value}})
    assert is_expected(CAMERA)


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        {},
        {"type": "ShareUrlRequest"},
        {"type": "FileTransferStartUpload", "uuid": "a"},
        {"type": "GuiUpdateMessage", "uuid": "a", "updates": {"removed": True}},
        {"type": "GuiUpdateMessage", "uuid": "a", "updates": {"value": 1, "update_cb": []}},
        {"type": "GuiUpdateMessage", "uuid": 5, "updates": {"value": 1}},
        *(
            {"type": "GuiUpdateMessage", "uuid": "a", "updates": {"value": value}}
            for value in ("<b>", float("nan"), 10**30, [1], None)
        ),
        {**CAMERA, "fov": "wide"},
        {**CAMERA, "position": [0, 0]},
        {**CAMERA, "more": 1},
        {name: value for name, value in CAMERA.items() if name != "near"},
    ],
)
def test_nothing_else_of_a_page_is_listened_to(message: object) -> None:
    assert not is_expected(message)


@pytest.fixture
def port() -> Iterator[int]:
    pytest.importorskip("viser", reason="viser is not installed (extra `web`)")
    server = start_server("127.0.0.1", 0, "test")
    yield server.get_port()
    stop_server(server)


def ask(port: int, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/", headers=headers)
    return connection.getresponse()


def test_the_page_is_there_and_a_strangers_is_told_so(port: int) -> None:
    assert ask(port).status == 200
    assert ask(port, Origin="http://evil.example").status == 403
    assert ask(port, Host="evil.example").status == 403


def test_no_page_may_show_this_one_within_itself(port: int) -> None:
    assert ask(port).getheader("X-Frame-Options") == "DENY"


def test_what_cannot_be_unpacked_ends_no_connection() -> None:
    pytest.importorskip("viser", reason="viser is not installed (extra `web`)")
    server = start_server("127.0.0.1", 0, "test")
    slider = server.gui.add_slider("Budget", 0.0, 1.0, 0.1, 0.0)
    try:
        with PageClient(f"http://127.0.0.1:{server.get_port()}") as client:
            for data in (b"\xc1", b"\x91" * 60_000 + b"\x01"):  # no message, and lists within lists within lists
                client.send_raw(data)
            client.set("Budget", 0.5)
            wait_until(lambda: slider.value == 0.5, "the slider's value")
    finally:
        stop_server(server)


def test_a_port_that_is_taken_is_one_line(port: int) -> None:
    with pytest.raises(OutputError, match=rf"^cannot serve at 127.0.0.1 port {port} \([^\n]*--host$"):
        start_server("127.0.0.1", port, "test")


def test_an_address_of_another_machine_is_one_line() -> None:
    pytest.importorskip("viser", reason="viser is not installed (extra `web`)")
    with pytest.raises(OutputError, match=r"^cannot serve at 192\.0\.2\.1 port 8080 \("):
        start_server("192.0.2.1", 8080, "test")


def test_it_is_heard_at_its_address_alone_and_says_nothing(capsys: pytest.CaptureFixture[str], port: int) -> None:
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), 10):
        pass
    assert capsys.readouterr().out == ""


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "viser":
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SetupError, match=r"^the page needs viser: pip install [^\n]*$"):
        start_server("127.0.0.1", 0, "test")
