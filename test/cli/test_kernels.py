"""The kernels that are compiled ahead are all that the node would compile at its start."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType

import pytest

from depth_retrofit_ros.cli import kernels
from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.ros.node import node


def compiling(module: ModuleType) -> set[str]:
    """The functions ``compile_…`` that it imports, wherever."""
    imports = [found for found in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(found, ast.ImportFrom)]
    return {alias.name for found in imports for alias in found.names if alias.name.startswith("compile_")}


def test_what_the_node_compiles_is_compiled_ahead() -> None:
    assert len(compiling(node)) > 5
    assert compiling(node) <= compiling(kernels)


def test_what_is_imported_is_called_and_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    called = []
    steps = {name: (lambda name=name: called.append(name)) for name in kernels.steps()}
    monkeypatch.setattr(kernels, "steps", lambda: steps)
    assert cli.main(["kernels"]) == 0
    assert called == list(steps) and len(called) == 1 + len(compiling(kernels))
    assert "compiled kernels are in place after" in capsys.readouterr().out
