"""Each family of ``transformers`` models as a small random network of its true classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

STAGES = [f"stage{number}" for number in (1, 2, 3, 4)]
NECK = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 16}
VIT = {"hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
SCENES = [
    {"name": "nyu", "n_bins": 64, "min_depth": 1e-3, "max_depth": 10.0},
    {"name": "kitti", "n_bins": 64, "min_depth": 1e-3, "max_depth": 80.0},
]


def _dinov2(**settings: Any) -> Any:
    import transformers

    backbone = {"hidden_size": 24, "num_attention_heads": 2, "num_hidden_layers": 4, "image_size": 56, "patch_size": 14}
    return transformers.Dinov2Config(**{**backbone, "reshape_hidden_states": False, "out_features": STAGES, **settings})


def depth_anything(**settings: Any) -> Any:
    import transformers

    config = transformers.DepthAnythingConfig(backbone_config=_dinov2(), reassemble_hidden_size=24, **NECK, **settings)
    return random(lambda: transformers.DepthAnythingForDepthEstimation(config), "head.conv3")


def prompt_depth_anything(**settings: Any) -> Any:
    import transformers

    settings = {"depth_estimation_type": "metric", **settings}
    config = transformers.PromptDepthAnythingConfig(backbone_config=_dinov2(), reassemble_hidden_size=24, **NECK, **settings)
    return random(lambda: transformers.PromptDepthAnythingForDepthEstimation(config), "head.conv3")


def dpt_dinov2() -> Any:
    import transformers

    config = transformers.DPTConfig(
        backbone_config=_dinov2(apply_layernorm=False),
        add_projection=True,
        use_bias_in_fusion_residual=False,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=256,
    )
    return random(lambda: transformers.DPTForDepthEstimation(config), "head.head.4")


def dpt_large() -> Any:
    import transformers

    config = transformers.DPTConfig(**VIT, image_size=128, patch_size=16, backbone_out_indices=[0, 1, 2, 3], **NECK)
    return random(lambda: transformers.DPTForDepthEstimation(config), "head.head.4")


def dpt_hybrid() -> Any:
    import transformers

    resnet = {
        "model_type": "bit",
        "global_padding": "same",
        "layer_type": "bottleneck",
        "embedding_size": 16,
        "hidden_sizes": [16, 32, 64],
        "depths": [1, 1, 1],
        "out_features": STAGES[:3],
        "embedding_dynamic_padding": True,
        "num_groups": 4,
    }
    config = transformers.DPTConfig(
        is_hybrid=True,
        **VIT,
        image_size=128,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[16, 32, 24, 24],
        fusion_hidden_size=16,
        reassemble_factors=[1, 1, 1, 0.5],
        backbone_featmap_shape=[1, 64, 8, 8],
        backbone_config=resnet,
    )
    return random(lambda: transformers.DPTForDepthEstimation(config), "head.head.4")


def glpn(**settings: Any) -> Any:
    import transformers

    encoder = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2]}
    config = transformers.GLPNConfig(**encoder, decoder_hidden_size=16, **settings)
    return random(lambda: transformers.GLPNForDepthEstimation(config), "head.head.2")


def tips() -> Any:
    import transformers

    backbone = {**VIT, "model_type": "tipsv2_vision_model", "image_size": 56, "patch_size": 14, "out_indices": [1, 2, 3, 4]}
    backbone |= {"apply_layernorm": True, "reshape_hidden_states": False}
    config = transformers.Tipsv2DptConfig(backbone_config=backbone, **NECK)
    return random(lambda: transformers.Tipsv2DptForDepthEstimation(config))


def zoe_depth(heads: int = 1, **settings: Any) -> Any:
    import transformers

    beit = transformers.BeitConfig(
        **VIT, image_size=64, patch_size=16, use_relative_position_bias=True, reshape_hidden_states=False, out_features=STAGES
    )
    if heads == 2:
        settings |= {"bin_configurations": SCENES, "num_patch_transformer_layers": 4, "patch_transformer_hidden_size": 128}
        settings |= {"patch_transformer_intermediate_size": 32, "patch_transformer_num_attention_heads": 4}
    config = transformers.ZoeDepthConfig(
        backbone_config=beit, bottleneck_features=16, bin_embedding_dim=8, num_relative_features=8, **NECK, **settings
    )
    return random(lambda: transformers.ZoeDepthForDepthEstimation(config))


def depth_pro(**settings: Any) -> Any:
    """Of 128 x 128 px, in its checkpoint's proportions: a patch is a quarter of that, and 64 px are one of the coarsest grid."""
    import transformers

    encoder = {
        "hidden_size": 24,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "mlp_ratio": 2,
        "image_size": 32,
        "patch_size": 16,
    }
    encoders = {f"{part}_model_config": {"model_type": "dinov2", **encoder} for part in ("image", "patch", "fov")}
    config = transformers.DepthProConfig(
        patch_size=32,
        fusion_hidden_size=16,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[8, 8],
        scaled_images_feature_dims=[8, 8, 8],
        num_fov_head_layers=1,
        **encoders,
        **{"use_fov_model": True, **settings},
    )
    return random(lambda: transformers.DepthProForDepthEstimation(config), "head.layers.4")


def random(make: Callable[[], nn.Module], projection: str | None = None) -> Any:
    """The same at each call. projection: the last one, whose bias keeps the answer from being 0 everywhere."""
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    net = make()
    for module in net.modules():  # the library's initial weights would make a head that answers nothing
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
    if projection is not None:
        bias = net.get_submodule(projection).bias
        assert isinstance(bias, torch.Tensor)
        nn.init.constant_(bias, 0.5)
    torch.random.set_rng_state(state)
    return net.eval()
