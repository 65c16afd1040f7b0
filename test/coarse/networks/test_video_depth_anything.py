"""Video Depth Anything's network and its memory against the published streaming loop, with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from depth_retrofit_ros.coarse.engines.precision import in_precision
from depth_retrofit_ros.coarse.networks.dinov2 import VitSize
from depth_retrofit_ros.coarse.networks.temporal import REACH, RECENT, WINDOW, TemporalMemory
from depth_retrofit_ros.coarse.networks.video_depth_anything import SMALL, STATES, Architecture, VideoDepth
from test.coarse.networks.parity import fill, mismatches, random_input, read_fixture, signature

TINY = Architecture(VitSize(32, 4, 2), (0, 1, 2, 3), (32, 32, 64, 96), 64)
FIXTURE = read_fixture("video_depth_anything")
HEIGHT, WIDTH = FIXTURE["size"]


def tiny() -> VideoDepth:
    """With the true embedding of time, which is no weight."""
    net = VideoDepth(TINY).eval()
    fixed = {name: values.clone() for name, values in net.named_buffers()}
    fill(net)
    net.load_state_dict(fixed, strict=False)
    return net


def frame(number: int) -> Tensor:
    """``[1, 3, H, W]``, rounded to 8 bits and normalised."""
    image = (random_input(f"frame {number}", (HEIGHT, WIDTH, 3)) * 255).byte().float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((image - mean) / std).permute(2, 0, 1)[None]


def test_a_video_is_answered_as_by_the_published_loop() -> None:
    """Beyond where the memory is full and its oldest frames are dropped."""
    net, memory = tiny(), TemporalMemory()
    expected = {entry["frame"]: entry["outputs"] for entry in FIXTURE["frames"]}
    assert max(expected) > REACH + 1
    told = {}
    with torch.no_grad():
        for number in range(max(expected) + 1):
            disparity, features, state = net(frame(number), memory.past())
            memory.add(state)
            if number in expected:
                told[number] = mismatches({"disparity": disparity, "features": features}, expected[number])
    assert told == {number: [] for number in expected}


def test_names_and_shapes_are_those_of_the_published_network() -> None:
    with torch.device("meta"):
        net = VideoDepth(SMALL)
    full = FIXTURE["full"]
    assert sum(parameter.numel() for parameter in net.parameters()) == full.pop("parameters")
    assert signature(net) == full


def test_memory_holds_the_first_frame_and_the_last_ones() -> None:
    memory = TemporalMemory()
    assert memory.past() is None
    for number in range(100):
        memory.add([torch.full((2, 1, 3), float(number)), torch.full((5, 1, 3), float(number))])
        past = memory.past()
        assert past is not None and [list(tensor.shape) for tensor in past] == [[2, WINDOW - 1, 3], [5, WINDOW - 1, 3]]
        coming = number + 1
        seen = [0, max(0, coming - REACH), *(max(0, earlier) for earlier in range(coming - RECENT, coming))]
        assert past[1][4, :, 2].tolist() == seen
        assert len(memory) == 1 + REACH
    memory.clear()
    assert memory.past() is None and len(memory) == 0


def test_the_past_matters() -> None:
    net, memory = tiny(), TemporalMemory()
    with torch.no_grad():
        alone, _, state = net(frame(0))
        assert len(state) == STATES
        memory.add(state)
        after, _, _ = net(frame(1), memory.past())
        first, _, _ = net(frame(1))
    assert float((after - first).abs().max()) > 0.05
    assert float((alone - first).abs().max()) > 0.05


def test_exported_it_answers_the_same() -> None:
    net, memory = tiny(), TemporalMemory()
    with torch.no_grad():
        for number in range(3):
            memory.add(net(frame(number), memory.past())[2])
        past = memory.past()
        program = torch.export.export(net, (frame(3), past)).module()
        exported, eager = program(frame(4), past), net(frame(4), past)
    for ours, wanted in zip([*exported[:2], *exported[2]], [*eager[:2], *eager[2]], strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("frames", [1, 4])
def test_half_precision_ends_before_the_last_projection(frames: int, dtype: torch.dtype) -> None:
    nets = {torch.float32: tiny(), dtype: in_precision(tiny(), dtype)}
    answers = []
    for precision, net in nets.items():
        memory = TemporalMemory()
        with torch.no_grad():
            for number in range(frames):
                disparity, features, state = net(frame(number).to(precision), memory.past())
                memory.add(state)
        assert disparity.dtype == torch.float32 and features.dtype == precision == state[0].dtype
        answers.append(disparity)
    assert float((answers[0] - answers[1]).abs().median()) < 0.05 * float(answers[0].abs().mean())
