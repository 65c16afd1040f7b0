"""How Metric3D v2 corrects its first answer: recurrent units at three scales, and the upsampling that they weight."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_retrofit_ros.coarse.networks.resizing import corner_aligned

STATE = 6  # depth, its confidence, a normal and its concentration
FACTOR = 4  # of the last upsampling


class Update(nn.Module):
    """One step of correction: the coarse units several times, then the finest with the state so far.

    units: of the three scales, finest first; gates: what their context adds to their gates; state ``[1, 6, …]`` → new units, the
    weights of the upsampling ``[1, 16 · 9, …]``, and the change of the state.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.gru08, self.gru16, self.gru32 = (Gru(hidden, inputs) for inputs in (STATE + hidden, 2 * hidden, hidden))
        self.flow_head = nn.ModuleDict(
            {
                "conv1d": conv3x3(hidden, hidden),
                "conv2d": conv3x3(hidden, 2),
                "conv1n": conv3x3(hidden, hidden),
                "conv2n": conv3x3(hidden, STATE - 2),
            }
        )
        self.mask = nn.Sequential(conv3x3(hidden, hidden), nn.ReLU(), nn.Conv2d(hidden, FACTOR**2 * 9, 1))

    def forward(
        self, units: Sequence[Tensor], gates: Sequence[Sequence[Tensor]], state: Tensor
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        fine, mid, deep = units
        for middle_too in (False, True, True):
            deep = self.gru32(deep, gates[2], halved(mid))
            if middle_too:
                mid = self.gru16(mid, gates[1], corner_aligned(halved(fine), mid.shape[-2:]), corner_aligned(deep, mid.shape[-2:]))
        fine = self.gru08(fine, gates[0], state, corner_aligned(mid, fine.shape[-2:]))
        head = self.flow_head
        change = torch.cat([head[f"conv2{kind}"](head[f"conv1{kind}"](fine).relu()) for kind in "dn"], 1)
        return [fine, mid, deep], 0.25 * self.mask(fine), change


class Gru(nn.Module):
    """A convolutional gated recurrent unit."""

    def __init__(self, hidden: int, inputs: int) -> None:
        super().__init__()
        self.convz, self.convr, self.convq = (conv3x3(hidden + inputs, hidden) for _ in range(3))

    def forward(self, unit: Tensor, gates: Sequence[Tensor], *inputs: Tensor) -> Tensor:
        x = torch.cat((unit, *inputs), 1)
        update, reset = (self.convz(x) + gates[0]).sigmoid(), (self.convr(x) + gates[1]).sigmoid()
        proposed = (self.convq(torch.cat((reset * unit, *inputs), 1)) + gates[2]).tanh()
        out: Tensor = (1 - update) * unit + update * proposed
        return out


def upsampled(state: Tensor, weights: Tensor) -> Tensor:
    """``[1, C, h, w]`` → ``[1, C, 4h, 4w]``: each fine place is the mean of 3 × 3 coarse ones, by weights ``[1, 16 · 9, h, w]``."""
    _, channels, rows, columns = state.shape
    shares = weights.view(1, 1, 9, FACTOR, FACTOR, rows, columns).softmax(2)
    around = F.unfold(state, (3, 3), padding=1).view(1, channels, 9, 1, 1, rows, columns)
    return (shares * around).sum(2).permute(0, 1, 4, 2, 5, 3).reshape(1, channels, FACTOR * rows, FACTOR * columns)


def conv3x3(width: int, out: int) -> nn.Conv2d:
    """Keeps the size."""
    return nn.Conv2d(width, out, 3, padding=1)


def halved(x: Tensor) -> Tensor:
    """Averaged 3 × 3 at every second place."""
    return F.avg_pool2d(x, 3, 2, 1)
