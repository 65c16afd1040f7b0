"""Frozen foundation models: image → ``CoarsePrediction``. One mapping from name to loader; each is imported when it is used."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from depth_retrofit_ros.coarse import auto, contract, hub, plugins
from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.catalogue import BUILT_IN
from depth_retrofit_ros.coarse.engines.assign import EAGER, assign_engine, check_engine, named_engine
from depth_retrofit_ros.coarse.engines.registry import AUTO as AUTO_ENGINE
from depth_retrofit_ros.coarse.info import ModelInfo
from depth_retrofit_ros.coarse.input_size import chosen_size
from depth_retrofit_ros.device.choice import pick_device
from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.io.checkpoints import BUNDLED_FOLDER, check_readable, find_weights, first_line

_LOG = logging.getLogger(__name__)
_told: set[str] = set()  # the models whose licence was told in this process
_told_files: set[tuple[str, Path]] = set()  # of which models it was told that these are not the published weights


class _Models(Mapping[str, ModelInfo]):
    """The built-in models, and those of other packages: these are imported when the list is asked for, or one of them."""

    def __getitem__(self, name: str) -> ModelInfo:
        info = BUILT_IN.get(name) or plugins.find_plugin(name)
        if info is None:
            raise KeyError(name)
        return info

    def __iter__(self) -> Iterator[str]:
        yield from BUILT_IN
        yield from plugins.plugged_in()

    def __len__(self) -> int:
        return len(BUILT_IN) + len(plugins.plugged_in())


MODELS: Mapping[str, ModelInfo] = _Models()


def load_coarse(
    name: str,
    *,
    weights: Path | None,
    device: str,
    size: int | str | None = None,
    allow_download: bool = False,
    engine: str = EAGER,
    precision: str = AUTO_ENGINE,
) -> CoarseModel:
    """A ready model.

    name: of ``MODELS``, or ``auto``. weights: file or folder of its checkpoint; None takes the bundled one, else searches
    ``DEPTH_RETROFIT_WEIGHTS``, else the hub's cache. device: see ``pick_device``. size: of its input, see ``chosen_size``.
    allow_download: fetch a checkpoint that is not here. engine, precision: what runs its network, a name of
    ``coarse.engines.registry.ENGINES`` or ``auto``, see ``coarse.engines.assign``.
    Raises ModelError (unknown name or device, missing software) or WeightsError.
    """
    engine = named_engine(engine)
    info = resolved(name, device, weights)
    chosen = pick_device(device)
    check_engine(engine, precision, chosen.type)
    input_size = chosen_size(info.name, info.input, info.native or info.input, size)
    if not info.commercial and info.name not in _told:
        _told.add(info.name)
        _LOG.warning(info.restriction)
    path = find_checkpoint(info, weights, allow_download)
    claim = info.claim_at(input_size)
    if claim != info.claim:
        _LOG.warning("%s is %s at %s: its metres are those of %s", info.name, claim, input_size, info.input)
    load = partial(_loader(info), path, chosen, claim, input_size, **info.options)
    model = cast(CoarseModel, load()) if info.name in BUILT_IN else contract.loaded(load, info.name)
    assign_engine(model, info, path, engine, precision)
    return model


def resolved(name: str, device: str, weights: Path | None = None, refusal: auto.Refusal = auto.SERVES) -> ModelInfo:
    """The model by name; for ``auto``, which the log tells, the one that it takes.

    refusal: see ``choose_auto``. Raises ModelError.
    """
    if name != auto.AUTO:
        return find_model(name)
    choice = choose_auto(device, weights, refusal)
    _LOG.info(choice.line(how_to_use))
    return choice.taken


def choose_auto(device: str, weights: Path | None = None, refusal: auto.Refusal = auto.SERVES) -> auto.Choice:
    """What ``auto`` takes on a device.

    refusal: why a model cannot serve under the other settings, None where it can. One whose file is corrupt is passed over with a
    warning. Raises ModelError for a checkpoint, which is one model's, for a device that is none, and where no model can serve.
    """
    if weights is not None:
        raise ModelError(f"weights {weights} are of one model, and model is auto: name it")
    return auto.choose(MODELS.values(), pick_device(device).type, _is_sound, refusal)


def find_model(name: str) -> ModelInfo:
    """By name. Raises ModelError that says which one is near, and where the names are."""
    if name in MODELS:
        return MODELS[name]
    close = difflib.get_close_matches(name, MODELS, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    raise ModelError(f"unknown model '{name}': {hint}see 'depth-retrofit models' for all names")


def find_checkpoint(info: ModelInfo, weights: Path | None, allow_download: bool = False) -> Path | None:
    """The checkpoint's file; None for a model that has none. allow_download: the only way to the network. Raises WeightsError."""
    if weights is not None:
        return _compared(info, _given_file(info, weights))
    if found := _find_file(info):
        return _compared(info, found)
    if info.hub is None:
        return find_weights(info.files, None, info.remedy) if info.files else None
    if found := hub.cached(info.hub):
        return hub.verified(found, info.hub)
    if allow_download:
        from depth_retrofit_ros.coarse.fetching import fetch

        return fetch(info)
    raise WeightsError(f"the weights of {info.name} are not here: {info.remedy}")


