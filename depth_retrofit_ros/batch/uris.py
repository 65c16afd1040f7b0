"""Names of files and folders, on this machine or in a store that fsspec reaches; without the credentials that they may hold."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from depth_retrofit_ros.errors import UsageError

SCHEMES = ("sftp", "s3", "gs")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_USER = re.compile(r"(://)[^/@\s]*@")
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

    def at(self, path: str) -> Uri:
        """Another path in the same store."""
        return Uri(self.scheme, path, self.host, self.port, self.user, self.password)

    def __str__(self) -> str:
        if self.scheme == "file":
            return self.path
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.path}" if self.scheme == "sftp" else f"{self.scheme}://{self.path}"

    def __repr__(self) -> str:
        return f"Uri({str(self)!r})"


def parse(text: str) -> Uri:
    """A path of this machine, made absolute, or ``SCHEME://…``. Raises UsageError, without its credentials."""
    match = _SCHEME.match(text)
    if match is None:
        return Uri("file", str(Path(text).expanduser().absolute()))
    scheme = match[1].lower()
    if scheme == "file":
        return Uri("file", str(Path(unquote(urlsplit(text).path)).absolute()))
    if scheme not in SCHEMES:
        raise UsageError(f"{without_user(text)}: {scheme}:// is not known, give a path, or file://, {'://, '.join(SCHEMES)}://")
    if scheme != "sftp":
        if not (path := _USER.sub(r"\1", text).partition("://")[2].strip("/")):
            raise UsageError(f"{scheme}:// names no bucket: give {scheme}://BUCKET/FOLDER")
        return Uri(scheme, path)
    server, slash, path = text[match.end() :].partition("/")  # as it is: ? and # are of patterns and names
    try:
        parts = urlsplit(f"sftp://{server}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UsageError(f"{without_user(text)} is no address: give sftp://[USER@]HOST[:PORT]/FOLDER") from None
    if not host or not path.strip("/"):
        raise UsageError(f"{without_user(text)} is no address: give sftp://[USER@]HOST[:PORT]/FOLDER")
    user, password = (None if value is None else unquote(value) for value in (parts.username, parts.password))
    return Uri(scheme, slash + path, host, port, user, password)


def without_user(text: str, uri: Uri | None = None) -> str:
    """A text in which no address shows a user or a password; uri: whose password is looked for everywhere."""
    if uri is not None and uri.password:
        text = text.replace(uri.password, _HIDDEN)
    return " ".join(_USER.sub(r"\1", text).split())
