"""Another package's model: its right answers pass, and each mistake of its author is one line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarseModel, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.contract import held_to_contract, loaded
from depth_retrofit_ros.coarse.input_size import long_side, size_of
from depth_retrofit_ros.coarse.past import for_another_stream, forget, remembered_by
from depth_retrofit_ros.coarse.views import CoarseView, MultiViewModel
from depth_retrofit_ros.errors import DatasetError, ModelError
from test.reconstruction.scene import ExactModel

IMAGE = torch.zeros(60, 80, 3, dtype=torch.uint8)
CLAIM = ScaleClaim("metric", "camera")
GOOD = CoarsePrediction(torch.full((6, 8), 2.0), torch.zeros(4, 6, 8))


class Model:
    """Answers with what it is given, or calls it."""

    def __init__(self, answer: object, device: str = "cpu") -> None:
        self.answer, self.claim, self.device, self.size = answer, CLAIM, torch.device(device), long_side(64, 16)

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> object:
        return self.answer() if callable(self.answer) else self.answer


def ask(answer: object) -> CoarsePrediction:
    return held_to_contract(Model(answer), "theirs").predict(IMAGE, None)


def depth(value: float, cell: tuple[int, int] = (3, 4)) -> CoarsePrediction:
    wrong = GOOD.depth.clone()
    wrong[cell] = value
    return replace(GOOD, depth=wrong)


def line_of(call: Callable[[], object]) -> str:
    with pytest.raises(ModelError) as told:
        call()
    line = str(told.value)
    assert line.startswith("model 'theirs' of another package: ") and "\n" not in line
    return line


def test_a_model_that_keeps_it_is_as_it_was() -> None:
    full = replace(GOOD, sky=GOOD.depth > 3, unknown=GOOD.depth > 3, normals=torch.zeros(3, 12, 16))
    model = held_to_contract(Model(full), "theirs")
    assert model.predict(IMAGE, None) is full
    assert (model.name, model.claim, model.device) == ("theirs", CLAIM, torch.device("cpu"))
    assert size_of(model) == long_side(64, 16) and not isinstance(model, MultiViewModel)


def test_a_memory_is_forgotten_told_and_shared_with_no_other_camera() -> None:
    class Remembering(Model):
        remembered = 3

        def forget(self) -> None:
            self.remembered = 0

        def for_another_stream(self) -> Remembering:
            return Remembering(self.answer)

    inner = Remembering(GOOD)
    model = held_to_contract(inner, "theirs")
    assert remembered_by(model) == 3
    other = for_another_stream(model)
    forget(model)
    assert (remembered_by(model), remembered_by(other), other.name) == (0, 3, "theirs") and inner.remembered == 0
    plain = held_to_contract(Model(GOOD), "theirs")
    assert remembered_by(plain) is None and for_another_stream(plain) is plain
    stubborn = held_to_contract(type("Stubborn", (Model,), {"forget": lambda self: None})(GOOD), "theirs")
    with pytest.raises(ModelError, match="remembers the images of one camera"):
        for_another_stream(stubborn)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -2.0])
def test_depth_that_is_none_is_refused_at_every_frame_of_a_cpu(value: float) -> None:
    answers = iter([GOOD, GOOD, depth(value)])
    model = held_to_contract(Model(lambda: next(answers)), "theirs")
    model.predict(IMAGE, None)
    model.predict(IMAGE, None)
    line = line_of(lambda: model.predict(IMAGE, None))
    assert "depth is NaN, infinite, 0 or negative in 1 of 48 cells, but depth is float32 [h, w]" in line


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((GOOD.depth, GOOD.features), "predict returned a tuple, but predict(image, camera, hints) returns a CoarsePrediction"),
        (None, "predict returned a NoneType"),
        (replace(GOOD, depth=GOOD.depth[None]), "depth is float32 [1, 6, 8], but depth is float32 [h, w]"),
        (replace(GOOD, depth=GOOD.depth.double()), "depth is float64 [6, 8]"),
        (replace(GOOD, depth=GOOD.depth[:0]), "depth is float32 [0, 8]"),
        (replace(GOOD, depth=GOOD.depth[:1, :1]), "depth is a single value"),
        (replace(GOOD, depth=GOOD.depth.numpy()), "depth is a ndarray"),  # type: ignore[arg-type]
        (replace(GOOD, depth=GOOD.depth.to("meta")), "depth is on meta and the model on cpu"),
        (replace(GOOD, features=GOOD.depth), "features is float32 [6, 8], but features are floating [C, h', w']"),
        (replace(GOOD, features=None), "features is a NoneType"),  # type: ignore[arg-type]
        (replace(GOOD, features=GOOD.features / 0), "features are not finite"),
        (replace(GOOD, sky=GOOD.depth), "sky is float32 [6, 8], but sky is bool"),
        (replace(GOOD, unknown=torch.ones(3, 4, dtype=torch.bool)), "unknown is bool [3, 4]"),
        (replace(GOOD, normals=torch.zeros(6, 8, 3)), "normals is float32 [6, 8, 3]"),
    ],
)
def test_an_answer_that_is_none_is_one_line(answer: object, words: str) -> None:
    assert words in line_of(lambda: ask(answer))


def test_what_predict_raises_is_one_line_and_the_rest_is_for_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("shape mismatch\nand much more")

    with caplog.at_level(logging.DEBUG), pytest.raises(ModelError, match=r"predict raised RuntimeError \(shape mismatch\)") as told:
        ask(fail)
    assert isinstance(told.value.__cause__, RuntimeError)
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG and record.exc_info is not None


@pytest.mark.parametrize("error", [DatasetError("its own line"), MemoryError()])
def test_a_line_of_its_own_and_short_memory_stay_what_they_are(error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as told:
        ask(fail)
    assert told.value is error


class WithoutHints(Model):
    def predict(self, image: torch.Tensor, camera: Camera | None) -> object:  # type: ignore[override]
        return self.answer


def test_what_cannot_be_a_model_is_told_when_it_is_loaded() -> None:
    assert "it has no predict that takes an image, a camera and hints" in line_of(
        partial(held_to_contract, WithoutHints(1), "theirs")
    )
    assert "no predict" in line_of(partial(held_to_contract, SimpleNamespace(claim=CLAIM, device=torch.device("cpu")), "theirs"))
    assert "has no claim that is a ScaleClaim" in line_of(partial(held_to_contract, None, "theirs"))
    as_text = SimpleNamespace(claim=CLAIM, device="cpu", predict=Model(GOOD).predict)
    assert "has no device that is a device" in line_of(partial(held_to_contract, as_text, "theirs"))


def test_what_a_loader_raises_is_one_line() -> None:
    def leave() -> object:
        raise SystemExit("no licence")

    line = line_of(lambda: loaded(partial(Model, GOOD, "cpu", CLAIM, long_side(64, 16)), "theirs"))  # type: ignore[call-arg]
    assert "its loader raised TypeError" in line and "a loader takes (weights, device, claim, size)" in line
    assert "its loader raised SystemExit (no licence)" in line_of(lambda: loaded(leave, "theirs"))
    assert loaded(partial(Model, GOOD), "theirs").predict(IMAGE, None) is GOOD


class Views(ExactModel):
    """A model of several views whose answers are changed on their way."""

    def __init__(self, change: Callable[[list[CoarseView]], object] = list) -> None:
        super().__init__()
        self.change = change

    def predict_views(self, images: Iterable[torch.Tensor], point_maps: bool = False) -> list[CoarseView]:
        return self.change(super().predict_views(images, point_maps))  # type: ignore[return-value]

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        return self.predict_views([image])[0].prediction


def held_views(model: CoarseModel) -> MultiViewModel:
    held = held_to_contract(model, "theirs")
    assert isinstance(held, MultiViewModel)
    return held


def test_several_views_are_held_to_theirs() -> None:
    assert len(held_views(Views()).predict_views([IMAGE, IMAGE])) == 2
    wrong: list[tuple[Callable[[list[CoarseView]], object], str]] = [
        (lambda views: views[:1], "returned 1 of CoarseView for 2 images"),
        (lambda views: [view.prediction for view in views], "returned 2 of CoarsePrediction for 2 images"),
        (lambda views: [replace(view, camera_from_world=torch.eye(4)) for view in views], "no camera_from_world"),  # type: ignore[arg-type]
        (lambda views: [replace(view, confidence=torch.ones(2, 2)) for view in views], "confidence is float32 [2, 2]"),
        (lambda views: [replace(view, prediction=depth(-1.0)) for view in views], "depth is NaN, infinite, 0 or negative"),
        (lambda views: 1 // 0, "predict_views raised ZeroDivisionError"),
    ]
    for change, words in wrong:
        model = held_views(Views(change))
        assert words in line_of(lambda model=model: model.predict_views([IMAGE, IMAGE]))  # type: ignore[misc]


@pytest.mark.cuda
def test_on_cuda_values_are_looked_at_once() -> None:
    right = replace(GOOD, depth=GOOD.depth.cuda(), features=GOOD.features.cuda())
    answers = iter([right, replace(right, depth=-right.depth)])
    model = held_to_contract(Model(lambda: next(answers), "cuda"), "theirs")
    model.predict(IMAGE.cuda(), None)
    assert bool((model.predict(IMAGE.cuda(), None).depth < 0).all())
