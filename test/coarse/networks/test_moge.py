"""MoGe-2's network against the published one, by fixtures; and what its configuration may be."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from depth_retrofit_ros.coarse.imagenet import DEVIATION, MEAN
from depth_retrofit_ros.coarse.moge import metric_depth
from depth_retrofit_ros.coarse.networks import moge
from depth_retrofit_ros.coarse.networks.dinov2 import VitSize
from depth_retrofit_ros.coarse.networks.moge import MoGe, MoGeMaps, config_of
from test.coarse.networks.parity import fill, mismatches, random_input, read_fixture, signature

TINY = VitSize(48, 4, 2)
WIDTHS = (48, 32, 24, 16, 16)
CASES = {  # height, width of the image; rows, columns of patches; its horizontal field of view [deg] if it is known
    "wide": (128, 176, 5, 7, None),
    "wide_known": (128, 176, 5, 7, 70.0),
    "tall": (190, 130, 6, 4, None),
    "tall_known": (190, 130, 6, 4, 40.0),
    "square_patches": (96, 96, 6, 6, 55.0),
}


def published_config(backbone: str, taps: list[int], widths: list[int], neck_blocks: list[int]) -> dict[str, Any]:
    """As a checkpoint of MoGe-2 with normals carries it."""
    steps = ["conv_transpose", "conv_transpose", "conv_transpose", "bilinear"]
    plain = {"res_block_in_norm": "none", "res_block_hidden_norm": "none", "resamplers": steps, "dim_res_blocks": widths}
    head = {**plain, "dim_in": widths, "num_res_blocks": [0, 1, 1, 1, 0]}
    return {
        "encoder": {"backbone": backbone, "intermediate_layers": taps, "dim_out": widths[0]},
        "neck": {**plain, "dim_in": [widths[0] + 2, 2, 2, 2, 2], "dim_out": None, "num_res_blocks": neck_blocks},
        **{name: {**head, "dim_out": [None, None, None, None, channels]} for name, channels in moge.HEADS.items()},
        "scale_head": {"dims": [widths[0]] * 3 + [1]},
        "remap_output": "exp",
        "num_tokens_range": [1200, 3600],
    }


RELEASED = {
    "s": published_config("dinov2_vits14", [5, 11], [384, 256, 128, 64, 32], [0, 1, 1, 1, 0]),
    "b": published_config("dinov2_vitb14", [5, 11], [768, 256, 128, 64, 32], [0, 1, 1, 1, 0]),
    "l": published_config("dinov2_vitl14", [5, 11, 17, 23], [1024, 256, 128, 64, 32], [0, 2, 2, 2, 0]),
}


def tiny_config() -> dict[str, Any]:
    return published_config("tiny", [1, 3], list(WIDTHS), [0, 2, 1, 1, 0])


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moge, "ENCODERS", {**moge.ENCODERS, "tiny": TINY})


def filled(network: Any, projection: list[list[float]]) -> Any:
    """With its weights by name; the image's mean and deviation stay as published.

    projection: of the points, ``[3][C + 1]`` with the bias last, fitted so that the points look like those of a camera: where
    they do not, no shift puts them onto rays.
    """
    fill(network)
    last = network.points_head.output_blocks[-1]
    last.weight.data.copy_(torch.tensor(projection)[:, :-1, None, None])
    last.bias.data.copy_(torch.tensor(projection)[:, -1])
    network.encoder.image_mean.copy_(torch.tensor(MEAN).view(1, 3, 1, 1))
    network.encoder.image_std.copy_(torch.tensor(DEVIATION).view(1, 3, 1, 1))
    return network.eval()


def answers(network: MoGe, case: str) -> dict[str, Tensor]:
    """Of a case, on the grid of its image, as the published code gives them."""
    height, width, rows, columns, fov_x = CASES[case]
    aspect = width / height
    image = F.interpolate(random_input(case, (1, 3, height, width)), (rows * 14, columns * 14), mode="bilinear", antialias=True)
    with torch.no_grad():
        maps = MoGeMaps.of(network(image, torch.tensor([aspect])))
    resized = {name: _resized(getattr(maps, name), (height, width)) for name in ("points", "normals")}
    full = replace(maps, **resized, mask=_resized(maps.mask[None], (height, width))[0])
    focal = None if fov_x is None else aspect / (1 + aspect**2) ** 0.5 / torch.tensor(fov_x / 2).deg2rad().tan().item()
    depth, known, f = metric_depth(full, aspect, focal)
    z = full.points[2].exp()
    return {
        "points": torch.cat((full.points[:2] * z, z[None])),
        "normals": F.normalize(full.normals, dim=0),
        "mask": full.mask.sigmoid(),
        "features": maps.features,
        "known": known.float(),
        "scale_and_focal": torch.stack((maps.log_scale.exp(), f)),
        "depth": torch.where(known, depth, 0.0),
    }


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]


@pytest.mark.usefixtures("_tiny")
@pytest.mark.parametrize("case", CASES)
def test_answers_are_those_of_the_published_code(case: str) -> None:
    fixture = read_fixture("moge")
    network = filled(MoGe(config_of(tiny_config())), fixture["projection"])
    assert not mismatches(answers(network, case), fixture["answers"][case])


@pytest.mark.parametrize("size", RELEASED)
def test_names_and_shapes_are_those_of_the_published_code(size: str) -> None:
    with torch.device("meta"):
        network = MoGe(config_of(RELEASED[size]))
    assert signature(network) == read_fixture("moge")["signatures"][size]


@pytest.mark.usefixtures("_tiny")
def test_it_can_be_exported_at_a_fixed_size() -> None:
    network = filled(MoGe(config_of(tiny_config())), read_fixture("moge")["projection"])
    image = random_input("exported", (1, 3, 56, 84))
    exported = torch.export.export(network, (image, torch.tensor([1.5]))).module()
    aspect = torch.tensor([1.48])  # of another frame that gives an input of this size
    with torch.no_grad():
        assert not torch.equal(exported(image, aspect)[1], exported(image, torch.tensor([1.5]))[1])
        for ours, theirs in zip(network(image, aspect), exported(image, aspect), strict=True):
            torch.testing.assert_close(theirs, ours)


def _changed(*path: str, to: Any) -> dict[str, Any]:
    config: Any = copy.deepcopy(RELEASED["s"])
    part = config
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = to
    return dict(config)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (_changed("normal_head", to=None), "no normal_head"),
        (_changed("encoder", "backbone", to="dinov2_vitg14"), "encoder is dinov2_vitg14, not one of dinov2_vits14"),
        (_changed("remap_output", to="linear"), "mapped by linear, not by exp"),
        (_changed("neck", "res_block_in_norm", to="layer_norm"), "neck is not built"),
        (_changed("mask_head", "resamplers", to=["bilinear"] * 4), "mask_head is not built"),
        (_changed("neck", "dim_res_blocks", to=[384, 256]), "neck has not 5 levels"),
        (_changed("mask_head", "num_res_blocks", to=[0, 2, 2, 2, 0]), "heads are not of one shape"),
    ],
)
def test_other_networks_are_refused_in_words(config: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        config_of(config)
