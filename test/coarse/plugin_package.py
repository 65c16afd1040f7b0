"""Packages with entry points, as an installation leaves them behind: a module and its metadata, in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from depth_retrofit_ros.coarse import plugins

ENTRY = """
from depth_retrofit_ros.coarse import HubModel, ModelInfo, ScaleClaim, long_side, short_side

def entry(name, **more):
    known = dict(
        loader="{module}:load", license="MIT", parameters=7, size_mb=1.0, claim=ScaleClaim("metric", "camera"),
        description="of a test", input=long_side(64, 16),
    )
    return ModelInfo(name=name, **{{**known, **more}})
"""
"""Begins a module that makes entries."""


def write_plugin(folder: Path, module: str, source: str, entry_points: str) -> Path:
    """A module and its metadata. entry_points: lines ``name = module:attribute``. Returns ``folder``, for the path."""
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{entry_points}\n")
    (folder / f"{module}.py").write_text(ENTRY.format(module=module) + source)
    return folder


def forget_plugins() -> None:
    """As in a process that has not looked yet."""
    for remembered in (plugins.declared, plugins.plugged_in, plugins.models_of):
        remembered.cache_clear()


def use_plugins(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Put ``folder`` on this process's path until the test's end."""
    monkeypatch.syspath_prepend(folder)
    forget_plugins()
