"""Models of other packages: entry points of the group ``depth_retrofit.models``, each a ``ModelInfo`` or several."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points

from depth_retrofit_ros.coarse.catalogue import BUILT_IN
from depth_retrofit_ros.coarse.info import ModelInfo

GROUP = "depth_retrofit.models"
_LOG = logging.getLogger(__name__)


@functools.cache
def declared() -> tuple[EntryPoint, ...]:
    """What the installed packages declare. Imports none of them."""
    return tuple(sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)))


@functools.cache
def plugged_in() -> dict[str, ModelInfo]:
    """The models by name; imports the packages. A name that is taken is refused with one line."""
    models: dict[str, ModelInfo] = {}
    for point in declared():
        for info in models_of(point):
            if info.name in BUILT_IN or info.name in models:
                _LOG.warning("model '%s' of the plug-in %s is left out: the name is taken", info.name, _told(point))
            else:
                models[info.name] = info
    return models


def find_plugin(name: str) -> ModelInfo | None:
    """By name. Where an entry point has the model's name and nobody else can mean it, no other package is imported."""
    if name in BUILT_IN:
        return None
    named = [point for point in declared() if point.name == name]
    if len(named) == 1:
        found = [info for info in models_of(named[0]) if info.name == name]
        if found:
            return found[0]
    return plugged_in().get(name)


@functools.cache
def models_of(point: EntryPoint) -> tuple[ModelInfo, ...]:
    """What an entry point names; nothing, and one line, where that cannot be had."""
    try:
        return tuple(_infos(point.load()))
    except (Exception, SystemExit) as error:  # another package's import can fail in any way, and must not cost ours
        lines = str(error).strip().splitlines()
        _LOG.warning("the plug-in %s is left out (%s)", _told(point), f"{type(error).__name__}: {lines[0][:200] if lines else ''}")
        return ()


def _infos(found: object) -> Iterator[ModelInfo]:
    entries = (found,) if isinstance(found, ModelInfo) or not isinstance(found, Iterable) else found
    for info in entries:
        if not isinstance(info, ModelInfo):
            raise TypeError(f"{type(info).__name__} is no ModelInfo")
        yield info


def _told(point: EntryPoint) -> str:
    package = f" of {point.dist.name}" if point.dist is not None else ""
    return f"'{point.name} = {point.value}'{package}"
