"""Checkpoints on the Hugging Face hub, at one commit and of one checksum, without code: where they lie, and whether they are it.

They lie in the hub's own cache (``HF_HUB_CACHE``), where other programs find them too. Nothing here uses the network.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import NamedTuple

from depth_retrofit_ros.errors import WeightsError

FILES = ("config.json", "model.safetensors")
USERS_PIN = "depth_retrofit_ros.json"  # in the repository's folder of the cache
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
    """``weights`` as they are, if they are the ones that were pinned. Raises WeightsError."""
    if sha256_of(weights) != pinned(model).sha256:
        raise WeightsError(f"checkpoint {weights} is not that of {model.repo} (SHA-256 differs): delete it, to fetch it again")
    return weights


def sha256_of(weights: Path) -> str:
    """Hex digest of a file. Raises WeightsError."""
    digest = hashlib.sha256()
    try:
        with weights.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise WeightsError(f"cannot read checkpoint {weights} ({error.strerror}): delete it, to fetch it again") from None
    return digest.hexdigest()
