"""Checkpoints on the Hugging Face hub, at one commit and of one checksum, without code: configuration and safetensors only."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.io.checkpoints import first_line

FILES = ("config.json", "model.safetensors")


class HubModel(NamedTuple):
    """repo: ``owner/name``; revision: full commit hash; sha256: of the weights, so that nobody can exchange them on their way."""

    repo: str
    revision: str
    sha256: str

    @property
    def folder(self) -> str:
        """The folder's name when it is fetched by hand."""
        return self.repo.rpartition("/")[2]


def cached(model: HubModel) -> Path | None:
    """The weights in the hub's local cache, or None. No network."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    paths = [try_to_load_from_cache(model.repo, name, revision=model.revision) for name in FILES]
    found = [Path(path) for path in paths if isinstance(path, str)]  # else None, or a marker for "known not to exist"
    return found[-1] if len(found) == len(FILES) else None


def fetch(model: HubModel, how_to_get: str) -> Path:
    """The weights, from the cache or else downloaded into it. Raises ModelError or WeightsError (offline, refused)."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise ModelError(f"{model.repo} needs huggingface_hub, which is not installed: {how_to_get}") from None
    try:
        paths = [hf_hub_download(model.repo, name, revision=model.revision) for name in FILES]
    except (OSError, RuntimeError, ValueError) as error:  # network, cache and refusals; the hub's own errors derive from these
        raise WeightsError(f"cannot fetch {model.repo} ({first_line(error)}): {how_to_get}") from None
    return Path(paths[-1])


def verified(weights: Path, model: HubModel) -> Path:
    """``weights`` as they are, if they are the ones that were pinned. Raises WeightsError."""
    digest = hashlib.sha256()
    try:
        with weights.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise WeightsError(f"cannot read checkpoint {weights} ({error.strerror}): delete it, to fetch it again") from None
    if digest.hexdigest() != model.sha256:
        raise WeightsError(f"checkpoint {weights} is not that of {model.repo} (SHA-256 differs): delete it, to fetch it again")
    return weights