def is_present(info: ModelInfo) -> bool:
    """Whether the model's checkpoint is here, or it needs none."""
    if _find_file(info) is not None:
        return True
    return not info.files if info.hub is None else hub.cached(info.hub) is not None


def is_usable(info: ModelInfo) -> bool:
    """Whether the model can be loaded here and now: its checkpoint is here, and the software that it needs."""
    return is_present(info) and not missing_software(info)


def _is_sound(info: ModelInfo) -> bool:
    """Whether it is usable and its file, where it is known what that must be, is whole; one that is not is told."""
    if not is_usable(info):
        return False
    if info.hub is None or not info.hub.is_pinned:
        return True
    try:
        if (found := _find_file(info)) is None:
            find_checkpoint(info, None)  # that of the hub's cache must be the published one
        elif hub.digest_of(found) != info.hub.sha256:
            check_readable(found)  # weights of the user's own
    except WeightsError as error:
        _LOG.warning("model auto: passing %s over: %s", info.name, error)
        return False
    return True


def missing_software(info: ModelInfo) -> tuple[str, ...]:
    """The modules that the model needs and that are not installed."""
    return tuple(module for module in info.needs if find_spec(module) is None)


def how_to_use(info: ModelInfo) -> str:
    """What to do where ``is_usable`` says no, one line."""
    missing = missing_software(info)
    install = f"pip install {' '.join(missing)}" if missing else ""
    if is_present(info):
        return install
    return f"{info.remedy}; and {install}" if install else info.remedy


def _loader(info: ModelInfo) -> Any:
    module, _, function = info.loader.partition(":")
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ModelError(f"model '{info.name}' cannot be imported ({first_line(error)}): install what its adapter needs") from None


def _given_file(info: ModelInfo, weights: Path) -> Path:
    if not info.files:
        raise ModelError(f"{info.name} has no checkpoint of its own: leave weights out")
    remedy = "without weights of your own, the bundled ones are used" if info.bundled else info.remedy
    plain_names = dict.fromkeys(Path(file).name for file in info.files)  # a folder given by hand need not have the hub's name
    return find_weights(info.files, weights, remedy, direct=[name for name in plain_names if name not in info.files])


def _compared(info: ModelInfo, weights: Path) -> Path:
    """``weights`` as they are; where they are not the published ones, which the user may have tuned, one line says so, once."""
    told = (info.name, weights)
    if info.hub is not None and info.hub.is_pinned and told not in _told_files and hub.digest_of(weights) != info.hub.sha256:
        _told_files.add(told)
        _LOG.warning(
            "checkpoint %s is not the published one of %s (SHA-256 differs): right for weights of your own, else give those of %s",
            weights,
            info.name,
            info.hub.repo,
        )
    return weights


def _find_file(info: ModelInfo) -> Path | None:
    """The bundled checkpoint, or the one that the user put on the search path."""
    if info.bundled and (BUNDLED_FOLDER / info.files[0]).is_file():
        return BUNDLED_FOLDER / info.files[0]
    if not info.files:
        return None
    try:
        return find_weights(info.files, None, info.remedy)
    except WeightsError:
        return None
