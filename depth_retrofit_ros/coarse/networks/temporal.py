"""Attention over time at each place of a feature map, and what of a video it remembers; names as in Video Depth Anything."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOW = 32  # frames that one frame attends to, itself included
RECENT = WINDOW - 3  # of them right before it; the two others are the first frame, and the one REACH before
REACH = 41
HEADS, NORM_GROUPS = 8, 32


class TemporalMemory:
    """The states of a video's first frame and of the last ``REACH`` ones: bounded, whatever the video's length.

    A video begins as if its first frame had been there forever. Each frame's state is a list of ``[places, 1, C]``.
    """

    def __init__(self) -> None:
        self._first: list[Tensor] | None = None
        self._last: deque[list[Tensor]] = deque(maxlen=REACH)

    def __len__(self) -> int:
        """Number of frames that are held, repetitions included."""
        return len(self._last) + (self._first is not None)

    def past(self) -> list[Tensor] | None:
        """What the next frame attends to, oldest first, as ``[places, WINDOW - 1, C]`` for each tensor; None at the start."""
        if self._first is None:
            return None
        frames = [self._first, self._last[0], *list(self._last)[-RECENT:]]
        return [torch.cat(states, 1) for states in zip(*frames, strict=True)]

    def add(self, state: list[Tensor]) -> None:
        """Take in a frame's state."""
        if self._first is None:
            self._first = state
            self._last.extend([state] * REACH)
        else:
            self._last.append(state)

    def clear(self) -> None:
        """Forget the video."""
        self._first = None
        self._last.clear()


class TemporalModule(nn.Module):
    """A map, with what attention over time makes of it added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.temporal_transformer = TemporalTransformer(channels)

    def forward(self, x: Tensor, past: Sequence[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """x ``[1, C, h, w]``; past: for each attention ``[h · w, frames, C]`` → the map, and this frame's state."""
        y, state = self.temporal_transformer(x, past)
        return x + y, state


class TemporalTransformer(nn.Module):
    """Two attentions over time, then a perceptron, between two projections."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(NORM_GROUPS, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([TemporalBlock(channels)])
        self.proj_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, past: Sequence[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """As ``TemporalModule``, without the map itself."""
        places = self.proj_in(self.norm(x).flatten(2).permute(2, 0, 1))  # [h · w, 1, C]
        places, state = self.transformer_blocks[0](places, past)
        return self.proj_out(places).permute(1, 2, 0).unflatten(2, x.shape[2:]), state


class TemporalBlock(nn.Module):
    """Attentions and perceptron, each on its normed input and added to it: ``[places, 1, C]`` → the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList([TemporalAttention(channels) for _ in range(2)])
        self.norms = nn.ModuleList([nn.LayerNorm(channels) for _ in range(2)])
        self.ff = GatedPerceptron(channels)
        self.ff_norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, past: Sequence[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        state = []
        for index, (attention, norm) in enumerate(zip(self.attention_blocks, self.norms, strict=True)):
            now = norm(x)
            x = x + attention(now, now if past is None else torch.cat((past[index], now), 1))
            state.append(now)
        return x + self.ff(self.ff_norm(x)), state


class TemporalAttention(nn.Module):
    """The newest frame attends to all frames of the window, at the same place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])
        self.pos_encoder = TimeEmbedding(channels)

    def forward(self, now: Tensor, window: Tensor) -> Tensor:
        """now ``[places, 1, C]``; window ``[places, frames, C]``, oldest first, ``now`` last → ``[places, 1, C]``."""
        placed = self.pos_encoder(window)
        query, key, value = self.to_q(placed[:, -1:]), self.to_k(placed), self.to_v(placed)
        query, key, value = (x.unflatten(2, (HEADS, -1)).transpose(1, 2) for x in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        out: Tensor = self.to_out[0](mixed)
        return out


class TimeEmbedding(nn.Module):
    """The place in the window, as sines and cosines, added; part of the checkpoint."""

    pe: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        angles = torch.arange(WINDOW)[:, None] * torch.exp(torch.arange(0, channels, 2) * (-math.log(10000.0) / channels))
        self.register_buffer("pe", torch.stack((angles.sin(), angles.cos()), 2).view(1, WINDOW, channels))

    def forward(self, window: Tensor) -> Tensor:
        return window + self.pe[:, : window.shape[1]].to(window.dtype)


class GatedPerceptron(nn.Module):
    """A linear layer gated by the GELU of another, and a third back to the input's width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([Gate(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net[2](self.net[0](x))
        return y


class Gate(nn.Module):
    """Value and gate from one projection."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * hidden)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, 2)
        return value * F.gelu(gate)
