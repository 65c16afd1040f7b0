"""Training of the coarse model ``compact`` on coarse views of procedural scenes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from depth_retrofit_ros.coarse.compact_net import (
    CANONICAL_F_PX,
    LONG_SIDE,
    MULTIPLE,
    SPAN,
    CompactNet,
    bin_centers,
    expected_log_depth,
)
from depth_retrofit_ros.training.loop import Loop, LoopSpec, Losses
from depth_retrofit_ros.training.losses import gradient_loss, local_window_loss, silog_loss, two_hot_cross_entropy

HALF_SIZE_UNTIL = 0.65  # share of the training that runs at half size, four times as fast
ASPECTS = (3 / 4, 2 / 3, 9 / 16, 9 / 16, 4 / 3)  # height to width


class CoarseViews:
    """Random batches of coarse views; the focal length is divided out, so that the target is canonical log depth."""

    def __init__(self, files: list[Path], batch: int, seed: int, device: torch.device) -> None:
        self.batch, self.seed, self.device = batch, seed, device
        self.files = files

    def __call__(self, step: int, shrink: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """image [B, 3, h, w] 0…1 and canonical log depth [B, h, w] (inf = sky), of sizes divided by shrink; deterministic in (seed,
        step)."""
        rng = np.random.default_rng((self.seed, step))
        shape = view_shape(ASPECTS[rng.integers(len(ASPECTS))], LONG_SIDE // shrink)
        pairs = [self._sample(rng, shape) for _ in range(self.batch)]
        images = torch.from_numpy(np.stack([p[0] for p in pairs])).permute(0, 3, 1, 2).contiguous()
        return images.to(self.device), torch.from_numpy(np.stack([p[1] for p in pairs])).to(self.device)

    def _sample(self, rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        view, depth, f_view = _load(self.files[rng.integers(len(self.files))])
        (h, w), (height, width) = shape, view.shape[:2]
        # The largest window of the wanted aspect, shrunk at random: a zoom, which multiplies the focal length.
        scale = min(width / w, height / h) * rng.uniform(0.6, 1.0)
        cw, ch = max(8, int(w * scale)), max(8, int(h * scale))
        x, y = rng.integers(width - cw + 1), rng.integers(height - ch + 1)
        image = _shrunk(view[y : y + ch, x : x + cw], shape)
        target = cv2.resize(depth[y : y + ch, x : x + cw], (w, h), interpolation=cv2.INTER_NEAREST_EXACT)
        log = np.log(target) - np.log(f_view * w / cw / CANONICAL_F_PX)
        if rng.random() < 0.5:
            image, log = image[:, ::-1], log[:, ::-1]
        return _jitter(rng, image), np.ascontiguousarray(log.astype(np.float32))


def _load(path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    data = np.load(path)
    view = data["view"]
    return view, data["view_depth"], float(data["f_px"]) * max(view.shape) / float(data["frame"].max())


def _shrunk(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Averaged, as live frames are; interpolated where the window is smaller than the network's input."""
    averaged = image.shape[0] >= shape[0] and image.shape[1] >= shape[1]
    return np.asarray(cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_AREA if averaged else cv2.INTER_LINEAR))


def view_shape(aspect: float, long_side: int) -> tuple[int, int]:
    """(h, w) of about this height to width, multiples of ``MULTIPLE``."""
    h, w = (long_side * min(1.0, side) for side in (aspect, 1 / aspect))
    return max(1, round(h / MULTIPLE)) * MULTIPLE, max(1, round(w / MULTIPLE)) * MULTIPLE


