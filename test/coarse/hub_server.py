"""A hub on the loopback: what ``huggingface_hub`` asks of one, and the ways in which a real one fails."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_PATH = re.compile(r"/(?P<repo>[\w.-]+/[\w.-]+)/resolve/(?P<revision>\w+)/(?P<name>.+)")
HEAD, GET = "HEAD", "GET"


@dataclass
class Hub:
    """files: (repository, revision, name) → bytes. requests: (method, name, Range). tokens: what came with them.

    cuts: by name, of its next download, after how many bytes the connection breaks. refuses: how many downloads more are answered,
    None for all. gated: whether a licence must be accepted first.
    """

    files: dict[tuple[str, str, str], bytes]
    url: str = ""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    cuts: dict[str, int] = field(default_factory=dict)
    refuses: int | None = None
    gated: bool = False

    def ranges(self, name: str) -> list[str | None]:
        """The ranges that were asked for in a file's downloads."""
        return [asked for method, requested, asked in self.requests if method == GET and requested == name]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """A block in which ``hub.url`` answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(HEAD)

        def do_GET(self) -> None:
            self._answer(GET)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def _answer(self, method: str) -> None:
            found = _PATH.fullmatch(self.path.partition("?")[0])
            name, asked = ("" if found is None else found["name"]), self.headers.get("Range")
            hub.requests.append((method, name, asked))
            hub.tokens.append(self.headers.get("Authorization"))
            data = None if found is None else hub.files.get((found["repo"], found["revision"], name))
            if hub.gated:
                return self._refuse(403, "GatedRepo")
            if data is None:
                return self._refuse(404, "EntryNotFound")
            if method == GET and hub.refuses is not None:
                if hub.refuses == 0:
                    return self._refuse(404, "EntryNotFound")
                hub.refuses -= 1
            assert found is not None
            start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(data) - start))
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", found["revision"])
            self.end_headers()
            if method == HEAD:
                return
            cut = hub.cuts.pop(name, None)
            self.wfile.write(data[start:] if cut is None else data[start : start + cut])
            self.close_connection = cut is not None

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
