"""Package metadata is in setup.cfg; only the version is read here, from the package itself.

It is not in setup.cfg because ament_cmake_python, too, builds metadata from that file, beside a package that is still empty.
"""

import re
from pathlib import Path

from setuptools import setup

init = (Path(__file__).parent / "depth_retrofit_ros" / "__init__.py").read_text(encoding="utf-8")
match = re.search(r'^__version__ = "(.+)"$', init, re.MULTILINE)
if match is None:
    raise SystemExit("depth_retrofit_ros/__init__.py does not set __version__")
setup(version=match[1])
