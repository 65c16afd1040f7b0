"""Programs are held to pictures of the bundled film, whatever frame comes first."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, Hints
from depth_retrofit_ros.coarse.engines.assign import engine_of
from depth_retrofit_ros.coarse.engines.examples import Examples
from depth_retrofit_ros.coarse.engines.natural_image import VIEWS, natural_image
from depth_retrofit_ros.coarse.registry import load_coarse
from test.coarse.engines.models import CASES


@pytest.mark.parametrize("frame", ["noise", "black", "view"])
def test_the_first_frame_does_not_decide_whether_a_program_is_right(frame: str) -> None:
    frames = {
        "noise": torch.randint(0, 256, (144, 256, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
        "black": torch.zeros(144, 256, 3, dtype=torch.uint8),
        "view": natural_image(144, 256, 2),
    }
    model = load_coarse("compact", weights=None, device="cpu", engine="eager", precision="bfloat16")
    assert model.predict(frames[frame], None).depth.isfinite().all()
    assert engine_of(model) == "eager bfloat16"


@pytest.mark.parametrize("name", ["compact", "meter nyu", "moge", "metric3d"])
def test_a_model_makes_inputs_of_the_pictures_and_stays_as_it_is(name: str) -> None:
    model = CASES[name].make()
    network = model.network
    seen: list[tuple[Tensor, ...]] = []

    def tell(*inputs: Tensor) -> tuple[Tensor, ...]:
        seen.append(inputs)
        answer: tuple[Tensor, ...] = network(*inputs)
        return answer

    examples = Examples(model)
    model.network = tell
    model.predict(natural_image(90, 120, 0), CASES[name].camera)
    made = examples.like(seen[0])
    assert len(made) == len(VIEWS) and len(seen) == 1 and model.network is tell
    for inputs in made:
        assert [(tensor.shape, tensor.dtype) for tensor in inputs] == [(tensor.shape, tensor.dtype) for tensor in seen[0]]
    assert not torch.equal(made[0][0], made[1][0])


def test_a_model_that_needs_more_is_checked_on_what_it_is_given() -> None:
    class Wants:
        network, device = torch.nn.Identity(), torch.device("cpu")

        def predict(self, image: Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> None:
            raise ValueError("no sparse depth")

    inputs = (torch.ones(1, 3, 8, 8),)
    model = Wants()
    assert Examples(model).like(inputs) == [inputs]  # type: ignore[arg-type]
