"""Sphinx: the repository's pages as a site, by ``make site``. Its source is the repository, so that links are the same on both."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

project = "depth_retrofit_ros"
author = "depth_retrofit_ros maintainers"
copyright = f"{author}, Apache-2.0"
release = version = re.findall(
    r'^__version__ = "(.+)"', (ROOT / project / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE
)[0]

extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "depth_retrofit_ros/weights/*.md", "depth_retrofit_ros/film/*.md"]
exclude_patterns = [".*", "build", "install", "log", "out", "runs", "test", "benchmarks", "**/__pycache__"]
myst_heading_anchors = 4  # as code hosts name them

html_theme = "furo"
html_title = f"Depth Retrofit {version}"
html_extra_path = ["site"]  # index.html, which leads to docs/index.html
html_show_sphinx = False
html_copy_source = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
