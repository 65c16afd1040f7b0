"""Checkpoints on the Hugging Face hub, at one commit and of one checksum, without code: where they lie, and whether they are it.

They lie in the hub's own cache (``HF_HUB_CACHE``), where other programs find them too. Nothing here uses the network.

Gigabytes take seconds to hash, so that a file of the cache that was found right is remembered beside it, and counts as right while
its size, its inode and its times of change are the same. A program cannot set back the time at which an inode changed, so that this
sees every later write. It does not see a disk that loses bits, nor whoever may write to the cache and forges the note; ``models
fetch`` always hashes anew. Files elsewhere are remembered until the process ends.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import NamedTuple

from depth_retrofit_ros.errors import WeightsError
from depth_retrofit_ros.io import digests

FILES = ("config.json", "model.safetensors")
USERS_PIN = "depth_retrofit_ros.json"  # in the repository's folder of the cache
VERIFIED = "depth_retrofit_ros.verified.json"  # there too: which files have which digest, and since when
REVISION, SHA256 = re.compile("[0-9a-f]{40}"), re.compile("[0-9a-f]{64}")


class HubModel(NamedTuple):
    """repo: ``owner/name``; revision: full commit hash; sha256: of the weights, so that nobody can exchange them on their way.

    Without these two, which no second source has confirmed, only the user can say what is right. files: what is fetched, in the
    repository; the last of them has the weights.
    """

    repo: str
    revision: str | None = None
    sha256: str | None = None
    files: tuple[str, ...] = FILES

    @property
    def folder(self) -> str:
        """The folder's name when it is fetched by hand."""
        return self.repo.rpartition("/")[2]

    @property
    def is_pinned(self) -> bool:
        """Whether it is known which files are the right ones."""
        return self.revision is not None and self.sha256 is not None


def cache_folder(model: HubModel) -> Path | None:
    """The repository's folder in the hub's local cache, there or not; None where the hub's library is not installed."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return None
    return Path(constants.HF_HUB_CACHE) / f"models--{model.repo.replace('/', '--')}"


def pinned(model: HubModel) -> HubModel:
    """With the revision and checksum that the user fetched it by, where it has none of its own."""
    folder = cache_folder(model)
    if model.is_pinned or folder is None:
        return model
    try:
        told = json.loads((folder / USERS_PIN).read_text(encoding="utf-8"))
        revision, sha256 = str(told["revision"]), str(told["sha256"])
    except (OSError, ValueError, TypeError, KeyError):  # there is none, or it is not ours
        return model
    return model._replace(revision=revision, sha256=sha256) if is_pin(revision, sha256) else model


def is_pin(revision: str | None, sha256: str | None) -> bool:
    """Whether these are a whole commit hash and a whole digest."""
    return bool(revision and sha256 and REVISION.fullmatch(revision) and SHA256.fullmatch(sha256))


def cached(model: HubModel) -> Path | None:
    """The weights in the hub's local cache, or None."""
    folder, model = cache_folder(model), pinned(model)
    if folder is None or model.revision is None:
        return None
    paths = [folder / "snapshots" / model.revision / name for name in model.files]
    return paths[-1] if all(path.is_file() for path in paths) else None


def verified(weights: Path, model: HubModel) -> Path:
    """``weights`` of the cache as they are, if they are the ones that were pinned. Raises WeightsError."""
    model = pinned(model)
    key, state = f"{model.revision}/{model.files[-1]}", _state_of(weights)
    noted = _noted(model)
    if state is not None and noted.get(key) == [model.sha256, *state]:
        return weights
    if digest_of(weights) != model.sha256:
        raise WeightsError(
            f"checkpoint {weights} is not that of {model.repo} (SHA-256 differs): delete its folder, or fetch it again with "
            "'depth-retrofit models fetch'"
        )
    if state is not None and state == _state_of(weights):  # else it is being written
        _note(model, {**noted, key: [model.sha256, *state]})
    return weights


_digests: dict[tuple[Path, tuple[int, ...]], str] = {}


def digest_of(weights: Path) -> str:
    """SHA-256 of a file, hex; within a process, an unchanged file is hashed once. Raises WeightsError."""
    state = _state_of(weights)
    if state is None:
        return digests.digest_of(weights)
    key = (weights.resolve(), state)
    if key not in _digests:
        _digests[key] = digests.digest_of(weights)
    return _digests[key]


def _state_of(file: Path) -> tuple[int, ...] | None:
    """What changes when anybody writes to the file; None where it cannot be told."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _noted(model: HubModel) -> dict[str, object]:
    folder = cache_folder(model)
    try:
        found = json.loads((folder / VERIFIED).read_text(encoding="utf-8")) if folder else {}
    except (OSError, ValueError):  # there is none, or it is not ours
        return {}
    return found if isinstance(found, dict) else {}


def _note(model: HubModel, noted: dict[str, object]) -> None:
    """Where the cache cannot be written, the next process hashes once more."""
    if (folder := cache_folder(model)) is None:
        return
    partial = folder / f"{VERIFIED}.{os.getpid()}"
    try:
        partial.write_text(json.dumps(noted), encoding="utf-8")
        partial.replace(folder / VERIFIED)
    except OSError:
        return
