"""``torch.compile`` for one size after the other, with one copy of the weights."""

from __future__ import annotations

import gc
import weakref
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.engines import precision
from depth_retrofit_ros.coarse.engines.base import Source
from depth_retrofit_ros.coarse.engines.eager import EagerEngine
from depth_retrofit_ros.coarse.engines.inductor import InductorEngine

HERE = Source("m", "0")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor([[[[2.0]]]]))

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        return (self.factor * planes).sum(1), planes


def planes(width: int) -> Tensor:
    return torch.ones(1, 3, 4, width)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))


@torch.no_grad()
def test_more_sizes_are_compiled_than_torch_keeps_with_one_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))  # dynamo keeps programs alike for all backends
    engine, network = InductorEngine(), Net().eval()
    assert torch._dynamo.config.recompile_limit < 10
    programs = {width: engine.compile(network, (planes(width),), torch.float32, HERE) for width in range(3, 13)}
    for width, program in programs.items():
        assert program(planes(width))[0].tolist() == [[[6.0] * width] * 4]


@pytest.mark.slow
@torch.no_grad()
def test_the_kernels_of_two_sizes_are_right() -> None:
    engine, network = InductorEngine(), Net().eval()
    for width in (3, 4):
        program = engine.compile(network, (planes(width),), torch.float32, HERE)
        assert program(planes(width))[0].tolist() == [[[6.0] * width] * 4]


@pytest.mark.parametrize("engine", [EagerEngine, InductorEngine])
@torch.no_grad()
def test_the_weights_are_lowered_once_for_all_sizes_and_go_with_the_engine(
    engine: type[EagerEngine | InductorEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[weakref.ref[nn.Module]] = []
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)

    def counted(network: nn.Module, dtype: torch.dtype, lower: object = precision.lowered) -> precision.Lowered:
        made: precision.Lowered = lower(network, dtype)  # type: ignore[operator]
        copies.append(weakref.ref(made))
        return made

    monkeypatch.setattr(precision, "lowered", counted)
    made, network = engine(), Net().eval()
    programs = [made.compile(network, (planes(width),), torch.float32, HERE) for width in (3, 4, 5)]
    assert len(copies) == 1 and [float(program(planes(3))[0].mean()) for program in programs] == [6.0] * 3
    other = made.compile(Net().eval(), (planes(3),), torch.float32, HERE)
    assert len(copies) == 2
    del made, programs, other
    gc.collect()
    assert [copy() for copy in copies] == [None, None]
