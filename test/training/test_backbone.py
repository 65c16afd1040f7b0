"""Reading the pretrained encoder: batch normalisation folded into the convolutions changes nothing, and other files are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from depth_retrofit_ros.coarse.efficientnet_lite import MAPS, STAGES, STEM, EfficientNetLite0
from depth_retrofit_ros.errors import WeightsError
from depth_retrofit_ros.training.backbone import BN_EPSILON, load_backbone

Tensors = dict[str, torch.Tensor]


def checkpoint() -> Tensors:
    """Random weights under the names of the published file, with its classifier."""
    generator = torch.Generator().manual_seed(0)
    tensors: Tensors = {"_fc.weight": torch.zeros(10, 1280), "_fc.bias": torch.zeros(10)}

    def add(kernel: str, normalisation: str, cout: int, cin: int, size: int) -> None:
        tensors[f"{kernel}.weight"] = torch.randn(cout, cin, size, size, generator=generator) / (cin * size * size) ** 0.5
        for name, low in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5), ("running_var", 0.5)):
            tensors[f"{normalisation}.{name}"] = low + torch.rand(cout, generator=generator)
        tensors[f"{normalisation}.num_batches_tracked"] = torch.tensor(7)

    add("_conv_stem", "_bn0", STEM, 3, 3)
    index = 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            cin, block = (stage.cout if repeat else stage.cin), f"_blocks.{index}"
            if stage.expand > 1:
                add(f"{block}._expand_conv", f"{block}._bn0", cin * stage.expand, cin, 1)
            add(f"{block}._depthwise_conv", f"{block}._bn1", cin * stage.expand, 1, stage.kernel)
            add(f"{block}._project_conv", f"{block}._bn2", stage.cout, cin * stage.expand, 1)
            index += 1
    return tensors


def reference(tensors: Tensors, image: torch.Tensor) -> list[torch.Tensor]:
    """The published network, step by step: padded, convolved, normalised, cut at 6."""

    def layer(x: torch.Tensor, kernel: str, normalisation: str, stride: int = 1, linear: bool = False) -> torch.Tensor:
        weight, norm = tensors[f"{kernel}.weight"], normalisation
        size, groups = weight.shape[2], x.shape[1] // weight.shape[1]
        totals = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in (x.shape[3], x.shape[2])]
        x = F.pad(x, [pad for total in totals for pad in (total // 2, total - total // 2)])
        x = F.conv2d(x, weight, None, stride, groups=groups)
        mean, variance, gain, shift = (tensors[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
        x = F.batch_norm(x, mean, variance, gain, shift, False, 0, BN_EPSILON)
        return x if linear else x.clamp(0, 6)

    x, maps, index = layer((image * 255 - 127) / 128, "_conv_stem", "_bn0", 2), [], 0
    for number, stage in enumerate(STAGES):
        for repeat in range(stage.repeats):
            block, before = f"_blocks.{index}", x
            if stage.expand > 1:
                x = layer(x, f"{block}._expand_conv", f"{block}._bn0")
            x = layer(x, f"{block}._depthwise_conv", f"{block}._bn1", 1 if repeat else stage.stride)
            x = layer(x, f"{block}._project_conv", f"{block}._bn2", linear=True)
            x = x + before if repeat else x
            index += 1
        if number in MAPS:
            maps.append(x)
    return maps


@pytest.mark.parametrize("size", [(64, 96), (80, 48)])
def test_folded_weights_answer_as_the_published_network(tmp_path: Path, size: tuple[int, int]) -> None:
    tensors = checkpoint()
    torch.save(tensors, tmp_path / "lite0.pth")
    encoder = EfficientNetLite0()
    load_backbone(encoder, tmp_path / "lite0.pth", sha256=None)
    image = torch.rand(2, 3, *size)
    for found, expected in zip(encoder(image), reference(tensors, image), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.detach().abs().max()), rtol=1e-4)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "lite0.pth"
    tensors = checkpoint()
    torch.save(tensors, path)
    with pytest.raises(WeightsError, match="is not the expected file"):
        load_backbone(EfficientNetLite0(), path)
    del tensors["_blocks.3._bn1.bias"]
    torch.save(tensors, path)
    with pytest.raises(WeightsError, match=r"lacks stages\.2\.0\.depthwise\.conv\.weight"):
        load_backbone(EfficientNetLite0(), path, sha256=None)
