"""ONNX files that engines load, kept on disk from one start to the next (``cache.ProgramCache``)."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

import depth_retrofit_ros
from depth_retrofit_ros.coarse.engines.base import Source, Tensors
from depth_retrofit_ros.coarse.engines.cache import Key, ProgramCache, code_digest, described, engines_folder, weights_digest
from depth_retrofit_ros.coarse.engines.onnx_export import OPSET, WRITERS, export_onnx, save_onnx
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.io.checkpoints import first_line

NAME = "network.onnx"  # in a folder of its own, with the weights of large ones beside it
_Loaded = TypeVar("_Loaded")


def loaded_from_onnx(
    network: nn.Module, inputs: Tensors, source: Source, engine: str, load: Callable[[Path, Path | None], _Loaded]
) -> _Loaded:
    """What an engine loads of the network's file for inputs of these shapes, which is written where none is kept.

    engine: its name, which is that of its Python package. load: given the file, and a folder for what the engine itself keeps, None
    where nothing can be kept. A file that is not what was kept, or that cannot be loaded, is written anew once. Raises ModelError
    for a network that cannot be exported, or loaded.
    """
    cache, key = ProgramCache(engines_folder() / "onnx", suffix=""), _key(network, inputs, source, engine)
    folder = cache.file(key)
    saved: list[Path] = []  # by this call

    def save(program: Any, scratch: Path) -> None:
        scratch.mkdir()
        save_onnx(program, scratch / NAME)
        saved.append(scratch)

    def read(folder: Path) -> _Read[_Loaded]:
        own = folder.with_name(f"{folder.name}.{engine}")
        return _Read(load(folder / NAME, own if os.access(folder.parent, os.W_OK) else None))

    found = cache.program(key, lambda _: export_onnx(network, inputs, source.model), save, read)
    if isinstance(found, _Read):
        return found.program
    try:
        if saved and (folder / NAME).is_file():
            return read(folder).program
        with tempfile.TemporaryDirectory(prefix="depth_retrofit_") as temporary:
            save_onnx(found, Path(temporary) / NAME)
            return load(Path(temporary) / NAME, None)
    except Exception as error:  # the runtimes' exceptions have no common class of their own
        cache.discard(key)
        raise ModelError(f"coarse engine {engine} cannot load {source.model} ({first_line(error)}): use eager") from error


class _Read(Generic[_Loaded]):
    """A program that was read, not exported."""

    def __init__(self, program: _Loaded) -> None:
        self.program = program


def _key(network: nn.Module, inputs: Tensors, source: Source, engine: str) -> Key:
    """All that the file, and what the engine makes of it, depends on, in words."""
    return {
        "model": source.model,
        "checkpoint": source.digest or weights_digest(network),
        "inputs": described(inputs),
        "opset": str(OPSET),
        **{package: _version(package) for package in (*WRITERS, engine)},
        "torch": torch.__version__,
        "depth_retrofit_ros": depth_retrofit_ros.__version__,
        "code": code_digest(network),
    }


def _version(package: str) -> str:
    """Of what is imported, else what is installed: importing what writes files takes a second that reading them does not need."""
    if told := getattr(sys.modules.get(package), "__version__", None):
        return str(told)
    try:
        return version(package)
    except PackageNotFoundError:  # installed under another name, such as a build for other processors
        return "unknown"
