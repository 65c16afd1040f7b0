"""Names of files and folders, on this machine or in a store that fsspec reaches; without the credentials that they may hold."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from depth_retrofit_ros.errors import UsageError

SCHEMES = ("sftp", "s3", "gs")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_USER = re.compile(r"(://)[^/\s]*@")
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:@?#\[\]]+)(?::(\d*))?")
_BUCKET = re.compile(r"[\w.-]+")
_HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Uri:
    """scheme: ``file`` or one of ``SCHEMES``; path: in that store (``bucket/key`` of s3 and gs), absolute of the others.

    user, password: where the user wrote them; they are in no text that is made of this.
    """

    scheme: str
    path: str
    host: str = ""
    port: int | None = None
    user: str | None = None
    password: str | None = None

    @property
    def local(self) -> Path | None:
        """None of a remote one."""
        return Path(self.path) if self.scheme == "file" else None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def key(self) -> str:
        """What tells it from all others, to be shown to nobody: the same path may be another file for another user."""
        return self._written(f"{self.user}@" if self.user is not None else "")

    def at(self, path: str) -> Uri:
        """Another path in the same store."""
        return Uri(self.scheme, path, self.host, self.port, self.user, self.password)

    def _written(self, user: str = "") -> str:
        if self.scheme == "file":
            return self.path
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{user}{host}{port}{self.path}" if self.scheme == "sftp" else f"{self.scheme}://{self.path}"

    def __str__(self) -> str:
        return printable(self._written())

    def __repr__(self) -> str:
        return f"Uri({str(self)!r})"


def parse(text: str) -> Uri:
    """A path of this machine, made absolute, or ``SCHEME://…``, of which the path is taken as it stands: ``?``, ``#`` and ``%``
    are letters of names. Raises UsageError, without its credentials."""
    match = _SCHEME.match(text)
    if match is None:
        return Uri("file", _whole(os.path.expanduser(text)))
    scheme, rest = match[1].lower(), text[match.end() :]
    shown = printable(f"{scheme}://{rest.rpartition('@')[2]}")  # a password may have a slash where none should be
    server, slash, path = rest.partition("/")
    if scheme == "file":
        if server not in ("", "localhost") or not slash:
            raise UsageError(f"{shown} is no file of this machine: give file:///PATH, or the path alone")
        return Uri("file", _whole(f"/{path}"))
    if scheme not in SCHEMES:
        raise UsageError(f"{shown}: {scheme}:// is not known, give a path, or file://, {'://, '.join(SCHEMES)}://")
    login, _, server = server.rpartition("@")
    if scheme != "sftp":
        if not _BUCKET.fullmatch(server):
            raise UsageError(f"{shown} names no bucket: give {scheme}://BUCKET/FOLDER")
        return Uri(scheme, f"{server}/{path}".strip("/"))
    host = _SERVER.fullmatch(server)
    port = int(host[2]) if host is not None and host[2] else None
    if host is None or not path.strip("/") or (port is not None and not 0 < port < 65536):
        raise UsageError(f"{shown} is no address: give sftp://[USER@]HOST[:PORT]/FOLDER")
    user, _, password = login.partition(":")
    return Uri(
        scheme,
        posixpath.normpath(f"/{path.lstrip('/')}"),
        host[1].strip("[]").lower(),
        port,
        unquote(user) or None,
        unquote(password) or None,
    )


def without_user(text: str, uri: Uri | None = None) -> str:
    """A text as one line in which no address shows a user or a password; uri: whose password is looked for everywhere."""
    if uri is not None and uri.password:
        for password in (uri.password, quote(uri.password, safe="")):
            text = text.replace(password, _HIDDEN)
    return printable(" ".join(_USER.sub(r"\1", text).split()))


def printable(text: str) -> str:
    """A text with escapes for what would not stay within a line, or command a terminal, or is no UTF-8."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _whole(path: str) -> str:
    """Absolute, by one name for one file; what ``..`` leads to is asked of the file system, for the folder may be a link."""
    parts = ["/", *Path(path).absolute().parts[1:]]
    at = max((number for number, part in enumerate(parts) if part == ".."), default=0)
    return os.path.join(os.path.realpath(os.path.join(*parts[: at + 1])), *parts[at + 1 :])
