"""OpenSSH's SFTP server on a free port of this machine, and a line to it that can be cut."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from test.waiting import PATIENCE_S

SSHD = "DEPTH_RETROFIT_SSHD"  # where it is, of one that is unpacked rather than installed


def sshd() -> str | None:
    """The server's program; None where there is none, or root has not the user that its package makes."""
    if os.getuid() == 0 and "sshd" not in {entry.pw_name for entry in pwd.getpwall()}:
        return None
    named = os.environ.get(SSHD)
    return named or shutil.which("sshd") or (found if Path(found := "/usr/sbin/sshd").exists() else None)


@dataclass(slots=True)
class Line:
    """Forwards to a port; cuts: after how many bytes, both ways, each connection ends, in their order; the others stay."""

    target: int
    cuts: list[int] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            left = [self.cuts.pop(0)] if self.cuts else [1 << 62]
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self.target))
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=(source, target, left), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket, left: list[int]) -> None:
    with suppress(OSError):
        while left[0] > 0 and (data := source.recv(65536)):
            target.sendall(data)
            left[0] -= len(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def line_to(port: int) -> Iterator[Line]:
    """A line that forwards from a free port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = Line(port, port=listener.getsockname()[1])
        threading.Thread(target=line.serve, args=(listener,), daemon=True).start()
        yield line


@contextmanager
def sftp_server(folder: Path, program: str) -> Iterator[int]:
    """Its port. In ``folder``: ``user``, the key that opens it, and ``host.pub``, its own key."""
    for name in ("user", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # as its package makes it
    options = {
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized_keys",
        "StrictModes": "no",
        "UsePAM": "no",
        "PidFile": "none",
        "PermitRootLogin": "prohibit-password",
        "Subsystem": "sftp internal-sftp",
    }
    given = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", "/dev/null", "-p", str(port), *given], stderr=log)
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline_s, (folder / "sshd.log").read_text()
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def known_hosts(folder: Path, *ports: int) -> Path:
    """A file that vouches for the server's key at these ports."""
    kind, key = (folder / "host.pub").read_text().split()[:2]
    file = folder / "known_hosts"
    file.write_text("".join(f"[127.0.0.1]:{port} {kind} {key}\n" for port in ports))
    return file


def user() -> str:
    """Who may log in."""
    return getpass.getuser()
