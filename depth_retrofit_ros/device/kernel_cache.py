"""Numba kernels that keep their machine code on disk where a folder can be written, and run all the same where none can.

The folder is ``NUMBA_CACHE_DIR``, else ``__pycache__`` beside the source, else the user's cache; the first that can be written.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, NullCache

_LOG = logging.getLogger(__name__)
# Fast math for kernels that meet infinities, such as a sky's depth: without "ninf" and "nnan" they stay what they are.
FAST_WITH_INFINITY = {"contract", "reassoc", "arcp", "nsz", "afn"}
COMPILING = "compiling kernels for this machine, once: tens of seconds"
_told: list[str] = []  # the reason that was told in this process, if any
_told_compiling: list[str] = []  # the first kernel that this process compiles, if any


def cached_njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit(**options)`` with a cache that costs nobody a run.

    Numba's own raises at import where no folder can be written, and at a call where the disk fails. Here a kernel that cannot be
    read is compiled anew, and the first one that was compiled and cannot be stored is told.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(**options)(function)
        # What its option for a cache sets. Numba has no public way to another cache; a test holds that it is used.
        dispatcher._cache = _cache_of(function)
        return dispatcher

    return decorate


class KernelCache(FunctionCache):
    """Numba's cache, on a disk that may fill up or go away at any moment; and for the sources of today.

    Numba compares the kernel's own file and code alone. Here machine code is also of what its module imports from its package:
    intrinsics, constants, other kernels.
    """

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        # Numba has no public way to extend the key; a test holds that this is used.
        return *super()._index_key(sig, codegen), sources_digest(self._py_func.__module__)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The stored machine code for ``sig``; None where there is none, or what is there is cut off or unreadable."""
        try:
            stored = super().load_overload(sig, target_context)
        except Exception:  # whatever unpickling damaged bytes raises
            with suppress(OSError):
                self.flush()  # a damaged index would be read again before the next entry is stored
            stored = None
        if stored is None:
            _tell_compiling(self._py_func.__qualname__)
        return stored

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store it if the disk lets us."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _tell(f"{self.cache_path}: {error.strerror}")
        except Exception as error:  # it reads its index again, which may be damaged and, on a full disk, still there
            _tell(f"{self.cache_path}: {type(error).__name__} in its index")


class NoCache(NullCache):
    """Where no folder can be written."""

    def save_overload(self, sig: Any, data: Any) -> None:
        """Nothing is stored, which matters now: this kernel was compiled, and will be at the next start."""
        _tell("neither the package's folder nor the user's cache can be written")


@functools.cache
def sources_digest(module: str) -> str:
    """Of the sources that a module's kernels are made of."""
    sources = (f"{name} {hashlib.sha256(_source(name)).hexdigest()}" for name in sorted(made_of(module)))
    return hashlib.sha256("\n".join(sources).encode()).hexdigest()


def made_of(module: str) -> set[str]:
    """A module, and all modules of its package that it imports at its top, directly or by others."""
    found, waiting = {module}, [module]
    while waiting:
        new = _imported(waiting.pop()) - found
        found |= new
        waiting += new
    return found


@functools.cache
def _imported(module: str) -> set[str]:
    """The loaded modules of its own package that a module imports at its top."""
    package = sys.modules[module].__package__ or ""
    own = module.partition(".")[0]
    named = (name for name in _names(_source(module), package) if name.partition(".")[0] == own)
    return {name for name in named if getattr(sys.modules.get(name), "__file__", None)}  # a folder without a source has none


def _names(source: bytes, package: str) -> Iterator[str]:
    """All that may be modules in the imports of a source; package: against which relative ones are resolved."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            base = resolve_name("." * statement.level + (statement.module or ""), package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in statement.names)


@functools.cache
def _source(module: str) -> bytes:
    return Path(str(sys.modules[module].__file__)).read_bytes()


def _cache_of(function: Callable[..., Any]) -> KernelCache | NoCache:
    try:
        return KernelCache(function)
    except RuntimeError:  # numba's "no locator available"
        return NoCache()


def _tell_compiling(kernel: str) -> None:
    """Before the first kernel that is not stored: what comes looks like a program that hangs."""
    if not _told_compiling:
        _told_compiling.append(kernel)
        _LOG.info(COMPILING)


def _tell(reason: str) -> None:
    if not _told:
        _told.append(reason)
        _LOG.warning(
            "compiled kernels cannot be stored (%s): each start compiles them anew, for up to 20 s; "
            "set NUMBA_CACHE_DIR to a writable folder",
            reason,
        )
