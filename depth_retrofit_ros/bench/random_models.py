"""Depth Anything V2 in its true architectures with random weights: good for nothing but time and memory, and labelled so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from depth_retrofit_ros.coarse.depth_anything import DepthAnything, quiet
from depth_retrofit_ros.coarse.registry import find_model
from depth_retrofit_ros.errors import ModelError

# Size → backbone and head (arXiv 2406.09414; config.json of the published checkpoints).
_SIZES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "small": (
        {"hidden_size": 384, "num_attention_heads": 6, "num_hidden_layers": 12, "stages": (3, 6, 9, 12)},
        {"neck_hidden_sizes": [48, 96, 192, 384], "fusion_hidden_size": 64},
    ),
    "base": (
        {"hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12, "stages": (3, 6, 9, 12)},
        {"neck_hidden_sizes": [96, 192, 384, 768], "fusion_hidden_size": 128},
    ),
    "large": (
        {"hidden_size": 1024, "num_attention_heads": 16, "num_hidden_layers": 24, "stages": (5, 12, 18, 24)},
        {"neck_hidden_sizes": [256, 512, 1024, 1024], "fusion_hidden_size": 256},
    ),
}
SIZES = tuple(_SIZES)


def random_network(size: str) -> nn.Module:
    """The network of one of ``SIZES``, the same at each call. Raises ModelError without ``transformers``."""
    try:
        from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config
    except ImportError:
        raise ModelError("the GPU profile needs transformers: pip install 'depth_retrofit_ros[depth-anything]'") from None
    backbone, head = _SIZES[size]
    stages = [f"stage{stage}" for stage in backbone["stages"]]
    shape = {name: value for name, value in backbone.items() if name != "stages"}
    config = Dinov2Config(patch_size=14, image_size=518, reshape_hidden_states=False, out_features=stages, **shape)
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    network = DepthAnythingForDepthEstimation(
        DepthAnythingConfig(backbone_config=config, reassemble_hidden_size=backbone["hidden_size"], **head)
    )
    nn.init.constant_(network.head.conv3.bias, 0.5)  # an answer that is not 0 everywhere
    torch.random.set_rng_state(state)
    return network


def random_model(size: str, device: torch.device) -> DepthAnything:
    """A coarse model of one of ``SIZES``."""
    info = find_model("depth-anything-v2-small")
    return DepthAnything(random_network(size), f"depth-anything-v2-{size} (random weights)", info.claim, device, info.input)


def save_random_checkpoint(size: str, folder: Path) -> Path:
    """Write it as the published ones are, for a node to load; the file with the weights."""
    with quiet():
        random_network(size).save_pretrained(folder)  # type: ignore[operator]
    return folder / "model.safetensors"
