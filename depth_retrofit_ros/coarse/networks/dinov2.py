"""DINOv2's vision transformer (arXiv 2304.07193), the encoder of most depth models; names as in its public checkpoints.

``Block`` serves the transformers that were made of it too: with normalised queries and keys, and with rotary positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-6  # of the layer norms
Rope = Callable[[Tensor, Tensor], Tensor]
"""Rotary positions: queries or keys ``[B, heads, N, d]`` and positions ``int64 [B, N, 2]`` (row, column) → the former, rotated."""


@dataclass(frozen=True, slots=True)
class VitSize:
    """Width, depth and number of attention heads of a transformer."""

    width: int
    depth: int
    heads: int


VIT_SMALL, VIT_BASE, VIT_LARGE = VitSize(384, 12, 6), VitSize(768, 12, 12), VitSize(1024, 24, 16)


class DinoV2(nn.Module):
    """The encoder, with patches of 14 px.

    registers: tokens beside the class token; pretrained_size: side [px] of the square whose positions the checkpoint has;
    antialias, offset: how its position embedding is brought to other sizes, which differs between the released variants (with
    registers: antialiased to the exact size; without: not antialiased, by a factor with 0.1 patches added).
    """

    def __init__(
        self,
        size: VitSize,
        registers: int = 0,
        pretrained_size: int = 518,
        patch: int = 14,
        antialias: bool = False,
        offset: float = 0.1,
    ) -> None:
        super().__init__()
        self.size, self.patch, self.registers = size, patch, registers
        self.antialias, self.offset = antialias, offset
        self.patch_embed = PatchEmbed(size.width, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (pretrained_size // patch) ** 2, size.width))
        if registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, registers, size.width))
        self.blocks = nn.ModuleList([Block(size.width, size.heads) for _ in range(size.depth)])
        self.norm = nn.LayerNorm(size.width, eps=EPS)
        self.mask_token = nn.Parameter(torch.zeros(1, size.width))  # of its training; part of each checkpoint

    def forward(self, image: Tensor) -> Tensor:
        """image ``[B, 3, H, W]``, normalised, H and W multiples of the patch → normed patch tokens ``[B, N, C]``."""
        return self.intermediate(image, (self.size.depth - 1,))[0][0]

    def intermediate(self, image: Tensor, layers: Sequence[int], norm: bool = True) -> list[tuple[Tensor, Tensor]]:
        """After each of the given blocks (counted from 0): patch tokens ``[B, N, C]`` and class token ``[B, C]``, normed or not."""
        x = self.embed(image)
        taken = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in layers:
                y = self.norm(x) if norm else x
                taken.append((y[:, 1 + self.registers :], y[:, 0]))
        return taken

    def embed(self, image: Tensor) -> Tensor:
        """The tokens that enter the first block, ``[B, 1 + registers + N, C]``: class, registers, patches."""
        return self.beside_class(self.patch_embed(image), image.shape[2] // self.patch, image.shape[3] // self.patch)

    def beside_class(self, patches: Tensor, rows: int, columns: int) -> Tensor:
        """Embedded patches ``[B, rows · columns, C]``, with positions, after the class token and the registers."""
        x = torch.cat((self.cls_token.expand(len(patches), -1, -1), patches), 1)
        x = x + self.positions(rows, columns).to(x.dtype)
        if self.registers:
            x = torch.cat((x[:, :1], self.register_tokens.expand(len(patches), -1, -1), x[:, 1:]), 1)
        return x

    def positions(self, rows: int, columns: int) -> Tensor:
        """The position embedding for that many patches, ``[1, 1 + rows · columns, C]``."""
        count = self.pos_embed.shape[1] - 1
        side = round(count**0.5)
        if rows == columns == side:
            return self.pos_embed
        grid = self.pos_embed[:, 1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
        if self.offset:
            factors = ((rows + self.offset) / side, (columns + self.offset) / side)
            grid = F.interpolate(grid, scale_factor=factors, mode="bicubic", antialias=self.antialias)
        else:
            grid = F.interpolate(grid, size=(rows, columns), mode="bicubic", antialias=self.antialias)
        return torch.cat((self.pos_embed[:, :1].float(), grid.permute(0, 2, 3, 1).reshape(1, rows * columns, -1)), 1)


class PatchEmbed(nn.Module):
    """image ``[B, channels, H, W]`` → one token a patch, ``[B, H/patch · W/patch, C]``."""

    def __init__(self, width: int, patch: int, channels: int = 3) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, patch)

    def forward(self, image: Tensor) -> Tensor:
        tokens: Tensor = self.proj(image).flatten(2).transpose(1, 2)
        return tokens


class Block(nn.Module):
    """A pre-norm transformer layer with layer scale, ``[B, N, C]`` → ``[B, N, C]``.

    qk_norm: layer norm of queries and keys; rope: rotary positions, with ``positions`` then given to ``forward``.
    """

    def __init__(
        self, width: int, heads: int, qk_norm: bool = False, rope: Rope | None = None, qk_eps: float = 1e-5, eps: float = EPS
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads, qk_norm, rope, qk_eps)
        self.ls1 = LayerScale(width)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Perceptron(width, 4 * width)
        self.ls2 = LayerScale(width)

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x), positions))
        y: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return y


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int, qk_norm: bool = False, rope: Rope | None = None, qk_eps: float = 1e-5) -> None:
        super().__init__()
        self.heads, self.rope = heads, rope
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm: nn.Module = nn.LayerNorm(width // heads, eps=qk_eps) if qk_norm else nn.Identity()
        self.k_norm: nn.Module = nn.LayerNorm(width // heads, eps=qk_eps) if qk_norm else nn.Identity()
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        batch, tokens, width = x.shape
        query, key, value = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key = self.q_norm(query), self.k_norm(key)
        if self.rope is not None and positions is not None:
            query, key = self.rope(query, positions), self.rope(key, positions)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, tokens, width)
        out: Tensor = self.proj(mixed)
        return out


class LayerScale(nn.Module):
    """A learned factor for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Perceptron(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y
