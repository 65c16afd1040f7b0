"""Video Depth Anything as a coarse model, with random weights of a small network: what it remembers, and when it forgets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from depth_retrofit_ros.coarse import video_depth_anything
from depth_retrofit_ros.coarse.base import Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.disparity import depth_from_disparity
from depth_retrofit_ros.coarse.input_size import long_side
from depth_retrofit_ros.coarse.networks.dinov2 import VitSize
from depth_retrofit_ros.coarse.networks.temporal import TemporalMemory
from depth_retrofit_ros.coarse.networks.video_depth_anything import SMALL, Architecture, VideoDepth
from depth_retrofit_ros.coarse.past import LONGEST_GAP_NS
from depth_retrofit_ros.coarse.video_depth_anything import HELD, VideoDepthAnything, load
from depth_retrofit_ros.errors import WeightsError
from test.coarse.networks.parity import fill, random_input

CPU = torch.device("cpu")
SIZE = long_side(56, 14)
CLAIM = ScaleClaim("disparity", "never")
TINY = Architecture(VitSize(32, 4, 2), (0, 1, 2, 3), (32, 32, 64, 96), 64)
START, STEP = 5_000_000_000, 33_000_000  # ns


def net() -> VideoDepth:
    made = VideoDepth(TINY).eval()
    fill(made)
    torch.nn.init.constant_(made.get_parameter("head.scratch.output_conv2.2.bias"), 1.0)  # else much of the disparity would be 0
    return made


def model(dtype: torch.dtype | None = None) -> VideoDepthAnything:
    return VideoDepthAnything(net(), CLAIM, CPU, SIZE, dtype)


def image(number: int, height: int = 60, width: int = 90) -> Tensor:
    return (random_input(f"image {number}", (height, width, 3)) * 255).byte()


def play(to: VideoDepthAnything, numbers: range) -> Tensor:
    """A video; the last frame's depth."""
    return [to.predict(image(number), None, Hints(START + STEP * number)).depth for number in numbers][-1]


def at(to: VideoDepthAnything, number: int) -> Tensor:
    """One frame of the video."""
    return to.predict(image(number), None, Hints(START + STEP * number)).depth


def alone(number: int, **size: int) -> Tensor:
    return model().predict(image(number, **size), None).depth


