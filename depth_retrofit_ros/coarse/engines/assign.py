"""The engine that a user, or ``auto``, chose for a coarse model, put in its place."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import torch
from torch import nn

from depth_retrofit_ros.coarse import hub
from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.engines.base import CompilableModel, Source
from depth_retrofit_ros.coarse.engines.choice import (
    ENGINE_VARIABLE,
    Choice,
    choose,
    parsed_precision,
    usual_precision,
)
from depth_retrofit_ros.coarse.engines.compiled import CompiledNetwork, require_computes, use_engine
from depth_retrofit_ros.coarse.engines.registry import AUTO, load_engine
from depth_retrofit_ros.coarse.engines.registry import EAGER as EAGER
from depth_retrofit_ros.coarse.info import ModelInfo
from depth_retrofit_ros.errors import ModelError

_LOG = logging.getLogger(__name__)


def named_engine(engine: str) -> str:
    """What a user who says ``engine`` names: for ``auto``, what the environment does, where it does."""
    return (os.environ.get(ENGINE_VARIABLE) or AUTO) if engine == AUTO else engine


def check_engine(engine: str, precision: str, device_type: str) -> None:
    """Raises ModelError for what no model can be run with: unknown names, missing software, a device or precision of others."""
    dtype = parsed_precision(precision)
    if engine != AUTO:
        require_computes(load_engine(engine), device_type, dtype)


def assign_engine(model: CoarseModel, info: ModelInfo, checkpoint: Path | None, engine: str, precision: str) -> None:
    """Let ``engine`` run the model's network from now on; each program is made when its size first comes.

    checkpoint: of the model. engine, precision: names that ``check_engine`` let pass, or ``auto``. Where both are ``auto`` and what
    it took fails, the log says so in one line and the model stays eager; where either is named, ModelError is raised there. Raises
    ModelError for a model without a network that an engine could run, where more than ``auto`` or ``eager`` is asked.
    """
    dtype, device_type, family = parsed_precision(precision), model.device.type, family_of(info)
    if not isinstance(model, CompilableModel) or not isinstance(model.network, nn.Module):
        if engine not in (AUTO, EAGER) or dtype is not None:
            asked = f"coarse engine {engine}" if engine not in (AUTO, EAGER) else f"coarse precision {precision}"
            raise ModelError(f"{info.name} has no network that {asked} could take: use coarse engine {EAGER} and precision {AUTO}")
        return
    name, chosen = engine, dtype
    if engine == AUTO:
        choice: Choice = choose(family, device_type, dtype)
        _LOG.info(choice.line(info.name))
        name = EAGER if choice.measured is None else choice.measured.engine
        chosen = dtype if choice.measured is None else parsed_precision(choice.measured.precision)
    own = _precision_of(model.network)
    if chosen is None:
        chosen = usual_precision(family, name, device_type) or own
    if name == EAGER and chosen == own:
        return
    source = Source(info.name, "" if checkpoint is None else hub.digest_of(checkpoint))
    use_engine(model, load_engine(name), chosen, source, falls_back=engine == AUTO and dtype is None)


def family_of(info: ModelInfo) -> str:
    """Models with one loader have networks of one kind."""
    return info.loader.partition(":")[0].rpartition(".")[2]


def engine_of(model: CoarseModel) -> str:
    """What runs a model's network, for people: the engine and, where it is not the model's own, the precision."""
    network = getattr(model, "network", None)
    return network.described if isinstance(network, CompiledNetwork) else EAGER


def _precision_of(network: nn.Module) -> torch.dtype:
    """Of the bulk of its parameters."""
    counts: dict[torch.dtype, int] = {}
    for parameter in network.parameters():
        counts[parameter.dtype] = counts.get(parameter.dtype, 0) + parameter.numel()
    return max(counts, key=counts.__getitem__, default=torch.float32)
