"""Fetch a model's checkpoint into the hub's cache: resumable, pinned, and checked before it counts as there.

The hub's library brings mirrors (``HF_ENDPOINT``), access tokens, retries and the progress bar. What it does not do is to go on, in
a new process, where the one before was cut off.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from depth_retrofit_ros.coarse.hub import USERS_PIN, HubModel, cache_folder, is_pin
from depth_retrofit_ros.coarse.info import ModelInfo
from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.io.checkpoints import first_line
from depth_retrofit_ros.io.digests import digest_of

_URL = re.compile("https?://")
_KEPT = "what has come is kept, so fetch again"


def fetch(info: ModelInfo, source: str | None = None, revision: str | None = None, sha256: str | None = None) -> Path:
    """The checkpoint's file in the hub's cache.

    source: None for the hub (or ``HF_ENDPOINT``), the URL of a mirror, or a folder that has the files. revision, sha256: of a model
    that has no pin of its own; they are remembered. Raises ModelError or WeightsError.
    """
    if info.hub is None:
        raise ModelError(f"{info.name} cannot be fetched: {info.remedy or 'its package brings what it needs'}")
    model = _with_pin(info, info.hub, revision, sha256)
    folder = cache_folder(model)
    if folder is None:
        raise ModelError(f"{info.name} comes from the hub, whose library is not installed: pip install huggingface_hub")
    snapshot = folder / "snapshots" / str(model.revision)
    with _told_in_one_line(model, folder):
        _clear_if_wrong(model, snapshot, _partial(folder, model, model.files[-1]))
        for name in model.files:
            _fetch_file(model, name, snapshot / name, _partial(folder, model, name), source)
        if not info.hub.is_pinned:
            (folder / USERS_PIN).write_text(f'{{"revision": "{model.revision}", "sha256": "{model.sha256}"}}\n', encoding="utf-8")
    return snapshot / model.files[-1]


def _with_pin(info: ModelInfo, model: HubModel, revision: str | None, sha256: str | None) -> HubModel:
    if model.is_pinned:
        if revision is not None or sha256 is not None:
            raise ModelError(f"{info.name} is pinned to {model.revision}: leave --revision and --sha256 out")
        return model
    if revision is None and sha256 is None:
        raise WeightsError(f"{info.name} is not fetched: {info.remedy}")
    if not is_pin(revision, sha256):
        raise WeightsError(f"{info.name} needs both: --revision of 40 hex digits and --sha256 of 64, in lower case")
    return model._replace(revision=revision, sha256=sha256)


def _clear_if_wrong(model: HubModel, snapshot: Path, partial: Path) -> None:
    """Weights that are not the pinned ones go, and with them what came along: only they have a pin to be checked by."""
    weights = snapshot / model.files[-1]
    if not weights.is_file() or digest_of(weights) == model.sha256:
        return
    partial.parent.mkdir(parents=True, exist_ok=True)
    with _locked(partial):
        if weights.is_file() and digest_of(weights) != model.sha256:  # still so, now that nobody else can replace them
            for name in model.files:
                _delete(snapshot / name)


def _fetch_file(model: HubModel, name: str, target: Path, partial: Path, source: str | None) -> None:
    """Bring one file to ``target``, unless it is there already. Its weights appear whole and right, or not at all."""
    if target.is_file():
        return
    partial.parent.mkdir(parents=True, exist_ok=True)
    with _locked(partial) as file:
        if target.is_file():  # another process was faster, and its weights were right
            partial.unlink()
            return
        if source is None or _URL.match(source):
            _download(model, name, file, source)
        else:
            _copy(_find_in(Path(source).expanduser(), model, name), file)
        file.flush()
        if name == model.files[-1] and (found := digest_of(partial)) != model.sha256:
            for wrong in (partial, *(target.parent / other for other in model.files)):
                _delete(wrong)
            raise WeightsError(f"{name} of {model.repo} is not the pinned one (SHA-256 {found[:8]}…): it is deleted")
        os.fsync(file.fileno())
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(target)


def _download(model: HubModel, name: str, file: IO[bytes], endpoint: str | None) -> None:
    """From where the file ends on."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    utils: Any = import_module("huggingface_hub.utils")
    url = hf_hub_url(model.repo, name, revision=model.revision, endpoint=endpoint)
    token = None if endpoint is None else False  # of the hub: a mirror by URL is none of its business
    metadata = get_hf_file_metadata(url, token=token)
    headers = utils.build_hf_headers(token=token)
    if urlsplit(metadata.location).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)  # the storage that the hub points to has signed its address
    done = file.tell()
    if metadata.size is not None:
        if done > metadata.size:
            done = file.seek(0)
            file.truncate()
        _require_space(Path(file.name).parent, metadata.size - done)
    downloading: Any = import_module("huggingface_hub.file_download")
    downloading.http_get(
        metadata.location, file, resume_size=done, headers=headers, expected_size=metadata.size, displayed_filename=name
    )


def _find_in(folder: Path, model: HubModel, name: str) -> Path:
    """The file in the folder, or in one of the repository's name there."""
    for place in (folder / name, folder / model.folder / name, folder / Path(name).name):
        if place.is_file():
            return place
    raise WeightsError(f"{folder} has no {name}: give the folder of {model.repo}, or that which has {model.folder}")


def _copy(source: Path, file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()
    _require_space(Path(file.name).parent, source.stat().st_size)
    with source.open("rb") as original:
        shutil.copyfileobj(original, file, 1 << 20)


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise WeightsError(f"{needed / 1e6:.1f} MB do not fit into {folder} ({free / 1e6:.1f} MB free): {_MORE_SPACE}")


_MORE_SPACE = "free some space, or set HF_HUB_CACHE to a folder that has it"


def _partial(folder: Path, model: HubModel, name: str) -> Path:
    return folder / "partial" / f"{model.revision}-{name.replace('/', '--')}"


@contextmanager
def _locked(partial: Path) -> Iterator[IO[bytes]]:
    """The partial file, open at its end, and nobody else's until it has become the target."""
    while True:
        partial.touch()
        with partial.open("r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise WeightsError(f"{partial.name} is being fetched by another process: wait for it") from None
            if not _is_still(file, partial):  # between the two lines above, whoever held it made it the target
                continue
            file.seek(0, 2)
            yield file
            return


def _is_still(file: IO[bytes], path: Path) -> bool:
    """Whether the open file is the one that has the name now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _delete(path: Path) -> None:
    """A file of the cache, which may be a link to where its bytes are."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


@contextmanager
def _told_in_one_line(model: HubModel, folder: Path) -> Iterator[None]:
    try:
        yield
    except (ModelError, WeightsError):
        raise
    except Exception as error:  # of whichever HTTP library the hub's version is built on
        raise WeightsError(_line(error, model, folder)) from None


def _line(error: Exception, model: HubModel, folder: Path) -> str:
    errors: Any = import_module("huggingface_hub.errors")
    page = f"https://huggingface.co/{model.repo}"
    if isinstance(error, errors.GatedRepoError):
        return f"{model.repo} is gated: accept its licence at {page}, run 'hf auth login', and fetch again"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{model.repo} is not there, or not for you: see {page}; where it is private or gated, run 'hf auth login'"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{folder} is full: {_MORE_SPACE}; {_KEPT}"
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"cannot write to {folder} ({error.strerror}): set HF_HUB_CACHE to a folder of yours"
    told = f"{type(error).__name__}: {first_line(error)}"
    return f"cannot fetch {model.repo} ({told}): see to the network, or give a mirror or folder as --from; {_KEPT}"
