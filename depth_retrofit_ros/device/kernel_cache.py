"""Numba kernels that keep their machine code on disk where a folder can be written, and run all the same where none can.

The folder is ``NUMBA_CACHE_DIR``, else ``__pycache__`` beside the source, else the user's cache; the first that can be written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numba
from numba.core.caching import FunctionCache, NullCache

_LOG = logging.getLogger(__name__)
# Fast math for kernels that meet infinities, such as a sky's depth: without "ninf" and "nnan" they stay what they are.
FAST_WITH_INFINITY = {"contract", "reassoc", "arcp", "nsz", "afn"}
_told: list[str] = []  # the reason that was told in this process, if any


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
    """Numba's cache, on a disk that may fill up or go away at any moment."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The stored machine code for ``sig``; None where there is none, or what is there is cut off or unreadable."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # whatever unpickling damaged bytes raises
            with suppress(OSError):
                self.flush()  # a damaged index would be read again before the next entry is stored
            return None

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


def _cache_of(function: Callable[..., Any]) -> KernelCache | NoCache:
    try:
        return KernelCache(function)
    except RuntimeError:  # numba's "no locator available"
        return NoCache()


def _tell(reason: str) -> None:
    if not _told:
        _told.append(reason)
        _LOG.warning(
            "compiled kernels cannot be stored (%s): each start compiles them anew, for some ten seconds; "
            "set NUMBA_CACHE_DIR to a writable folder",
            reason,
        )
