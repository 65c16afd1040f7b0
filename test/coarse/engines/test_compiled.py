"""A program is made once per size, is held to what the network answers, and ``auto`` can do without it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.engines import progress, self_check
from depth_retrofit_ros.coarse.engines.base import Network, Source, Tensors
from depth_retrofit_ros.coarse.engines.compiled import MOST, CompiledNetwork
from depth_retrofit_ros.coarse.engines.eager import EagerEngine
from depth_retrofit_ros.coarse.engines.natural_image import natural_image
from depth_retrofit_ros.coarse.engines.self_check import compare
from depth_retrofit_ros.errors import ModelError

Spoil = Callable[[Tensor, Tensor], Tensors]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(planes)
        return self.head(features)[:, 0], features


class Fake:
    """``CoarseEngine``: the network's answer, spoilt."""

    name = "fake"
    devices: tuple[str, ...] = ("cpu",)
    precisions: tuple[torch.dtype, ...] = (torch.float32,)

    def __init__(self, spoil: Spoil = lambda answer, features: (answer, features)) -> None:
        self.spoil, self.made = spoil, 0

    def compile(self, network: nn.Module, inputs: Tensors, precision: torch.dtype, source: Source) -> Network:
        self.made += 1
        return lambda *given: self.spoil(*network(*given))


def compiled(engine: Fake, falls_back: bool = False) -> CompiledNetwork:
    return CompiledNetwork(Net().eval(), engine, torch.float32, Source("m", "0"), falls_back)


def planes(height: int = 32, width: int = 48) -> Tensor:
    return natural_image(height, width).permute(2, 0, 1)[None] / 255


def broken(answer: Tensor, features: Tensor) -> Tensors:
    return answer.index_fill(2, torch.tensor(3), torch.nan), features


@torch.no_grad()
def test_a_size_is_compiled_once_and_the_least_recent_of_many_forgotten() -> None:
    engine = Fake()
    network = compiled(engine)
    for width in (32, 32, 48, 32):
        network(planes(width=width))
    assert engine.made == 2
    for width in range(64, 64 + 16 * (MOST - 1), 16):
        network(planes(width=width))
    made = engine.made
    network(planes(width=32))
    assert engine.made == made  # used last before the others came
    network(planes(width=48))
    assert engine.made == made + 1


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (broken, r"answers NaN or infinity for m: use eager, or float32"),
        (lambda answer, features: (answer[:, 1:], features), r"answers other shapes than m: use eager"),
        (lambda answer, features: (answer * 1.1, features), r"differs from eager by .* for m: use eager, or float32"),
        (lambda answer, features: (answer, features.flip(3)), r"selection overlap \d+\.\d% for m: use eager, or float32"),
    ],
    ids=["NaN", "shapes", "scale", "features"],
)
@torch.no_grad()
def test_a_wrong_answer_is_refused_or_done_without(spoil: Spoil, told: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ModelError, match=told):
        compiled(Fake(spoil))(planes())
    network = compiled(Fake(spoil), falls_back=True)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            answer, _ = network(planes())
            assert torch.equal(answer, network.network(planes())[0])
    (record,) = caplog.records  # once, not with each frame
    assert record.message.startswith("coarse engine auto: m runs eager at this size: coarse engine fake ")
    assert network.described == "eager, as fake failed"


@torch.no_grad()
def test_a_small_difference_passes() -> None:
    network = compiled(Fake(lambda answer, features: (answer + 1e-3 * answer.std(), features)))
    network(planes())
    assert network.described == "fake float32"


def test_an_engine_that_cannot_compile_is_told() -> None:
    class Failing(Fake):
        def compile(self, network: nn.Module, inputs: Tensors, precision: torch.dtype, source: Source) -> Network:
            raise ModelError("cannot")

    with pytest.raises(ModelError, match=r"^cannot$"):
        compiled(Failing())(planes())
    assert compiled(Failing(), falls_back=True)(planes())[0].shape == (1, 32, 48)


@torch.no_grad()
def test_an_answer_that_is_flat_is_compared_by_its_size() -> None:
    features = torch.randn(1, 8, 10, 10, generator=torch.Generator().manual_seed(0))
    flat = torch.zeros(1, 10, 10).index_fill(2, torch.tensor(0), 5.0)[:, :, :].clone()
    flat[:, 1:] = 0
    agreement = compare((flat, features), (flat + 1e-6, features))
    assert agreement.largest < 1e-3 and agreement.overlap == 1


def test_the_natural_image_is_one() -> None:
    """Its neighbours are alike, unlike those of noise; it spans the greys, and is the same each time."""
    image = natural_image(90, 160)
    assert image.shape == (90, 160, 3) and image.dtype == torch.uint8
    grey = image.float().mean(2)
    assert float(grey.std()) > 25 and float((grey[:, 1:] - grey[:, :-1]).abs().mean()) < 0.5 * float(grey.std())
    assert torch.equal(image, natural_image(90, 160))


class Failing(Fake):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def compile(self, network: nn.Module, inputs: Tensors, precision: torch.dtype, source: Source) -> Network:
        self.made += 1
        raise ModelError("cannot") from self.error


@pytest.mark.parametrize("falls_back", [False, True])
@torch.no_grad()
def test_what_fails_is_not_made_again_for_each_frame_unless_memory_was_short(falls_back: bool) -> None:
    engine, short = Failing(ValueError()), Failing(MemoryError())
    network, later = compiled(engine, falls_back), compiled(short, falls_back)
    for _ in range(3):
        if falls_back:
            network(planes())
        else:
            with pytest.raises(ModelError, match=r"^cannot$"):
                network(planes())
        with pytest.raises(ModelError, match=r"^cannot$"):
            later(planes())
    assert (engine.made, short.made) == (1, 3)
    with pytest.raises(ModelError) if not falls_back else nullcontext():
        network(planes(width=64))
    assert engine.made == 2, "another size"


@torch.no_grad()
def test_a_program_in_the_making_is_known(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    told = threading.Event()
    monkeypatch.setattr(progress, "EVERY_S", 0.01)
    monkeypatch.setattr(progress._LOG, "info", lambda *line: told.set())

    class Slow(Fake):
        def compile(self, network: nn.Module, inputs: Tensors, precision: torch.dtype, source: Source) -> Network:
            assert making.is_making and told.wait(60), "told while it runs"
            return super().compile(network, inputs, precision, source)

    making = compiled(Slow())
    assert making.compiles and not making.is_making
    making(planes())
    assert not making.is_making
    eager = EagerEngine()
    assert not CompiledNetwork(Net(), eager, torch.bfloat16, Source("m", "0")).compiles


@torch.no_grad()
def test_of_eager_it_is_the_precision_that_is_told() -> None:
    network = CompiledNetwork(Net().eval(), EagerEngine(), torch.bfloat16, Source("m", "0"))
    network.network.requires_grad_(False)
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(ModelError, match=r"^coarse precision bfloat16 differs from "),
    ):
        patch.setattr(self_check, "LARGEST_SHAPE", 0.0)
        network(planes())
