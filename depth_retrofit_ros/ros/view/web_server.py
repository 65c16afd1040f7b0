"""viser's server as this project wants it: at one address, silent, for pages of its own only, and careful with what they send.

viser believes its pages: they may overwrite any attribute of a control, and ask the server to open a tunnel to the outside. So what
comes in is looked at before viser sees it.
"""

from __future__ import annotations

import contextlib
import http
import io
import ipaddress
import socket
import warnings
from collections.abc import Callable, Collection, Iterator
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from depth_retrofit_ros.errors import OutputError, SetupError

_MOST_BYTES = 1 << 16  # of a message from a page
_LARGEST = 1e9  # number in one: viser sends it on to all pages, and cannot send every integer
_POSE = {
    "wxyz": 4,
    "position": 3,
    "look_at": 3,
    "up_direction": 3,
    "fov": 0,
    "near": 0,
    "far": 0,
    "image_height": 0,
    "image_width": 0,
}
_INSTALL = "pip install 'viser~=1.1.1' (or depth_retrofit_ros[web])"


def start_server(host: str, port: int, label: str) -> Any:
    """A ``viser.ViserServer`` at exactly this address; 0: a free port.

    Raises SetupError where viser is missing or another than this was made for, OutputError where the address cannot be had.
    """
    try:
        import viser
        import websockets.asyncio.server as transport
    except ImportError:
        raise SetupError(f"the page needs viser: {_INSTALL}") from None
    require_free(host, port)
    warnings.filterwarnings("ignore", "Queued a .* on a closed connection")  # a browser that leaves while it is written to
    with _guarded(transport, is_loopback(host), own_names(host)) as guarded, _unheard():
        server = viser.ViserServer(host=host, port=port, label=label, verbose=False)
    if not guarded or port not in (0, server.get_port()):
        stop_server(server)
        if not guarded:
            raise SetupError(f"this viser cannot be kept to pages of its own: {_INSTALL}")
        raise _taken(host, port, "it was taken meanwhile")
    return server


def stop_server(server: Any) -> None:
    """Within a second or two, whatever browsers do."""
    with _unheard():
        server.stop()


def require_free(host: str, port: int) -> None:
    """Raises OutputError: viser would take the next port that is free, or wait forever."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                probe.listen()
    except (OSError, UnicodeError) as error:
        raise _taken(host, port, getattr(error, "strerror", None) or "no such address") from None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def own_names(host: str) -> frozenset[str]:
    """What a server that is bound to ``host`` may be called, besides its addresses."""
    machine = socket.gethostname().lower()
    return frozenset((host.lower(), machine, f"{machine}.local"))


def is_allowed(host: str | None, origin: str | None, loopback: bool, names: Collection[str]) -> bool:
    """Whether a request is of the page itself, or of no page at all.

    A page from elsewhere that is open in a browser on this machine reaches 127.0.0.1 too. Browsers say by ``Origin`` where a page
    is from, and by ``Host`` what it took this server for, which with a forged entry of the DNS is a stranger's name.
    host, origin: these headers, None where there is none. loopback: whether the server is bound to this machine alone; where it is
    not, it goes by any address and by ``names``, see ``own_names``.
    """
    if host is None:
        return False
    try:
        name = urlsplit(f"//{host}").hostname or ""
        origin_place = None if origin is None else urlsplit(origin).netloc
    except ValueError:
        return False
    is_ours = is_loopback(name) or (not loopback and (_is_address(name) or name in names))
    return is_ours and origin_place in (None, host)


def _is_address(name: str) -> bool:
    """Rather than a name, which the DNS of a stranger can give to this machine."""
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return False


def is_expected(message: Any) -> bool:
    """Whether this, unpacked, is one of the two messages that our pages send: where a browser looks, and the value of a control.

    A control's value is a truth value or a number.
    """
    match message:
        case {"type": "GuiUpdateMessage", "uuid": str(), "updates": {"value": value, **other}, **rest}:
            return not other and not rest and _is_number(value)
        case {"type": "ViewerCameraMessage", **pose}:
            return pose.keys() == _POSE.keys() and all(_is_vector(pose[name], count) for name, count in _POSE.items())
    return False


def _is_vector(value: Any, count: int) -> bool:
    """So many numbers; 0: a number."""
    if count == 0:
        return _is_number(value)
    return isinstance(value, list) and len(value) == count and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    """Also a truth value; neither NaN nor infinite nor huge."""
    return isinstance(value, int | float) and abs(value) <= _LARGEST


@contextlib.contextmanager
def _guarded(transport: ModuleType, loopback: bool, names: Collection[str]) -> Iterator[list[Any]]:
    """Servers that are started meanwhile ask ``is_allowed`` and ``is_expected`` first; yields those servers."""
    serve, servers = transport.serve, []
    from msgspec import MsgspecError, msgpack

    def guarded_serve(
        handler: Any, *arguments: Any, process_request: Callable[[Any, Any], Any] | None = None, **options: Any
    ) -> Any:
        def answer(connection: Any, request: Any) -> Any:
            hosts, origins = (request.headers.get_all(name) for name in ("Host", "Origin"))
            if len(hosts) != 1 or len(origins) > 1 or not is_allowed(hosts[0], origins[0] if origins else None, loopback, names):
                return connection.respond(http.HTTPStatus.FORBIDDEN, "for pages of this server only, opened by its address\n")
            return None if process_request is None else process_request(connection, request)

        async def handle(connection: Any) -> None:
            receive = connection.recv

            async def receive_expected(*arguments: Any, **options: Any) -> Any:
                while True:
                    data = await receive(*arguments, **options)
                    try:
                        message = msgpack.decode(data) if isinstance(data, bytes) else None
                    except (MsgspecError, RecursionError):  # the latter: lists within lists within lists
                        continue
                    if is_expected(message):
                        return data

            connection.recv = receive_expected
            await handler(connection)

        options["max_size"] = _MOST_BYTES
        server = serve(handle, *arguments, process_request=answer, process_response=_unframed, **options)
        servers.append(server)
        return server

    transport.serve = guarded_serve  # type: ignore[attr-defined]
    try:
        yield servers
    finally:
        transport.serve = serve  # type: ignore[attr-defined]


def _unframed(connection: Any, request: Any, response: Any) -> None:
    """No page from elsewhere may show this one within itself, where a click that is meant for it would move the slider."""
    response.headers["X-Frame-Options"] = "DENY"


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """viser greets and says goodbye on standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _taken(host: str, port: int, why: str) -> OutputError:
    return OutputError(f"cannot serve at {host} port {port} ({why}): choose another --port or --host")
