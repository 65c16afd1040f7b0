"""Checkpoints: find the file, read its tensors without running anything it contains, load them strictly.

Read: safetensors, and PyTorch's own formats with ``weights_only=True`` (tensors and plain containers, never code).
Written: safetensors. Each failure is a ``WeightsError`` of one line.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from depth_retrofit_ros.errors import WeightsError
from depth_retrofit_ros.io.digests import digest_of, unreadable

SEARCH_PATH_VARIABLE = "DEPTH_RETROFIT_WEIGHTS"
GENERIC_NAMES = frozenset({"model.safetensors", "pytorch_model.bin", "model.pt", "model.pth"})  # of any model
BUNDLED_FOLDER = Path(__file__).resolve().parents[1] / "weights"


def load_tensors(path: Path, sha256: str | None = None, nested: str | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, on the CPU, and the file's string metadata (empty for PyTorch's formats).

    The format is told by content, not by suffix. sha256: hex digest that the file must have. nested: where a PyTorch file may hold
    a dict beside other things, its key.
    The tensors are views of the file, mapped privately: writing to them does not change it, and a file that is replaced by a new
    one (as everything here does) does not change them. It must not be overwritten in place while they live.
    Raises WeightsError: missing, unreadable, other digest, corrupt, or not a state dict.
    """
    if sha256 is not None and digest_of(path) != sha256.lower():
        raise WeightsError(f"checkpoint {path} is not the expected file (SHA-256 differs): fetch it again")
    if _is_safetensors(path):
        return _read_safetensors(path)
    return _plain_tensors(path, _nested(_read_content(path), nested)), {}


def load_names(path: Path, nested: str | None = None) -> tuple[frozenset[str], dict[str, str]]:
    """The tensors' names, and the metadata, as ``load_tensors`` gives them, without reading values: a file of gigabytes is told at
    once, and its checksums are not compared. Raises WeightsError as there."""
    if _is_safetensors(path):
        with _opened(path) as file:
            return frozenset(file.keys()), file.metadata() or {}
    return frozenset(_plain_tensors(path, _nested(_read_content(path, compared=False), nested))), {}


def check_readable(path: Path) -> None:
    """Raises WeightsError where the file is corrupt, or none of the formats; which network it is for is not looked at."""
    if _is_safetensors(path):
        _read_safetensors(path)
    else:
        _read_content(path)


