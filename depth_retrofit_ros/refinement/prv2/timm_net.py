"""The paper's encoders, as timm builds them. timm is asked for when one is made."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.refinement.pixels.features import CENTER, SPREAD


class TimmEncoder(nn.Module):
    """Colors and ln depth ``[B, 4, H, W]`` → five maps of ``widths``, strides 2 to 32. Colors come as ``normalized`` makes them,
    and enter as the encoder was trained with them. The weights of the depth begin at zero.

    An encoder whose finest map has stride 4 gets a learned one at stride 2, as in the paper. Raises ModelError without timm.
    """

    def __init__(self, name: str, widths: Sequence[int]) -> None:
        super().__init__()
        try:
            import timm
        except ImportError as error:
            raise ModelError(
                f"PatchRefiner V2's encoder {name} needs timm ({error}): pip install 'depth_retrofit_ros[prv2-full]'"
            ) from None
        self.encoder: nn.Module = timm.create_model(name, pretrained=False, features_only=True, in_chans=4)
        config = self.encoder.default_cfg
        self.mean, self.deviation = tuple(config["mean"]), tuple(config["std"])
        stem = next(module for module in self.encoder.modules() if isinstance(module, nn.Conv2d))
        nn.init.zeros_(stem.weight[:, 3:].detach())
        channels = list(self.encoder.feature_info.channels())
        self.finest: nn.Module | None = None
        if self.encoder.feature_info.reduction()[0] == 4:
            self.finest = nn.Sequential(nn.ConvTranspose2d(channels[0], widths[0], 2, 2), nn.ReLU())
            channels.insert(0, widths[0])
        if channels != list(widths):
            raise ValueError(f"{name} has maps of {channels} channels, not of {list(widths)}")

    def forward(self, x: Tensor) -> list[Tensor]:
        """See the class."""
        colors = [
            x[:, i : i + 1] * (SPREAD / 255 / deviation) + (CENTER / 255 - mean) / deviation
            for i, (mean, deviation) in enumerate(zip(self.mean, self.deviation, strict=True))
        ]
        maps: list[Tensor] = self.encoder(torch.cat((*colors, x[:, 3:]), 1))
        return maps if self.finest is None else [self.finest(maps[0]), *maps]
