"""Checks a built site: every link and picture within it is there, anchors included, and nothing is loaded from the network.

usage: python scripts/check_site.py FOLDER. Ends with 1 and one line for each fault. Addresses that a reader may follow into the
network are not visited.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("img", "src"), ("script", "src"), ("source", "src"), ("iframe", "src"), ("link", "href"), ("video", "src")}
CSS_LOADED = re.compile(r"(?:@import\s+|url\(\s*)[\"']?((?:https?:)?//[^\"')\s]+)")


class Page(HTMLParser):
    """What a page refers to, and what can be referred to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors = {"", "top"}
        self.followed: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect."""
        values = {name: value for name, value in attrs if value is not None}
        self.anchors.update(values[name] for name in ("id", "name") if name in values)
        for name, value in values.items():
            if (tag, name) in LOADED:
                self.loaded.append(value)
            elif name == "href":
                self.followed.append(value)


def faults(folder: Path) -> list[str]:
    """One line each, none for a site that is whole."""
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    found = [] if pages else [f"{folder} has no pages"]
    for path, page in pages.items():
        told = path.relative_to(folder.resolve()).as_posix()
        for link in page.loaded:
            if urlsplit(link).netloc:
                found.append(f"{told} loads {link} from the network")
        for link in page.followed + page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                found.append(f"{told}: {link} is not there")
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{told}: {link} has no such anchor")
    for path in sorted(folder.rglob("*.css")):
        for address in CSS_LOADED.findall(path.read_text(encoding="utf-8")):
            found.append(f"{path.relative_to(folder).as_posix()} loads {address} from the network")
    return found


def main() -> int:
    """The exit code."""
    if len(sys.argv) != 2:
        print("usage: python scripts/check_site.py FOLDER", file=sys.stderr)
        return 2
    found = faults(Path(sys.argv[1]))
    for line in found:
        print(f"check_site: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
