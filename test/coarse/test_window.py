"""Which frames a window holds, and what of it a frame's prediction is."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch

from depth_retrofit_ros.coarse.base import Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.far_limit import limit_far
from depth_retrofit_ros.coarse.input_size import long_side
from depth_retrofit_ros.coarse.past import LONGEST_GAP_NS, for_another_stream
from depth_retrofit_ros.coarse.views import CoarseView, GivenCoarse
from depth_retrofit_ros.coarse.window import ViewWindow, WindowPrediction, windowed
from depth_retrofit_ros.errors import ModelError
from test.reconstruction.scene import ExactModel
from test.refinement.nets import two_planes


class Remembering(ExactModel):
    """Also tells what it was given: the first value of each image."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[list[int]] = []
        self.error: Exception | None = None

    def predict_views(self, images: Iterable[torch.Tensor], point_maps: bool = False) -> list[CoarseView]:
        images = list(images)
        if self.error is not None:
            raise self.error
        self.given.append([int(image[0, 0, 0]) for image in images])
        return super().predict_views(images, point_maps)


def frame(number: int, height: int = 72) -> torch.Tensor:
    return torch.full((height, 96, 3), number, dtype=torch.uint8)


def test_the_newest_comes_first_and_the_oldest_leaves() -> None:
    model = Remembering()
    window = ViewWindow(model, 3)
    for number in range(5):
        prediction = window.predict(frame(number), None, Hints(number + 1))
    assert model.given == [[0], [1, 0], [2, 1, 0], [3, 2, 1], [4, 3, 2]]
    assert isinstance(prediction, WindowPrediction)
    assert torch.equal(prediction.depth, prediction.views()[0].prediction.depth)
    assert [int(image[0, 0, 0]) for image in prediction.images] == [4, 3, 2]


def test_it_keeps_images_of_its_own() -> None:
    window, buffer = ViewWindow(Remembering(), 2), frame(1)
    window.predict(buffer, None, Hints(1))
    buffer.fill_(9)
    assert [int(image[0, 0, 0]) for image in window.predict(frame(2), None, Hints(2)).images] == [2, 1]


@pytest.mark.parametrize(
    ("stamp_ns", "height", "held"),
    [(2, 72, 2), (2, 60, 1), (1, 72, 1), (0, 72, 1), (1 + LONGEST_GAP_NS, 72, 2), (2 + LONGEST_GAP_NS, 72, 1), (None, 72, 1)],
)
def test_when_it_begins_anew(stamp_ns: int | None, height: int, held: int) -> None:
    window = ViewWindow(Remembering(), 3)
    window.predict(frame(1), None, Hints(1))
    assert len(window.predict(frame(2, height), None, Hints(stamp_ns)).images) == held


def shown(window: ViewWindow, number: int, stamp_ns: int | None) -> list[int]:
    """What the window holds for that frame."""
    return [int(image[0, 0, 0]) for image in window.predict(frame(number), None, Hints(stamp_ns)).images]


def test_a_frame_that_fails_leaves_the_window_as_it_was() -> None:
    """And takes its place when it is tried again."""
    model = Remembering()
    window = ViewWindow(model, 3)
    shown(window, 1, 1), shown(window, 2, 2)
    model.error = torch.cuda.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(torch.cuda.OutOfMemoryError):
        shown(window, 3, 3)
    model.error = None
    assert window.remembered == 2
    assert shown(window, 3, 3) == [3, 2, 1] and window.remembered == 3


def test_a_frame_that_comes_twice_replaces_itself() -> None:
    window = ViewWindow(Remembering(), 3)
    shown(window, 1, 1), shown(window, 2, 2)
    assert shown(window, 7, 2) == [7, 1]
    assert shown(window, 3, 3) == [3, 7, 1]


def test_a_frame_answered_after_the_next_one_resets_nothing() -> None:
    """It sees those before it, and those after it do not see it."""
    window = ViewWindow(Remembering(), 3)
    shown(window, 1, 1), shown(window, 3, 3)
    assert shown(window, 2, 2) == [2, 1]
    assert shown(window, 4, 4) == [4, 3, 1]


def test_an_image_without_a_stamp_is_not_remembered() -> None:
    window = ViewWindow(Remembering(), 3)
    assert shown(window, 9, None) == [9] and window.remembered == 0
    assert shown(window, 1, 1) == [1]
    assert shown(window, 9, None) == [9]
    assert shown(window, 2, 2) == [2, 1]


def test_its_input_size_is_the_model_s() -> None:
    model = Remembering()
    assert ViewWindow(model, 2).size is None
    model.size = long_side(518, 14)  # type: ignore[attr-defined]
    assert ViewWindow(model, 2).size == long_side(518, 14)


def test_the_far_limit_leaves_the_window_where_it_is() -> None:
    window = ViewWindow(ExactModel(), 2)
    window.predict(frame(1), None, Hints(1))
    limited = limit_far(window.predict(frame(2), None, Hints(2)), ScaleClaim("metric", "file"))
    assert isinstance(limited, WindowPrediction) and len(limited.views()) == 2


def test_a_model_of_one_view_has_no_window() -> None:
    single = GivenCoarse(two_planes(), "single", ScaleClaim("up-to-scale", "never"))
    assert windowed(single, 1) is single
    with pytest.raises(ModelError, match="single sees one image at a time: leave views at 1"):
        windowed(single, 2)


def test_another_stream_has_a_window_of_its_own_on_the_same_model() -> None:
    model = Remembering()
    window = ViewWindow(model, 3)
    other = for_another_stream(window)
    for number in range(2):
        window.predict(frame(number), None, Hints(number + 1))
        other.predict(frame(10 + number), None, Hints(number + 1))
    other.forget()
    assert model.given == [[0], [10], [1, 0], [11, 10]] and (window.remembered, other.remembered) == (2, 0)
