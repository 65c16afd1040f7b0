"""A network that an engine compiles for each size of its inputs when it first meets it, and checks against the network itself."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict

import torch
from torch import nn

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.engines.base import CoarseEngine, CompilableModel, Network, Source, Tensors
from depth_retrofit_ros.coarse.engines.self_check import check
from depth_retrofit_ros.errors import ModelError

MOST = 4  # sizes whose programs are kept
_LOG = logging.getLogger(__name__)
_Key = tuple[tuple[torch.Size, torch.dtype], ...]


class CompiledNetwork:
    """``Network``. The first call with inputs of a size makes its program, which may take minutes: it belongs into ``warm_up``.

    network: in eval mode, on its device, in its own precision. falls_back: whether a size whose program cannot be made, or answers
    something else, is computed by the network itself from then on, which a warning tells; for an engine that the user did not name.
    """

    def __init__(
        self, network: nn.Module, engine: CoarseEngine, precision: torch.dtype, source: Source, falls_back: bool = False
    ) -> None:
        self.network, self.engine, self.precision, self.source = network, engine, precision, source
        self._falls_back = falls_back
        self._programs: OrderedDict[_Key, Network] = OrderedDict()

    @property
    def described(self) -> str:
        """What computes now, for people."""
        newest = next(reversed(self._programs.values()), None)
        if newest is self.network:
            return f"eager, as {self.engine.name} failed"
        return f"{self.engine.name} {str(self.precision).removeprefix('torch.')}"

    def __call__(self, *inputs: torch.Tensor) -> Tensors:
        """See ``Network``. Raises ModelError where the program cannot be made, or answers something else than the network."""
        key = tuple((tensor.shape, tensor.dtype) for tensor in inputs)
        if key not in self._programs:
            self._programs[key] = self._made(inputs)
            while len(self._programs) > MOST:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        return self._programs[key](*inputs)

    def _made(self, inputs: Tensors) -> Network:
        sizes = ", ".join("x".join(map(str, tensor.shape)) for tensor in inputs)
        _LOG.info("coarse engine %s: making the program of %s for %s", self.engine.name, self.source.model, sizes)
        start_s = time.monotonic()
        try:
            program = self.engine.compile(self.network, inputs, self.precision, self.source)
            report = check(program, self.network, inputs, self.engine.name, self.source.model)
        except ModelError as error:
            if not self._falls_back:
                raise
            _LOG.warning("coarse engine auto: %s runs eager at this size: %s", self.source.model, error)
            return self.network
        _LOG.info("coarse engine %s: ready after %.1f s; %s", self.engine.name, time.monotonic() - start_s, report)
        return program


def use_engine(model: CoarseModel, engine: CoarseEngine, precision: torch.dtype, source: Source, falls_back: bool = False) -> None:
    """Let the engine run the model's network from now on; falls_back: see ``CompiledNetwork``.

    Raises ModelError for a model or device that it cannot serve.
    """
    if model.device.type not in engine.devices:
        raise ModelError(
            f"coarse engine {engine.name} computes on {', '.join(engine.devices)}, not on {model.device.type}: use eager"
        )
    if not isinstance(model, CompilableModel) or not isinstance(model.network, nn.Module):
        raise ModelError(f"{model.name} has no network that coarse engine {engine.name} could take: use eager")
    model.network = CompiledNetwork(model.network, engine, precision, source, falls_back)
