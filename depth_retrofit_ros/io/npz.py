"""Reading ``.npz`` files that somebody else wrote: no pickles, and each failure told in one line."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from depth_retrofit_ros.errors import DatasetError


class NpzReader:
    """Numbers and arrays by name. Raises DatasetError where one is missing, of another kind, or damaged."""

    def __init__(self, path: Path, archive: np.lib.npyio.NpzFile) -> None:
        self._path, self._archive = path, archive

    def __contains__(self, name: str) -> bool:
        return name in self._archive.files

    def array(self, name: str, dimensions: int) -> np.ndarray:
        """``float32``, of this many dimensions, none of them empty."""
        values = self._read(name)
        if values.dtype.kind != "f" or values.ndim != dimensions or 0 in values.shape:
            wanted = f"a non-empty floating-point array of {dimensions} dimensions"
            raise DatasetError(f"{self._path}: '{name}' is {values.dtype} {list(values.shape)} but must be {wanted}")
        return values.astype(np.float32, copy=False)

    def number(self, name: str) -> float:
        """A single number or truth value, whatever its type."""
        values = self._read(name)
        if values.dtype.kind not in "fiub" or values.size != 1:
            raise DatasetError(f"{self._path}: '{name}' is {values.dtype} {list(values.shape)} but must be one number")
        return float(values.reshape(()))

    def raw(self, name: str) -> np.ndarray:
        """As stored, whatever it is."""
        return self._read(name)

    def only_map(self) -> str:
        """The name of the only array of two dimensions (those of one element aside). Raises DatasetError where there is not one."""
        names = [name for name in self._archive.files if self._read(name).squeeze().ndim == 2]
        if len(names) != 1:
            held = ", ".join(self._archive.files) or "nothing"
            raise DatasetError(f"{self._path} has no 'depth' and no 'disparity', only {held}: add it")
        return names[0]

    def _read(self, name: str) -> np.ndarray:
        if name not in self:
            raise DatasetError(f"{self._path} has no '{name}', only {', '.join(self._archive.files) or 'nothing'}: add it")
        try:
            values: np.ndarray = self._archive[name]
        except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error):
            raise DatasetError(f"{self._path}: '{name}' is damaged or holds Python objects: write it again") from None
        return values


@contextmanager
def open_npz(path: Path) -> Iterator[NpzReader]:
    """Raises DatasetError where the file is missing, corrupt, or no ``.npz``."""
    try:
        archive: Any = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise DatasetError(f"{path} is corrupt or no .npz file: write it again with numpy.savez") from None
    except OSError as error:
        raise DatasetError(f"cannot read {path} ({error.strerror or error}): check the path") from None
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise DatasetError(f"{path} is a single array, not an .npz file: write it with numpy.savez(path, depth=...)")
    with archive:
        yield NpzReader(path, archive)
