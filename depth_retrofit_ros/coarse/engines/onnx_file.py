"""ONNX files that engines load, kept on disk from one start to the next."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import nn

import depth_retrofit_ros
from depth_retrofit_ros.coarse.engines.base import Source, Tensors
from depth_retrofit_ros.coarse.engines.cache import code_digest, engines_folder, weights_digest
from depth_retrofit_ros.coarse.engines.onnx_export import OPSET, write_onnx

NAME = "network.onnx"
LARGEST_MB = 8000.0  # of all that is kept; what was not used for longest goes first
_LOG = logging.getLogger(__name__)


@contextmanager
def onnx_file(network: nn.Module, inputs: Tensors, source: Source) -> Iterator[Path]:
    """The network's file for inputs of these shapes, made where there is none yet; its folder is for what an engine makes of it.

    Where the folder for such files cannot be written, both live for the time of the context only. Raises ModelError for a network
    that cannot be exported.
    """
    folder = engines_folder() / "onnx" / _key(network, inputs, source)
    try:
        if not (folder / NAME).is_file():
            folder.parent.mkdir(parents=True, exist_ok=True)
            making = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
            try:
                write_onnx(network, inputs, making / NAME, source.model)
                with suppress(OSError):  # somebody else was faster
                    making.rename(folder)
            finally:
                shutil.rmtree(making, ignore_errors=True)
            prune(folder.parent, folder)
        os.utime(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        _LOG.warning("engine files cannot be kept in %s (%s): each start makes them anew", folder.parent, reason)
        with tempfile.TemporaryDirectory(prefix="depth_retrofit_") as temporary:
            write_onnx(network, inputs, Path(temporary) / NAME, source.model)
            yield Path(temporary) / NAME
        return
    yield folder / NAME


def prune(folder: Path, used: Path, largest_mb: float = LARGEST_MB) -> None:
    """Remove the oldest of the folders in ``folder`` until the rest is not larger; the one that is ``used`` stays."""
    entries = sorted((entry for entry in folder.iterdir() if entry.is_dir()), key=lambda entry: entry.stat().st_mtime)
    sizes = {entry: sum(file.stat().st_size for file in entry.rglob("*") if file.is_file()) / 1e6 for entry in entries}
    for entry in entries:
        if sum(sizes.values()) <= largest_mb:
            return
        if entry != used:
            shutil.rmtree(entry, ignore_errors=True)
            del sizes[entry]


def _key(network: nn.Module, inputs: Tensors, source: Source) -> str:
    """Of all that the file depends on; the folder's name."""
    shapes = [(tuple(tensor.shape), str(tensor.dtype)) for tensor in inputs]
    digests = source.digest or weights_digest(network), code_digest(network)
    facts = (depth_retrofit_ros.__version__, torch.__version__, OPSET, source.model, digests, shapes)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
