"""Frozen foundation models: image → ``CoarsePrediction``. One mapping from name to loader; each is imported when it is used."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import cast

from depth_retrofit_ros.coarse import hub
from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.catalogue import BUILT_IN
from depth_retrofit_ros.coarse.info import ModelInfo
from depth_retrofit_ros.coarse.input_size import chosen_size
from depth_retrofit_ros.device.choice import pick_device
from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.io.checkpoints import BUNDLED_FOLDER, find_weights

MODELS: Mapping[str, ModelInfo] = BUILT_IN


def load_coarse(name: str, *, weights: Path | None, device: str, size: int | str | None = None) -> CoarseModel:
    """A ready model.

    weights: file or folder of its checkpoint; None takes the bundled one, else searches ``DEPTH_RETROFIT_WEIGHTS``, else asks the
    model's hub if it has one. device: see ``pick_device``. size: of its input, see ``chosen_size``.
    Raises ModelError (unknown name or device, missing software) or WeightsError.
    """
    info = find_model(name)
    chosen = pick_device(device)
    input_size = chosen_size(name, info.input, info.native or info.input, size)
    path = find_checkpoint(info, weights)
    module, _, function = info.loader.partition(":")
    return cast(CoarseModel, getattr(import_module(module), function)(path, chosen, info.claim, input_size, **info.options))


def find_model(name: str) -> ModelInfo:
    """By name. Raises ModelError that lists the names."""
    if name in MODELS:
        return MODELS[name]
    close = difflib.get_close_matches(name, MODELS, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    raise ModelError(f"unknown model '{name}': {hint}choose one of {', '.join(MODELS)}")


def find_checkpoint(info: ModelInfo, weights: Path | None) -> Path:
    """The checkpoint's file; the only step that may use the network, and only for a model that has a hub. Raises WeightsError."""
    if weights is not None:
        plain_names = (Path(file).name for file in info.files)  # a folder given by hand need not have the hub's name
        remedy = "without weights of your own, the bundled ones are used" if info.bundled else info.how_to_get
        return find_weights(list(dict.fromkeys((*info.files, *plain_names))), weights, remedy)
    if info.hub is None:
        return _find_file(info) or find_weights(info.files, None, info.how_to_get)
    return _find_file(info) or hub.verified(hub.cached(info.hub) or hub.fetch(info.hub, info.how_to_get), info.hub)


def is_present(info: ModelInfo) -> bool:
    """Whether the model can be loaded here and now without the network."""
    return _find_file(info) is not None or (info.hub is not None and hub.cached(info.hub) is not None)


def _find_file(info: ModelInfo) -> Path | None:
    """The bundled checkpoint, or the one that the user put on the search path."""
    if info.bundled and (BUNDLED_FOLDER / info.files[0]).is_file():
        return BUNDLED_FOLDER / info.files[0]
    try:
        return find_weights(info.files, None, info.how_to_get)
    except WeightsError:
        return None
