"""The pages: every link leads somewhere, every page is in the table of contents; and the check of the built site finds faults."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from test.paths import ROOT

CHECK = ROOT / "scripts" / "check_site.py"
FOLDERS = ("docs", "depth_retrofit_ros/weights", "depth_retrofit_ros/film")
FENCE = re.compile(r"^( *)(```+).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+(?:\([^()]*\))?[^()\s]*)\)")


def pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])


def prose(path: Path) -> str:
    """Without what stands in fences."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """As code hosts, and the site, name headings."""
    headings = re.findall(r"^#+ +(.*?) *$", prose(path), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def broken(path: Path) -> Iterator[str]:
    for link in LINK.findall(prose(path)):
        if re.match(r"https?://|mailto:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists():
            yield f"{link} is not there"
        elif anchor and anchor not in anchors(target):
            yield f"{link} has no such anchor"


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(path: Path) -> None:
    assert list(broken(path)) == []


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b`, c\n[x](#a-b-c) [y](#d) [z](none.md)\n```\n[in a fence](none.md)\n```\n![p](none.png)\n")
    assert list(broken(page)) == ["#d has no such anchor", "none.md is not there", "none.png is not there"]


def test_every_page_is_in_the_table_of_contents_once() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    tables = "".join(re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL))
    listed = sorted(re.sub(r".*<(.*)>", r"\1", line) for line in tables.splitlines() if line and line[0] != ":")
    names = {path.relative_to(ROOT).with_suffix("").as_posix() for path in pages()} - {"docs/index"}
    assert listed == sorted(name.removeprefix("docs/") if name.startswith("docs/") else f"/{name}" for name in names)


def test_a_built_site_that_is_whole_passes_and_faults_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<h1 id="top-of-a"><a href="b.html#there">b</a> <a href="https://else.where">out</a><img src="p.png">'
    )
    (tmp_path / "b.html").write_text('<p id="there"><a href="#there">here</a> <a href="a.html#top-of-a">a</a>')
    (tmp_path / "p.png").touch()
    done = subprocess.run([sys.executable, CHECK, tmp_path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "a.html").write_text(
        '<link href="https://fonts.example/f.css"><a href="b.html#gone">x</a><a href="c.html">y</a><img src="q.png">'
        '<script src="//cdn/x.js">'
    )
    (tmp_path / "s.css").write_text("@import url('https://fonts.example/f.css'); p { background: url(p.png) }")
    done = subprocess.run([sys.executable, CHECK, tmp_path], capture_output=True, text=True)
    assert done.returncode == 1
    told = [line.removeprefix("check_site: ") for line in done.stderr.splitlines()]
    assert told == [
        "a.html loads https://fonts.example/f.css from the network",
        "a.html loads //cdn/x.js from the network",
        "a.html: b.html#gone has no such anchor",
        "a.html: c.html is not there",
        "a.html: q.png is not there",
        "b.html: a.html#top-of-a has no such anchor",
        "s.css loads https://fonts.example/f.css from the network",
    ]
    done = subprocess.run([sys.executable, CHECK, tmp_path / "empty"], capture_output=True, text=True)
    assert done.returncode == 1 and "has no pages" in done.stderr
