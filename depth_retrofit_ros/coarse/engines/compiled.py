"""A network that an engine compiles for each size of its inputs when it first meets it, and checks against the network itself."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from typing import NoReturn

import torch
from torch import nn

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.engines.base import CoarseEngine, CompilableModel, Network, Source, Tensors
from depth_retrofit_ros.coarse.engines.cache import discard
from depth_retrofit_ros.coarse.engines.examples import Examples
from depth_retrofit_ros.coarse.engines.progress import told_while_running
from depth_retrofit_ros.coarse.engines.registry import EAGER
from depth_retrofit_ros.coarse.engines.self_check import check
from depth_retrofit_ros.device.faults import is_out_of_memory
from depth_retrofit_ros.device.precisions import name_of
from depth_retrofit_ros.errors import ModelError

MOST = 8  # sizes whose programs are kept
_LOG = logging.getLogger(__name__)
_Key = tuple[tuple[torch.Size, torch.dtype], ...]


class CompiledNetwork:
    """``Network``. The first call with inputs of a size makes its program, which may take minutes: it belongs into ``warm_up``.

    network: in eval mode, on its device, in its own precision. falls_back: whether a size whose program cannot be made, or answers
    something else, is computed by the network itself from then on, which a warning tells; for an engine that the user did not name.
    examples: what programs are checked on, None for what the size first came with.
    """

    def __init__(
        self,
        network: nn.Module,
        engine: CoarseEngine,
        precision: torch.dtype,
        source: Source,
        falls_back: bool = False,
        examples: Examples | None = None,
    ) -> None:
        self.network, self.engine, self.precision, self.source = network, engine, precision, source
        self.is_making = False
        """Whether a program is being made at this moment, for any thread: that is no hang."""
        self._falls_back = falls_back
        self._examples = examples
        self._programs: OrderedDict[_Key, Network] = OrderedDict()

    @property
    def compiles(self) -> bool:
        """Whether a new size may wait for its program; eager has one for all."""
        return self.engine.name != EAGER

    @property
    def newest(self) -> Network | None:
        """The program that computed last. Whoever keeps its memory in use, as a CUDA graph does, must keep it."""
        return next(reversed(self._programs.values()), None)

    @property
    def described(self) -> str:
        """What computes now, for people."""
        if self.newest is self.network:
            return f"eager, as {self.engine.name} failed"
        return f"{self.engine.name} {name_of(self.precision)}"

    def __call__(self, *inputs: torch.Tensor) -> Tensors:
        """See ``Network``. Raises ModelError where the program cannot be made, or answers something else than the network; it is
        not tried again for this size, unless memory was short."""
        key = tuple((tensor.shape, tensor.dtype) for tensor in inputs)
        if key not in self._programs:
            self._programs[key] = self._made(inputs)
            while len(self._programs) > MOST:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        return self._programs[key](*inputs)

    def _made(self, inputs: Tensors) -> Network:
        sizes = ", ".join("x".join(map(str, tensor.shape)) for tensor in inputs)
        what = f"coarse engine {self.engine.name}: making the program of {self.source.model} for {sizes}"
        _LOG.info(what)
        start_s = time.monotonic()
        self.is_making = True
        try:
            with told_while_running(what):
                program = self.engine.compile(self.network, inputs, self.precision, self.source)
                examples = [inputs] if self._examples is None else self._examples.like(inputs)
                report = check(program, self.network, examples, self._named, self.source.model)
        except ModelError as error:
            if is_out_of_memory(error):
                raise
            discard(self.source, inputs)
            if not self._falls_back:
                return _Refused(str(error))
            _LOG.warning("coarse engine auto: %s runs eager at this size: %s", self.source.model, error)
            return self.network
        finally:
            self.is_making = False
        _LOG.info("coarse engine %s: ready after %.1f s; %s", self.engine.name, time.monotonic() - start_s, report)
        return program

    @property
    def _named(self) -> str:
        """What an answer is owed to: of eager it is the precision."""
        return f"coarse engine {self.engine.name}" if self.compiles else f"coarse precision {name_of(self.precision)}"


class _Refused:
    """``Network`` in the place of one that cannot be: each call tells why."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __call__(self, *inputs: torch.Tensor) -> NoReturn:
        raise ModelError(self._reason)


def require_computes(engine: CoarseEngine, device_type: str, precision: torch.dtype | None) -> None:
    """Raises ModelError where an engine does not compute on this type of device, or in this precision, None being any."""
    if device_type not in engine.devices:
        raise ModelError(f"coarse engine {engine.name} computes on {', '.join(engine.devices)}, not on {device_type}: use {EAGER}")
    if precision is not None and precision not in engine.precisions:
        known = " or ".join(map(name_of, engine.precisions))
        choice = "one of those" if len(engine.precisions) > 1 else "that"
        raise ModelError(f"coarse engine {engine.name} computes in {known}, not in {name_of(precision)}: choose {choice}, or auto")


def use_engine(model: CoarseModel, engine: CoarseEngine, precision: torch.dtype, source: Source, falls_back: bool = False) -> None:
    """Let the engine run the model's network from now on; falls_back: see ``CompiledNetwork``.

    Raises ModelError for a model, device or precision that it cannot serve.
    """
    require_computes(engine, model.device.type, precision)
    if not isinstance(model, CompilableModel) or not isinstance(model.network, nn.Module):
        raise ModelError(f"{model.name} has no network that coarse engine {engine.name} could take: use eager")
    model.network = CompiledNetwork(model.network, engine, precision, source, falls_back, Examples(model))