def _jitter(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Gain, gamma, white balance, saturation, noise and blur: cameras differ more than our sensor model says."""
    out = image.astype(np.float32) / 255
    out = np.clip(out * np.exp(rng.normal(0, 0.25) + rng.normal(0, 0.08, 3).astype(np.float32)), 0, 1) ** np.exp(rng.normal(0, 0.2))
    gray = out.mean(2, keepdims=True)
    out = gray + (out - gray) * rng.uniform(0, 1.4)
    if rng.random() < 0.2:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < 0.4:
        out = out + rng.normal(0, rng.uniform(0, 0.04), out.shape)
    return np.clip(out, 0, 1).astype(np.float32)


def compact_losses(network: CompactNet, images: torch.Tensor, log_true: torch.Tensor, step: int) -> Losses:
    """Cross entropy over the relative depth bins everywhere (the sky is the last bin); of the expectation, off the sky: SILog per
    image, gradients, and gradients within local windows after the best scale and shift of each (sharp detail at any depth); L1 of
    the log median. The output has half the input's size: ``step`` modulo 4 says which pixel of each 2×2 block is its truth, so that
    over the steps no corner is preferred; it also draws the windows."""
    row, column = divmod(step % 4, 2)
    logits, log_median = network(images)
    log_true = log_true[:, row::2, column::2]
    known = torch.isfinite(log_true)
    true_median = torch.where(known, log_true, torch.nan).flatten(1).nanmedian(1).values
    relative = torch.where(known, log_true - true_median[:, None, None], SPAN)
    predicted = expected_log_depth(logits)
    entropy = two_hot_cross_entropy(logits, relative, bin_centers().to(logits.device), torch.ones_like(known))
    per_image = [silog_loss(p[None], t[None], k[None]) for p, t, k in zip(predicted, relative, known, strict=True)]
    silog = torch.stack(per_image).mean()
    gradient = gradient_loss(predicted, relative, known)
    windows = local_window_loss(predicted, relative, known, torch.Generator().manual_seed(step))
    # A view of nothing but sky has no median.
    scale = torch.where(true_median.isfinite(), log_median - true_median, 0.0).abs().mean()
    total = entropy + 0.1 * silog + 0.5 * gradient + windows + 0.3 * scale
    return {"total": total, "ce": entropy, "silog": silog, "gradient": gradient, "windows": windows, "scale": scale}


@torch.no_grad()
def validate_compact(network: nn.Module, files: list[Path], device: torch.device) -> dict[str, float]:
    """Mean per-image AbsRel, δ₁ and AbsRel after median scaling over whole coarse views (no augmentation), sky left out."""
    rel, aligned, delta = [], [], []
    for path in files:
        view, depth, f_view = _load(path)
        h, w = view_shape(view.shape[0] / view.shape[1], LONG_SIDE)
        image = torch.from_numpy(_shrunk(view, (h, w))).permute(2, 0, 1)[None].float() / 255
        true = torch.from_numpy(cv2.resize(depth, (w // 2, h // 2), interpolation=cv2.INTER_NEAREST_EXACT)).to(device)
        logits, log_median = network(image.to(device))
        pred = (expected_log_depth(logits) + log_median)[0].exp() * (f_view * w / view.shape[1] / CANONICAL_F_PX)
        valid = torch.isfinite(true)
        p, t = pred[valid], true[valid]
        rel.append(float(((p - t).abs() / t).mean()))
        delta.append(float((torch.maximum(p / t, t / p) < 1.25).float().mean()))
        p = p * (t / p).median()
        aligned.append(float(((p - t).abs() / t).mean()))
    return {"abs_rel": float(np.mean(rel)), "abs_rel_median": float(np.mean(aligned)), "delta1": float(np.mean(delta))}


def train_compact(train: list[Path], held_out: list[Path], spec: LoopSpec) -> tuple[Loop, dict[str, float]]:
    """The finished loop (its ``average`` is the network to keep) and the validation figures."""
    torch.manual_seed(spec.seed)
    network = CompactNet().to(spec.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = CoarseViews(train, spec.batch, spec.seed, spec.device)

    def step(net: nn.Module, index: int, progress: float) -> Losses:
        assert isinstance(net, CompactNet)
        images, log_true = batches(index, shrink=2 if progress < HALF_SIZE_UNTIL else 1)
        with spec.autocast():
            return compact_losses(net, images.contiguous(memory_format=torch.channels_last), log_true, index)

    loop = Loop(network, spec)
    figures = loop.run(step, lambda net: validate_compact(net, held_out, spec.device), every=500)
    return loop, figures
