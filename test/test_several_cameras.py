"""Frames of several cameras by one loaded method: the same answers as by one for each."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse import batch
from depth_retrofit_ros.coarse.engines.natural_image import natural_image
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.loading import load
from depth_retrofit_ros.retrofit import Retrofit, launch_together


@pytest.fixture(scope="module")
def method() -> Retrofit:
    return load("compact", device="cpu", budget=0.05, coarse_engine="eager")


def frame(number: int, height: int = 90, width: int = 160) -> Frame:
    image = natural_image(height, width).numpy()
    return Frame(np.roll(image, 7 * number, axis=1), 10**9 * (1 + number), "camera", Camera.from_hfov(width, height, 60 + number))


def require_equal(answers: list[DepthFrame], expected: list[DepthFrame], tolerance: float = 0.0) -> None:
    for answer, other in zip(answers, expected, strict=True):
        torch.testing.assert_close(answer.depth, other.depth, rtol=tolerance, atol=0.0)
        assert answer.scale_source == other.scale_source and answer.camera == other.camera


def test_taking_turns_changes_no_answer(method: Retrofit) -> None:
    other = method.for_another_camera(budget=0.2, trust_scale=True)
    frames = [frame(number) for number in range(3)]
    apart = [method(one) for one in frames], [other(one) for one in frames]
    in_turn = [[each(one) for each in (method, other)] for one in frames]
    require_equal([first for first, _ in in_turn], apart[0])
    require_equal([second for _, second in in_turn], apart[1])
    assert [answer.scale_source for answer in in_turn[0]] == [None, "user"]
    assert (method.budget, other.budget) == (0.05, 0.2) and other.coarse is method.coarse


def test_a_batch_gives_the_answers_of_single_frames(method: Retrofit, monkeypatch: pytest.MonkeyPatch) -> None:
    cameras = [method, method.for_another_camera(0.05, False), method.for_another_camera(0.1, False)]
    asked = list(zip(cameras, [frame(0), frame(1, 180, 320), frame(2)], strict=True))  # one size for the model
    sizes: list[int] = []
    network = method.coarse.network  # type: ignore[attr-defined]

    def counting(images: torch.Tensor) -> object:
        sizes.append(images.shape[0])
        return network(images)

    monkeypatch.setattr(method.coarse, "network", counting)
    single = [each.launch(one) for each, one in asked]
    assert sizes == [1, 1, 1]
    launched = launch_together(asked)
    assert sizes[3:] == [3]
    for one, other in zip(launched, single, strict=True):
        torch.testing.assert_close(one.coarse.depth, other.coarse.depth, rtol=1e-4, atol=0.0)
        torch.testing.assert_close(one.coarse.features, other.coarse.features, rtol=1e-3, atol=1e-3)
    answers, expected = ([each.collect(one) for (each, _), one in zip(asked, made, strict=True)] for made in (launched, single))
    require_equal(answers, expected, tolerance=5e-3)  # of two pixels as good as each other, another may be refined
    assert [answer.depth.shape for answer in answers] == [(90, 160), (180, 320), (90, 160)]
    assert all(answer.times_ms["coarse"] > 0 for answer in answers)


def test_frames_of_other_sizes_are_answered_one_by_one(method: Retrofit) -> None:
    asked = [(method, frame(0)), (method.for_another_camera(0.05, False), frame(1, 160, 90))]
    answers = [each.collect(in_flight) for (each, _), in_flight in zip(asked, launch_together(asked), strict=True)]
    require_equal(answers, [each(one) for each, one in asked])


def test_batches_are_for_cuda_and_a_network_that_takes_any_number(method: Retrofit) -> None:
    assert isinstance(method.coarse, batch.BatchModel) and not batch.takes_batches(method.coarse)

    class OnCuda:
        device, network = torch.device("cuda"), torch.nn.Identity()

        def predict_batch(self) -> None: ...

    assert batch.takes_batches(OnCuda())  # type: ignore[arg-type]
    OnCuda.device = torch.device("cpu")
    assert not batch.takes_batches(OnCuda())  # type: ignore[arg-type]
    single = type("Single", (), {"device": torch.device("cuda"), "network": torch.nn.Identity()})
    assert not batch.takes_batches(single())


def test_trust_is_of_each_camera_and_refused_where_it_makes_no_metres(method: Retrofit) -> None:
    other = method.for_another_camera(0.05, False)
    other.coarse = type("Relative", (), {"name": "relative", "claim": type("Never", (), {"word": "never"})()})()
    with pytest.raises(ModelError, match="relative"):
        other.for_another_camera(0.05, True)
