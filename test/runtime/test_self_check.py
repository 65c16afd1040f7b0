"""What the self-check leaves behind: nothing."""

from __future__ import annotations

import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.window import ViewWindow
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.runtime.self_check import self_check
from test.reconstruction.scene import ExactModel, image
from test.refinement.nets import random_refiner, two_planes


class Told:
    """Keeps the hints that it was given."""

    name, claim, device = "told", ScaleClaim("up-to-scale", "never"), torch.device("cpu")

    def __init__(self) -> None:
        self.hints: list[Hints] = []

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        self.hints.append(hints)
        return two_planes()


def test_its_noise_is_an_image_that_stands_alone() -> None:
    told = Told()
    self_check(Retrofit(told, random_refiner(), 0.0))
    assert {hints.stamp_ns for hints in told.hints} == {None}


def test_its_noise_is_in_no_window() -> None:
    window = ViewWindow(ExactModel(), 3)
    method = Retrofit(window, random_refiner(), 0.0)
    self_check(method)
    assert window.remembered == 0
    method(Frame(image(0), 1))  # even where the clock begins at 0
    assert window.remembered == 1


def test_a_real_frame_keeps_its_stamp() -> None:
    told = Told()
    answer = Retrofit(told, random_refiner(), 0.0)(Frame(image(0), 7))
    assert answer.stamp_ns == told.hints[0].stamp_ns == 7
    assert Retrofit(told, random_refiner(), 0.0)(Frame(image(0))).stamp_ns is None
