"""The small encoder of a tile, for CPUs: inverted residuals (Sandler et al. 2018), strides 2 to 32."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

BLOCKS = 3  # of each stride
EXPANSION = 3


class InvertedResidual(nn.Module):
    """Expand, convolve each channel by itself, narrow; added to what came in where the shape stays."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        hidden = EXPANSION * channels
        self.layers = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.adds = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]``."""
        return x + self.layers(x) if self.adds else self.layers(x)


class SmallEncoder(nn.Module):
    """Colors and ``others``, such as ln depth, ``[B, 3 + others, H, W]`` → five maps of ``widths``, strides 2 to 32. The weights of
    the others begin at zero, so that the encoder begins with colors alone."""

    def __init__(self, widths: Sequence[int], others: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3 + others, widths[0], 3, 2, 1)
        nn.init.zeros_(self.stem.weight[:, 3:].detach())
        stages = []
        for index, width in enumerate(widths):
            before = widths[max(index - 1, 0)]
            first = InvertedResidual(before, width, 1 if index == 0 else 2)
            stages.append(nn.Sequential(first, *(InvertedResidual(width, width, 1) for _ in range(BLOCKS - 1))))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """See the class."""
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
