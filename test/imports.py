"""What the package's modules import, read from their sources: nothing is executed, and imports inside functions are seen, too."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "depth_retrofit_ros"
_LOADER = re.compile(rf"{PACKAGE}(\.\w+)+(:\w+)?")  # "module:function", as registries name what they import later


@dataclass(frozen=True, slots=True)
class Import:
    """One import: ``name`` is a module, the package's own or another's. at_load: executed when the module is loaded; type_only: for
    the type checker alone."""

    module: str
    name: str
    at_load: bool
    type_only: bool


def read_sources(package: Path) -> dict[str, str]:
    """Module → source; generated messages left out."""
    sources = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[0] != "msg":
            sources[".".join((PACKAGE, *(parts[:-1] if parts[-1] == "__init__" else parts)))] = path.read_text(encoding="utf-8")
    return sources


def imports_of(sources: Mapping[str, str]) -> list[Import]:
    """Of all modules. ``from package import module`` counts as the module, a registry's loader string as a later import of it."""
    known = frozenset(sources)
    return [found for module, text in sources.items() for found in _of_one(module, text, known)]


@functools.cache
def _of_one(module: str, text: str, known: frozenset[str]) -> tuple[Import, ...]:
    """Once, of the hundreds that a planted fault leaves as they are."""
    return tuple(_walk(module, ast.parse(text), known, True, False))


def _walk(module: str, node: ast.AST, known: frozenset[str], at_load: bool, type_only: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(module, alias.name, at_load, type_only) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            if child.level or child.module is None:
                raise ValueError(f"{module} has a relative import: write it out")
            full = ((f"{child.module}.{alias.name}", child.module) for alias in child.names)
            yield from (Import(module, name if name in known else parent, at_load, type_only) for name, parent in full)
        elif isinstance(child, ast.Constant) and isinstance(child.value, str) and _LOADER.fullmatch(child.value):
            yield Import(module, child.value.partition(":")[0], False, type_only)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _walk(module, child, known, False, type_only)
        elif isinstance(child, ast.If):
            for branch, of_types in ((child.body, _is_type_checking(child.test)), (child.orelse, False)):
                for statement in branch:
                    wrapped = ast.Module([statement], [])
                    yield from _walk(module, wrapped, known, at_load and not of_types, type_only or of_types)
            yield from _walk(module, child.test, known, at_load, type_only)
        else:
            yield from _walk(module, child, known, at_load, type_only)


def _is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def cycle(edges: Mapping[str, set[str]]) -> list[str]:
    """The nodes of one cycle of a graph, in order, or nothing."""
    done: set[str] = set()

    def visit(node: str, way: list[str]) -> list[str]:
        if node in way:
            return way[way.index(node) :]
        if node in done:
            return []
        for other in sorted(edges.get(node, ())):
            if found := visit(other, [*way, node]):
                return found
        done.add(node)
        return []

    return next((found for node in sorted(edges) if (found := visit(node, []))), [])


def reachable(start: set[str], edges: Mapping[str, set[str]]) -> set[str]:
    """``start`` and all that can be reached from it."""
    seen, open_ones = set(start), list(start)
    while open_ones:
        new = edges.get(open_ones.pop(), set()) - seen
        seen |= new
        open_ones += new
    return seen
