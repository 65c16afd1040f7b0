"""``decision.decide_by_torch`` and the gate of ``fusion``, each in one kernel, for inference on CUDA."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from depth_retrofit_ros.device.launches import launch

BLOCK = 128  # pixels of a program
_ALL: tl.constexpr = tl.constexpr(tl.PropagateNan.ALL)


@triton.jit
def decide_kernel(
    out: tl.tensor,  # [count, CANDIDATES + 4], any real type
    rows: tl.tensor,  # [count, columns], any real type
    change: tl.tensor,  # float32 [count]
    entropy: tl.tensor,  # float32 [count]
    count: tl.tensor,
    columns: tl.tensor,
    AT_RATIO: tl.constexpr,  # first columns of the candidates' ratios and colour distances
    AT_COLOR: tl.constexpr,
    CANDIDATES: tl.constexpr,
    PLACE_SCALE: tl.constexpr,
    FARTHEST: tl.constexpr,
    RESIDUAL_SCALE: tl.constexpr,
    WIDTH: tl.constexpr,  # a power of two, at least CANDIDATES
    BLOCK: tl.constexpr,
) -> None:
    """Grid: blocks of pixels."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = pixel < count
    said = out + pixel.to(tl.int64) * (CANDIDATES + 4)
    row = rows + pixel.to(tl.int64) * columns
    k = tl.arange(0, WIDTH)
    used = there[:, None] & (k < CANDIDATES)[None, :]
    ratio = tl.load(row[:, None] + AT_RATIO + k[None, :], used, 0.0).to(tl.float32)
    color = tl.load(row[:, None] + AT_COLOR + k[None, :], used, 0.0).to(tl.float32)
    logit = tl.load(said[:, None] + k[None, :], used, 0.0).to(tl.float32)
    linear = tl.load(said + CANDIDATES, there, 0.0).to(tl.float32)[:, None]
    square = tl.load(said + CANDIDATES + 1, there, 0.0).to(tl.float32)[:, None]
    by_color = tl.load(said + CANDIDATES + 2, there, 0.0).to(tl.float32)[:, None]
    residual = tl.load(said + CANDIDATES + 3, there, 0.0).to(tl.float32)
    place = tl.maximum(ratio * PLACE_SCALE, -FARTHEST, propagate_nan=_ALL)
    place = tl.minimum(place, FARTHEST, propagate_nan=_ALL)
    logit = logit + by_color * color + (linear + square * place) * place
    logit = tl.where((k < CANDIDATES)[None, :], logit, -float("inf"))
    logit = logit - tl.max(logit, 1)[:, None]
    weight = tl.exp(logit)
    total = tl.sum(weight, 1)
    mean = tl.sum(weight * ratio, 1) / total
    below = tl.sum(tl.where(weight > 0, weight * logit, 0.0), 1) / total
    tl.store(change + pixel, mean + RESIDUAL_SCALE * residual, there)
    tl.store(entropy + pixel, tl.log(total) - below, there)


@triton.jit
def gate_kernel(
    level: tl.tensor,  # [count], any real type, with a stride
    coarse_entropy: tl.tensor,  # the same, of the same
    change: tl.tensor,  # float32 [count]
    entropy: tl.tensor,  # float32 [count]
    coarse: tl.tensor,  # float32 [count]
    first: tl.tensor,  # float32 [HIDDEN, 4]
    first_bias: tl.tensor,  # float32 [HIDDEN]
    second: tl.tensor,  # float32 [1, HIDDEN]
    second_bias: tl.tensor,  # float32 [1]
    gate: tl.tensor,  # float32 [count]
    fused: tl.tensor,  # float32 [count]
    count: tl.tensor,
    stride: tl.tensor,
    HIDDEN: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Grid: blocks of pixels."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = pixel < count
    at = pixel.to(tl.int64) * stride
    own_level = tl.load(level + at, there, 0.0).to(tl.float32)
    of_coarse = tl.load(coarse_entropy + at, there, 0.0).to(tl.float32)
    moved, of_refined = tl.load(change + pixel, there, 0.0), tl.load(entropy + pixel, there, 0.0)
    logit = tl.zeros_like(moved) + tl.load(second_bias)
    for unit in tl.static_range(HIDDEN):
        hidden = tl.load(first_bias + unit) + tl.load(first + 4 * unit) * own_level + tl.load(first + 4 * unit + 1) * moved
        hidden += tl.load(first + 4 * unit + 2) * of_coarse + tl.load(first + 4 * unit + 3) * of_refined
        logit += tl.load(second + unit) * tl.where(hidden < 0.0, 0.0, hidden)
    kept = 1.0 / (1.0 + tl.exp(-logit))
    tl.store(gate + pixel, kept, there)
    tl.store(fused + pixel, tl.load(coarse + pixel, there, 0.0) * tl.exp((1.0 - kept) * moved), there)


def decide(
    out: torch.Tensor, rows: torch.Tensor, at: tuple[int, int], candidates: int, scales: tuple[float, float, float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """change and entropy, both ``float32 [K]``, from the U-Net's output ``[K, candidates + 4]`` and ``PixelFeatures.rows``.

    at: the first columns of the candidates' ratios and colour distances; scales: of a place, the farthest place, of the residual.
    """
    count, columns = rows.shape
    change, entropy = torch.empty(2, count, device=rows.device)
    if count:
        launch(
            decide_kernel,
            (triton.cdiv(count, BLOCK),),
            out.contiguous(),
            rows,
            change,
            entropy,
            count,
            columns,
            AT_RATIO=at[0],
            AT_COLOR=at[1],
            CANDIDATES=candidates,
            PLACE_SCALE=scales[0],
            FARTHEST=scales[1],
            RESIDUAL_SCALE=scales[2],
            WIDTH=triton.next_power_of_2(candidates),
            BLOCK=BLOCK,
        )
    return change, entropy


def fuse(
    level: torch.Tensor,
    coarse_entropy: torch.Tensor,
    change: torch.Tensor,
    entropy: torch.Tensor,
    coarse: torch.Tensor,
    layers: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gate and fused depth, both ``float32 [K]``. level, coarse_entropy: columns of ``PixelFeatures.rows``; change, entropy: of the
    ``Refinement``; coarse: coarse depth, all ``[K]``; layers: weight and bias of both layers of ``GatedFusion.mlp``."""
    count = change.numel()
    gate, fused = torch.empty_like(change), torch.empty_like(change)
    if count:
        launch(
            gate_kernel,
            (triton.cdiv(count, BLOCK),),
            level,
            coarse_entropy,
            change,
            entropy,
            coarse,
            *layers,
            gate,
            fused,
            count,
            level.stride(0),
            HIDDEN=layers[1].numel(),
            BLOCK=BLOCK,
        )
    return gate, fused
