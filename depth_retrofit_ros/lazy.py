"""Public names of a package that are imported when they are first asked for, so that importing the package stays light."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module


def lazy_names(package: str, names: Collection[str], homes: Mapping[str, str], home: str) -> Callable[[str], object]:
    """The ``__getattr__`` of ``package``. homes: the module within it that has a name; home: the one of all others."""

    def __getattr__(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{package}.{homes.get(name, home)}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__