def load_configured(path: Path, tensors: str, config: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Of a PyTorch file that holds a dict: its state dict under the key ``tensors``, its network's configuration under ``config``.

    Raises WeightsError: missing, unreadable, corrupt, or without these two.
    """
    content = _read_content(path)
    if not isinstance(content, dict) or not isinstance(content.get(config), dict) or tensors not in content:
        raise WeightsError(f"checkpoint {path} holds no {tensors} with its {config}: give the published file as it is")
    return _plain_tensors(path, content[tensors]), content[config]


def load_nested(path: Path, key: str, prefix: str) -> dict[str, Tensor]:
    """Of a PyTorch file that holds a dict: its state dict under ``key``, whose names all begin with ``prefix``, without that.

    Raises WeightsError: missing, unreadable, corrupt, or not so.
    """
    content = _read_content(path)
    nested = content.get(key) if isinstance(content, dict) else None
    if not isinstance(nested, dict) or not all(isinstance(name, str) and name.startswith(prefix) for name in nested):
        raise WeightsError(f"checkpoint {path} holds no {key} of names in {prefix}*: give the published file as it is")
    return _plain_tensors(path, {name[len(prefix) :]: value for name, value in nested.items()})


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, folders included; it appears whole or not at all. Raises WeightsError if it cannot be written."""
    owned = {name: tensor.detach().clone(memory_format=torch.contiguous_format).cpu() for name, tensor in tensors.items()}
    data = safetensors.torch.save(owned, dict(metadata))
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise WeightsError(f"cannot write checkpoint {path} ({error.strerror}): choose a writable place with free space") from None


def bundled(filename: str) -> Path:
    """A checkpoint that is part of this package. Raises WeightsError if the installation lacks it."""
    path = BUNDLED_FOLDER / filename
    if not path.is_file():
        raise WeightsError(f"bundled checkpoint {filename} is missing from {BUNDLED_FOLDER}: reinstall depth_retrofit_ros")
    return path


def find_weights(filenames: Sequence[str], explicit: Path | None, how_to_get: str, direct: Sequence[str] = ()) -> Path:
    """The first of ``filenames`` (names or relative paths, best first) that exists.

    direct: further names that count in the folder itself alone, as they do not tell one model from another.

    explicit: the file itself, whatever its name, or a folder; None searches the folders of ``DEPTH_RETROFIT_WEIGHTS``
    (separated as in ``PATH``). A folder is searched with its immediate subfolders, these not for a name that any model's file may
    have (``GENERIC_NAMES``). Raises WeightsError that repeats ``how_to_get``.
    """
    if explicit is not None:
        explicit = explicit.expanduser()
        if explicit.is_file():
            return explicit
        if not explicit.is_dir():
            raise WeightsError(f"no weights at {explicit}: give an existing file or folder; {how_to_get}")
        folders, where = [explicit], str(explicit)
    else:
        folders = [Path(part).expanduser() for part in os.environ.get(SEARCH_PATH_VARIABLE, "").split(os.pathsep) if part]
        where = f"{SEARCH_PATH_VARIABLE} ({os.pathsep.join(map(str, folders)) or 'not set'})"
    for folder in folders:
        for candidate in _candidates(folder, filenames, direct):
            if candidate.is_file():
                return candidate
    raise WeightsError(f"{' or '.join((*filenames, *direct))} not found in {where}: {how_to_get}")


def load_strict(module: nn.Module, tensors: Mapping[str, Tensor], path: Path, assign: bool = False) -> None:
    """Copy ``tensors`` into ``module``: same names, same shapes, finite values; else raises WeightsError that names ``path``.

    assign: make the tensors themselves its parameters, for a large module that is on the meta device.
    """
    require_same(module, tensors, path)
    require_finite(tensors, path)
    module.load_state_dict(dict(tensors), assign=assign)


def require_same(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raises WeightsError, which names ``path``, where ``module`` has not the names and shapes of ``tensors``. A module on the meta
    device tells it before there is memory for what a file asks for."""
    wanted = module.state_dict()
    problems = [f"lacks {name}" for name in wanted if name not in tensors]
    problems += [f"has unknown {name}" for name in tensors if name not in wanted]
    problems += [
        f"{name} is {list(tensors[name].shape)}, not {list(value.shape)}"
        for name, value in wanted.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(f"checkpoint {path} was made for another network ({'; '.join(problems[:3])}{more}): use its own model")


def require_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raises WeightsError if a weight is NaN or infinite: every depth would be."""
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise WeightsError(f"checkpoint {path} has values that are not finite (first in {name}): fetch or train it again")


def first_line(error: BaseException) -> str:
    """A library's message, cut to fit into one of ours."""
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__


def _candidates(folder: Path, filenames: Sequence[str], direct: Sequence[str]) -> Iterator[Path]:
    yield from (folder / name for name in (*filenames, *direct))
    try:
        subfolders = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except OSError:  # a folder of the search path that is absent or closed to us holds nothing for us
        return
    for subfolder in subfolders:
        yield from (subfolder / name for name in filenames if name not in GENERIC_NAMES)


def _is_safetensors(path: Path) -> bool:
    """A little-endian header length, then a JSON object of that length."""
    head, size = _head_of(path)
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8


def _head_of(path: Path) -> tuple[bytes, int]:
    """The first 9 bytes of a file and its size. Raises WeightsError."""
    try:
        with path.open("rb") as file:
            return file.read(9), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise unreadable(path, error) from None


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118, it is no mapping


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file, to read from. Raises WeightsError."""
    try:
        with safetensors.safe_open(path, "pt", device="cpu") as file:
            yield file
    except Exception as error:  # the mapping, the header and the types each fail in their own way
        raise _corrupt(path, first_line(error)) from None


def _nested(content: object, key: str | None) -> object:
    """The dict under ``key`` where there is one, else the content itself."""
    inner = content.get(key) if key is not None and isinstance(content, dict) else None
    return inner if isinstance(inner, dict) else content


def _read_content(path: Path, compared: bool = True) -> object:
    """What a PyTorch file holds: tensors in plain containers. compared: whether an archive's checksums are."""
    if _head_of(path)[0][:2] not in (b"PK", b"\x80\x02"):  # a zip archive, or the bare pickle of PyTorch before 1.6
        raise _corrupt(path, "starts neither like safetensors nor like PyTorch")
    try:
        mappable = zipfile.is_zipfile(path) and _checked_archive(path, compared)
        content: object = torch.load(path, map_location="cpu", weights_only=True, mmap=mappable)
    except pickle.UnpicklingError:  # its own message advises to switch the protection off
        raise _corrupt(path, "damaged, or holds code and not just tensors") from None
    except Exception as error:  # a broken or hostile file can fail anywhere in the reader, with any type
        raise _corrupt(path, first_line(error)) from None
    return content


def _plain_tensors(path: Path, content: object) -> dict[str, Tensor]:
    if not isinstance(content, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()):
        raise WeightsError(f"checkpoint {path} holds {type(content).__name__}, not a state dict: save model.state_dict()")
    for name, tensor in content.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_complex() or tensor.is_quantized:
            raise WeightsError(f"checkpoint {path} holds {name} as no plain real array: save the values of model.state_dict()")
    return {name: tensor.detach() for name, tensor in content.items()}


def _checked_archive(path: Path, compared: bool) -> bool:
    """Whether all of the archive lies in it as it is, so that it can be mapped. Raises ValueError where a checksum differs, if they
    are compared.

    PyTorch's reader does not compare the checksums, so a flipped bit would become a wrong weight.
    """
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip() if compared else None
        if broken is not None:
            raise ValueError(f"checksum of {broken} differs")
        return all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())


def _corrupt(path: Path, detail: str) -> WeightsError:
    return WeightsError(f"checkpoint {path} is corrupt or not a checkpoint ({detail}): fetch it again")
