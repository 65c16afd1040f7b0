"""Our VGGT against samples of what the published code answers with the same weights, and against its checkpoint's names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from depth_retrofit_ros.coarse.networks.dinov2 import VitSize
from depth_retrofit_ros.coarse.networks.signed_log import exp_signed, log_signed
from depth_retrofit_ros.coarse.networks.vggt import model
from depth_retrofit_ros.coarse.networks.vggt.camera_head import decode_poses
from depth_retrofit_ros.coarse.networks.vggt.model import Vggt, VggtSize, load_vggt
from depth_retrofit_ros.errors import WeightsError
from test.coarse.networks.parity import fill, mismatches, random_input, read_fixture, signature

TINY = VggtSize(
    VitSize(32, 2, 2),
    layers=4,
    heads=4,
    taken=(0, 1, 2, 3),
    stages=(8, 12, 16, 16),
    head_width=16,
    camera_layers=2,
    camera_heads=4,
    pretrained_size=56,
)
CASES = ((1, 56, 56), (1, 42, 70), (3, 70, 42), (2, 14, 28), (9, 28, 28))  # views, height, width


def answers(net: Vggt, images: Tensor) -> dict[str, Tensor]:
    """Everything that the network says of the views ``[S, 3, H, W]``."""
    height, width = images.shape[-2:]
    with torch.inference_mode():
        tokens = net(images)
        depth, points = net.depth(tokens, height, width), net.points(tokens, height, width)
        encoding = net.poses(tokens)
        camera_from_world, _ = decode_poses(encoding, height, width)
    return {
        "depth": depth.raw[:, 0].exp(),
        "depth_confidence": depth.confidence,
        "depth_features": depth.features,
        "points": exp_signed(points.raw).permute(0, 2, 3, 1),
        "points_confidence": points.confidence,
        "points_features": points.features,
        "pose_encoding": encoding,
        "camera_from_world": camera_from_world,
    }


def pose_encodings() -> Tensor:
    """Of five views, with fields of view between 0.3 and 1.3 rad."""
    values = random_input("poses", (5, 9))
    return torch.cat((values[:, :7] * 2 - 1, 0.3 + values[:, 7:]), 1)


@pytest.fixture(scope="module")
def net() -> Vggt:
    tiny = Vggt(TINY).eval()
    fill(tiny)
    return tiny


@pytest.mark.parametrize(("views", "height", "width"), CASES)
def test_it_answers_as_the_published_code(net: Vggt, views: int, height: int, width: int) -> None:
    images = random_input("images", (views, 3, height, width))
    assert mismatches(answers(net, images), read_fixture("vggt")["cases"][f"{views}x{height}x{width}"]) == []


def test_poses_mean_what_they_mean_in_the_published_code() -> None:
    camera_from_world, focal = decode_poses(pose_encodings(), 42, 70)
    assert mismatches({"camera_from_world": camera_from_world, "focal_lengths": focal}, read_fixture("vggt")["poses"]) == []


def test_the_full_network_has_the_names_and_shapes_of_the_public_checkpoint() -> None:
    with torch.device("meta"):
        assert signature(Vggt()) == read_fixture("vggt")["VGGT-1B"]


def test_views_in_chunks_are_views_at_once(net: Vggt, monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_input("images", (3, 3, 28, 42))
    at_once = answers(net, images)
    monkeypatch.setattr(model, "VIEWS_AT_ONCE", 2)
    for name, value in answers(net, images).items():
        assert torch.allclose(value, at_once[name], atol=1e-5), name


def test_a_checkpoint_loads_without_its_tracker_and_nothing_else(net: Vggt) -> None:
    tensors = {**net.state_dict(), "track_head.tracker.query_ref_token": torch.zeros(2)}
    loaded = load_vggt(tensors, Path("model.safetensors"), TINY)
    images = random_input("images", (2, 3, 28, 42))
    for name, value in answers(loaded, images).items():
        assert torch.equal(value, answers(net, images)[name]), name
    assert loaded.aggregator.camera_token.data_ptr() == tensors["aggregator.camera_token"].data_ptr()
    halves = {name: tensor.half() for name, tensor in tensors.items()}
    assert {p.dtype for p in load_vggt(halves, Path("model.safetensors"), TINY).parameters()} == {torch.float32}
    with pytest.raises(WeightsError, match=r"has unknown match_head\.weight"):
        load_vggt({**tensors, "match_head.weight": torch.zeros(2)}, Path("model.safetensors"), TINY)
    del tensors["aggregator.camera_token"]
    with pytest.raises(WeightsError, match=r"lacks aggregator\.camera_token"):
        load_vggt(tensors, Path("model.safetensors"), TINY)


def test_the_output_map_of_points_and_its_inverse() -> None:
    raw = torch.tensor([-3.0, -1e-4, 0.0, 0.5, 2.0])
    assert torch.allclose(log_signed(exp_signed(raw)), raw, atol=1e-6)
    assert float(exp_signed(torch.tensor(1.0))) == pytest.approx(1.718282)
