"""Losses on log depth: SILog, edge-aware gradient matching, local-window scale-and-shift-invariant gradients.

Every map is [B, H, W]; ``valid`` masks are bool of the same shape.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

CHOICE_SCALE = 0.03  # in ln depth: candidates this much apart are told apart


def silog_loss(log_pred: torch.Tensor, log_true: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """10·sqrt(var(g) + 0.15·mean(g)²) with g = ln p − ln t over all valid pixels (Eigen et al. 2014, AdaBins' form)."""
    g = (log_pred - log_true)[valid]
    if g.numel() < 2:
        return log_pred.sum() * 0
    return 10 * (g.var() + 0.15 * g.mean() ** 2 + 1e-8).sqrt()


def gradient_loss(log_pred: torch.Tensor, log_true: torch.Tensor, valid: torch.Tensor, scales: int = 3) -> torch.Tensor:
    """L1 between the gradients of ln p and ln t at ``scales`` octaves (MegaDepth's multi-scale gradient matching)."""
    loss = log_pred.new_zeros(())
    for scale in range(scales):
        step = 2**scale
        g = torch.where(valid, log_pred - log_true, 0.0)[:, ::step, ::step]
        v = valid[:, ::step, ::step]
        for axis in (1, 2):
            pair = v.narrow(axis, 1, v.shape[axis] - 1) & v.narrow(axis, 0, v.shape[axis] - 1)
            difference = g.narrow(axis, 1, g.shape[axis] - 1) - g.narrow(axis, 0, g.shape[axis] - 1)
            loss = loss + (difference.abs() * pair).sum() / pair.sum().clamp_min(1)
    return loss


def local_window_loss(
    pred: torch.Tensor, true: torch.Tensor, valid: torch.Tensor, generator: torch.Generator, windows: int = 100, side: int = 23
) -> torch.Tensor:
    """L1 of the gradients left after the best scale and shift of each of ``windows`` random windows per image (PatchRefiner V2)."""
    batch, height, width = pred.shape
    side, n = min(side, height, width), batch * windows
    image = torch.arange(batch, device=pred.device).repeat_interleave(windows)
    y = torch.randint(0, height - side + 1, (n,), generator=generator, device=generator.device).to(pred.device)
    x = torch.randint(0, width - side + 1, (n,), generator=generator, device=generator.device).to(pred.device)
    offset = torch.arange(side, device=pred.device)
    index = (image * height + y)[:, None, None] * width + x[:, None, None] + offset[:, None] * width + offset
    p, t, v = (m.reshape(-1)[index].flatten(1) for m in (pred, true, valid))
    weight = v.to(p.dtype)
    count = weight.sum(1, keepdim=True).clamp_min(1)
    p, t = torch.where(v, p, 0.0), torch.where(v, t, 0.0)
    p_mean, t_mean = p.sum(1, keepdim=True) / count, t.sum(1, keepdim=True) / count
    p_dev, t_dev = (p - p_mean) * weight, (t - t_mean) * weight
    scale = (p_dev * t_dev).sum(1, keepdim=True) / p_dev.square().sum(1, keepdim=True).clamp_min(1e-8)  # a window may be flat
    residual = (scale * p_dev - t_dev).view(n, side, side)
    mask = v.view(n, side, side)
    across = (residual[:, :, 1:] - residual[:, :, :-1]).abs() * (mask[:, :, 1:] & mask[:, :, :-1])
    down = (residual[:, 1:] - residual[:, :-1]).abs() * (mask[:, 1:] & mask[:, :-1])
    return (across.sum() + down.sum()) / (2 * weight.sum().clamp_min(1))


def choice_cross_entropy(log_choice: torch.Tensor, apart: torch.Tensor, matters: torch.Tensor) -> torch.Tensor:
    """Of a choice among candidates against those nearest to the truth. log_choice ``[K, C]``: ln of its probabilities; apart ``[K,
    C]``: |ln(candidate / truth)|; matters ``[K]``: 0…1, the weight of each pixel: where candidates hardly differ it does not matter
    which is taken."""
    nearest = (-apart / CHOICE_SCALE).softmax(1)
    return -((nearest * log_choice).sum(1) * matters).mean()


def two_hot_cross_entropy(logits: torch.Tensor, log_true: torch.Tensor, centers: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Cross entropy of logits [B, C, h, w] against the target split linearly between its two neighbouring bin centres."""
    step = centers[1] - centers[0]
    position = ((log_true - centers[0]) / step).clamp(0, centers.numel() - 1)
    low = position.floor().long().clamp_max(centers.numel() - 2)
    share = position - low
    log_p = F.log_softmax(logits.float(), 1)
    picked = log_p.gather(1, torch.stack([low, low + 1], 1))
    loss = -(picked[:, 0] * (1 - share) + picked[:, 1] * share)
    return (loss * valid).sum() / valid.sum().clamp_min(1)
