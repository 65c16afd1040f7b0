"""EfficientNet-Lite0 without its classifier: the encoder of ``compact``, with each batch normalisation folded into its convolution.

Tan & Le 2019, "EfficientNet"; the Lite variants have ReLU6 and no squeeze-and-excitation. TensorFlow's SAME padding, one pixel more
at the right and the bottom where the stride is 2, is part of the weights' meaning.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

STEM = 32  # channels
CHANNELS = (16, 24, 40, 112, 192)  # of the feature maps at 1/2, 1/4 … 1/32 of the input


class Stage(NamedTuple):
    """Blocks of one width: the first one changes size and channels, the others are residual."""

    kernel: int
    stride: int
    expand: int
    cin: int
    cout: int
    repeats: int


STAGES = (
    Stage(3, 1, 1, STEM, 16, 1),
    Stage(3, 2, 6, 16, 24, 2),
    Stage(5, 2, 6, 24, 40, 2),
    Stage(3, 2, 6, 40, 80, 3),
    Stage(5, 1, 6, 80, 112, 3),
    Stage(5, 2, 6, 112, 192, 4),
)
MAPS = (0, 1, 2, 4, 5)  # stages whose outputs are the feature maps; a last stage, of 320 channels for the classifier, is left out


class EfficientNetLite0(nn.Module):
    """image [B, 3, h, w] in 0…1 → five feature maps [B, CHANNELS[i], ⌈h/2^(i+1)⌉, ⌈w/2^(i+1)⌉]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM, 3, stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    InvertedResidual(s.cin if i == 0 else s.cout, s.cout, s.kernel, s.stride if i == 0 else 1, s.expand)
                    for i in range(s.repeats)
                )
            )
            for s in STAGES
        )

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        x = self.stem((image * 255 - 127) / 128)
        maps = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in MAPS:
                maps.append(x)
        return maps


class SameConv(nn.Module):
    """Convolution with TensorFlow's SAME padding, then ReLU6 unless ``linear``. kernel: odd; at stride 2 at least 3."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups)
        self.linear = linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.conv.weight
        if self.conv.stride[0] == 2:
            # At stride 2 an even side is padded by one pixel less before than after. A zero in front of the kernel does the same,
            # without a padded copy of the map, which would cost more than the convolution.
            weight = F.pad(weight, (1 - x.shape[3] % 2, 0, 1 - x.shape[2] % 2, 0))
        x = F.conv2d(x, weight, self.conv.bias, self.conv.stride, self.conv.padding, groups=self.conv.groups)
        return x if self.linear else F.relu6(x, inplace=True)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; added to its input where the shapes agree."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        width = cin * expand
        self.expand = SameConv(cin, width, 1) if expand > 1 else nn.Identity()
        self.depthwise = SameConv(width, width, kernel, stride, groups=width)
        self.project = SameConv(width, cout, 1, linear=True)
        self.residual = stride == 1 and cin == cout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y