def test_a_video_is_what_its_network_makes_of_frame_and_past() -> None:
    remembering, network, memory = model(), net(), TemporalMemory()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        for number in range(4):
            frame = image(number, 42, 56)  # as the network takes it
            prediction = remembering.predict(frame, None, Hints(START + STEP * number))
            disparity, features, state = network(((frame / 255 - mean) / std).permute(2, 0, 1)[None], memory.past())
            memory.add(state)
            torch.testing.assert_close(prediction.depth, depth_from_disparity(disparity[0]), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(prediction.features, features[0], rtol=1e-4, atol=1e-5)
    assert prediction.depth.shape == (42, 56) and prediction.features.shape == (32, 42, 56)
    assert bool((prediction.depth > 0).all()) and bool(prediction.depth.isfinite().all())
    assert not torch.equal(prediction.depth, alone(3, height=42, width=56))  # the past mattered


def test_an_image_without_a_stamp_stands_alone() -> None:
    """Whatever came before; and what comes after does not remember it."""
    remembering = model()
    assert torch.equal(remembering.predict(image(6), None).depth, alone(6)) and remembering.remembered == 0
    play(remembering, range(3))
    assert torch.equal(remembering.predict(image(7), None).depth, alone(7))
    assert torch.equal(remembering.predict(image(8), None).depth, alone(8))
    assert torch.equal(at(remembering, 3), play(model(), range(4)))


def test_a_cpu_s_seconds_between_frames_are_no_gap() -> None:
    remembering = model()
    for number in range(3):
        depth = remembering.predict(image(number), None, Hints(START + 4_000_000_000 * number)).depth
    assert torch.equal(depth, play(model(), range(3))) and remembering.remembered == 3


def test_a_frame_that_fails_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one for which memory was short: the past is still there, and has it once."""
    remembering = model()
    play(remembering, range(3))
    forward = remembering._net.forward

    def short(*arguments: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(remembering._net, "forward", short)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        at(remembering, 3)
    monkeypatch.setattr(remembering._net, "forward", forward)
    assert remembering.remembered == 3
    assert torch.equal(at(remembering, 3), play(model(), range(4))) and remembering.remembered == 4


def test_a_frame_that_comes_twice_replaces_itself() -> None:
    remembering = model()
    play(remembering, range(3))
    assert torch.equal(at(remembering, 2), play(model(), range(3)))
    assert torch.equal(at(remembering, 3), play(model(), range(4))) and remembering.remembered == 4


def test_a_frame_answered_after_the_next_one_resets_nothing() -> None:
    remembering, without = model(), model()
    for number in (0, 1, 3):
        at(remembering, number), at(without, number)
    assert torch.equal(at(remembering, 2), play(model(), range(3)))
    assert torch.equal(at(remembering, 4), at(without, 4))


def test_what_is_remembered_is_bounded() -> None:
    remembering = model()
    play(remembering, range(HELD + 3))
    assert remembering.remembered == HELD == len(remembering._memory) + 1


@pytest.mark.parametrize("stamp", [START + 2 * STEP + LONGEST_GAP_NS + 1, START - STEP, 0])
def test_a_gap_or_a_stamp_that_goes_back_begins_a_new_video(stamp: int) -> None:
    """As after a pause, in a shuffled folder, or when a bag starts again."""
    remembering = model()
    play(remembering, range(3))  # until START + 2 STEP
    assert torch.equal(remembering.predict(image(9), None, Hints(stamp)).depth, alone(9))


def test_a_frame_at_the_longest_gap_still_belongs_to_the_video() -> None:
    remembering = model()
    play(remembering, range(3))
    assert not torch.equal(remembering.predict(image(9), None, Hints(START + 2 * STEP + LONGEST_GAP_NS)).depth, alone(9))


def test_another_size_begins_a_new_video() -> None:
    """Even one that the network sees at the same size."""
    remembering = model()
    play(remembering, range(3))
    larger = remembering.predict(image(9, height=120, width=180), None, Hints(START + 3 * STEP)).depth
    assert torch.equal(larger, alone(9, height=120, width=180))


def test_another_input_size_begins_a_new_video() -> None:
    remembering, fresh = model(), model()
    play(remembering, range(3))
    remembering.size = fresh.size = long_side(84, 14)
    resized = remembering.predict(image(3), None, Hints(START + 3 * STEP)).depth
    assert torch.equal(resized, fresh.predict(image(3), None).depth)


def test_a_video_played_again_is_answered_the_same() -> None:
    remembering = model()
    first = play(remembering, range(5))
    assert torch.equal(play(remembering, range(5)), first)
    assert torch.equal(play(model(), range(5)), first)


def test_two_cameras_on_one_network_remember_apart() -> None:
    left = model()
    right = left.for_another_stream()
    for number in range(3):
        both = at(left, number), at(right, number + 7)
    assert torch.equal(both[0], play(model(), range(3))) and torch.equal(both[1], play(model(), range(7, 10)))
    right.forget()
    assert (left.remembered, right.remembered) == (3, 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_half_precision_gives_finite_float32_depth(dtype: torch.dtype) -> None:
    exact, half = play(model(), range(3)), play(model(dtype), range(3))
    assert half.dtype == torch.float32 and bool(half.isfinite().all()) and bool((half > 0).all())
    assert float((half / exact).log().abs().median()) < 0.05


@pytest.mark.cuda
def test_half_precision_is_the_default_on_cuda() -> None:
    device = torch.device("cuda")
    on_cuda = VideoDepthAnything(net(), CLAIM, device, SIZE)
    for number in range(3):
        prediction = on_cuda.predict(image(number).to(device), None, Hints(START + STEP * number))
    assert (prediction.depth.dtype, prediction.features.dtype) == (torch.float32, torch.float16)
    assert float((prediction.depth.cpu() / play(model(), range(3))).log().abs().median()) < 0.02


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_depth_anything, "SMALL", TINY)


@pytest.mark.usefixtures("small")
def test_published_checkpoint_loads_without_running_code(tmp_path: Path) -> None:
    weights = tmp_path / "video_depth_anything_vits.pth"
    torch.save(net().state_dict(), weights)
    loaded = load(weights, CPU, CLAIM, SIZE)
    assert (loaded.name, loaded.claim, loaded.device) == ("video-depth-anything-small", CLAIM, CPU)
    assert torch.equal(play(loaded, range(2)), play(model(), range(2)))


@pytest.mark.usefixtures("small")
def test_broken_checkpoints_are_told_in_one_line(tmp_path: Path) -> None:
    weights, tensors = tmp_path / "video_depth_anything_vits.pth", net().state_dict()

    def refused(content: object, match: str) -> None:
        torch.save(content, weights)
        with pytest.raises(WeightsError, match=match) as caught:
            load(weights, CPU, CLAIM, SIZE)
        assert "\n" not in str(caught.value)

    last = "head.scratch.output_conv2.2.bias"
    refused({key: value for key, value in tensors.items() if key != last}, r"made for another network \(lacks head\.scratch")
    refused({**tensors, "extra": torch.zeros(1)}, r"made for another network \(has unknown extra\)")
    refused({**tensors, last: torch.full((1,), torch.inf)}, "not finite")
    refused({**tensors, "hook": print}, "damaged, or holds code and not just tensors")


def test_the_published_checkpoint_has_the_size_that_is_stated() -> None:
    """116,440,756 bytes, of which the archive's directory is about a tenth of a percent."""
    with torch.device("meta"):
        stored = sum(values.numel() * values.element_size() for values in VideoDepth(SMALL).state_dict().values())
    assert 0 < 116_440_756 - stored < 200_000
