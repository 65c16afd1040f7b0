"""The families of ``transformers`` models, each with a small random network of its true classes, and what the library answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from depth_retrofit_ros.coarse import depth_pro, dpt, glpn, prompt_depth_anything, tips, zoe_depth
from depth_retrofit_ros.coarse.depth_anything import DepthAnythingNetwork
from depth_retrofit_ros.coarse.input_size import InputSize, long_side
from depth_retrofit_ros.coarse.registry import MODELS
from depth_retrofit_ros.coarse.transformers_model import DepthNetwork, TransformersModel
from test.coarse import tiny_networks as tiny

CPU = torch.device("cpu")


class Family(NamedTuple):
    """net: a small one; wrap: our network around it; model: an entry of the registry; side: of a small input [px].

    out: size of the answer over that of the input; channels: of the features.
    """

    net: Callable[[], Any]
    wrap: Callable[[Any], DepthNetwork]
    model: str
    side: int
    channels: int
    out: tuple[int, int] = (1, 1)


FAMILIES = {
    "depth anything": Family(tiny.depth_anything, DepthAnythingNetwork, "depth-anything-v2-small", 112, 32),
    "depth anything, metric": Family(
        lambda: tiny.depth_anything(depth_estimation_type="metric", max_depth=20),
        DepthAnythingNetwork,
        "depth-anything-v2-small-indoor",
        112,
        32,
    ),
    "prompt": Family(tiny.prompt_depth_anything, prompt_depth_anything.PromptNetwork, "prompt-depth-anything-small", 112, 32),
    "midas large": Family(tiny.dpt_large, dpt.MidasNetwork, "dpt-large", 128, 32),
    "midas hybrid": Family(tiny.dpt_hybrid, dpt.MidasNetwork, "dpt-hybrid", 128, 32),
    # Half as large: the library's projection has 256 channels in the smallest network, too.
    "dpt on dinov2": Family(tiny.dpt_dinov2, dpt.DptNetwork, "dpt-dinov2-small-nyu", 56, 32, (16, 14)),
    "glpn": Family(tiny.glpn, glpn.GlpnNetwork, "glpn-nyu", 128, 16),
    "tips": Family(tiny.tips, tips.TipsNetwork, "tipsv2-base", 112, 256, (8, 14)),
    "zoe nyu": Family(tiny.zoe_depth, zoe_depth.ZoeDepthNetwork, "zoedepth-nyu", 128, 64),
    "zoe kitti": Family(lambda: tiny.zoe_depth(bin_centers_type="normed"), zoe_depth.ZoeDepthNetwork, "zoedepth-kitti", 128, 64),
    "zoe nyu-kitti": Family(lambda: tiny.zoe_depth(heads=2), zoe_depth.ZoeDepthNetwork, "zoedepth-nyu-kitti", 128, 64),
    "depth pro": Family(tiny.depth_pro, depth_pro.DepthProNetwork, "depth-pro", 128, 32),
}
DISTRIBUTIONS = [name for name, family in FAMILIES.items() if MODELS[family.model].uncertainty == "distribution"]


def image(height: int, width: int) -> Tensor:
    coarse = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(5))
    return F.interpolate(coarse, (height, width), mode="bilinear")[0].permute(1, 2, 0).mul(255).byte().contiguous()


def input_size(family: Family) -> InputSize:
    usual = MODELS[family.model].input
    return InputSize("exact", (family.side, family.side)) if usual.rule == "exact" else long_side(family.side, usual.multiple)


def model_of(family: Family, dtype: torch.dtype | None = None) -> TransformersModel:
    """As the family's loader makes it."""
    kind = {"prompt": prompt_depth_anything.PromptDepthAnything, "depth pro": depth_pro.DepthPro}
    name = next(name for name, other in FAMILIES.items() if other is family)
    make: Any = kind.get(name, TransformersModel)
    made: TransformersModel = make(family.wrap(family.net()), name, MODELS[family.model].claim, CPU, input_size(family), dtype)
    return made


def library_answer(net: Any, planes: Tensor) -> Tensor:
    """The library's own ``[h, w]``; of ZoeDepth on the mirrored image, without its margins."""
    with torch.no_grad():
        if net.config.model_type != "zoedepth":
            answer: Tensor = net(pixel_values=planes).predicted_depth[0]
            return answer
        rows, columns = (min(zoe_depth.MARGIN, side // 32 * 16) for side in planes.shape[2:])
        padded = F.pad(planes, (columns, columns, rows, rows), mode="reflect")
        inside: Tensor = net(pixel_values=padded).predicted_depth[0, rows:-rows, columns:-columns]
        return inside


def saved(net: Any, folder: Path) -> Path:
    net.save_pretrained(folder)
    return folder / "model.safetensors"
