"""Coarse views, rendered or photographed, kept small in memory, and random batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from depth_retrofit_ros.coarse.catalogue import BUILT_IN
from depth_retrofit_ros.coarse.compact_net import CANONICAL_F_PX

KEPT_SIDE = (
    384  # long side under which a view is not reduced further: a window of 0.6 of it still fills most of the network's input
)
INPUT = BUILT_IN["compact"].input
ASPECTS = ((3, 4), (2, 3), (9, 16), (9, 16), (4, 3), (3, 10))  # height and width
SMALLEST_WINDOW = 0.6  # of the largest one; a zoom, which multiplies the focal length


@dataclass(frozen=True, slots=True)
class View:
    """image: uint8 [h, w, 3]; log_depth: float16 [h, w], ln of metres, inf in the sky, NaN where nothing is known; f_px: focal
    length in pixels of the view; taught: the depth is a teacher's answer, soft at edges and right up to a factor, whatever f_px."""

    image: np.ndarray
    log_depth: np.ndarray
    f_px: float
    taught: bool = False


class Drawn(NamedTuple):
    """One of a batch: image float32 [h, w, 3] 0…1; log_depth [h, w] and taught as in ``Batch``."""

    image: np.ndarray
    log_depth: np.ndarray
    taught: bool


class Batch(NamedTuple):
    """images [B, 3, h, w] 0…1; log_depth [B, h, w], canonical, as in ``View``; taught: bool [B]."""

    images: torch.Tensor
    log_depth: torch.Tensor
    taught: torch.Tensor


def rendered_view(path: Path, phase: int) -> View:
    """The whole view of a pool's sample, reduced. phase: 0…3, which pixel of a 2×2 block gives its depth, so that over a pool the
    depth is shifted against the picture in no direction."""
    image, depth, f_px = read_sample(path)
    factor = max(1, max(image.shape) // KEPT_SIDE)
    h, w = image.shape[0] // factor, image.shape[1] // factor
    row, column = ((factor - 1 + bit) // 2 for bit in divmod(phase % 4, 2))
    depth = depth[row::factor, column::factor][:h, :w]
    image = resized(image[: h * factor, : w * factor], (h, w))
    return View(image, np.log(depth).astype(np.float16), f_px / factor)


def read_sample(path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """A pool's view: uint8 [h, w, 3], its depth [m] and its focal length [px of the view]."""
    data = np.load(path)
    view = data["view"]
    return view, data["view_depth"], float(data["f_px"]) * max(view.shape) / float(data["frame"].max())


class CoarseViews:
    """Random batches; the focal length is divided out, so that the target is canonical log depth. ``taught_share`` of each batch,
    rounded, are views with a teacher's depth, where there are any. places: which of a batch are made, all unless given."""

    def __init__(
        self,
        rendered: Sequence[View],
        taught: Sequence[View],
        taught_share: float,
        batch: int,
        seed: int,
        device: torch.device,
        places: Sequence[int] | None = None,
    ) -> None:
        self.rendered, self.taught, self.seed, self.device = rendered, taught, seed, device
        self.taught_count = round(taught_share * batch) if taught else 0
        self.places = range(batch) if places is None else places

    def __call__(self, step: int, shrink: int = 1) -> Batch:
        """``collated`` of ``draw``."""
        return self.collated(self.draw(step, shrink))

    def draw(self, step: int, shrink: int = 1) -> list[Drawn]:
        """Of one size, divided by shrink; deterministic in (seed, step, place in the batch)."""
        # The last words tell the streams apart: NumPy takes no notice of zeros at the end.
        aspect = ASPECTS[np.random.default_rng((self.seed, step, 0, 1)).integers(len(ASPECTS))]
        shape, drawn = view_shape(*aspect, shrink), []
        for place in self.places:
            rng = np.random.default_rng((self.seed, step, place, 2))
            views = self.taught if place < self.taught_count else self.rendered
            view = views[int(rng.integers(len(views)))]
            drawn.append(Drawn(*_window(rng, view, shape), view.taught))
        return drawn

    def collated(self, drawn: Sequence[Drawn]) -> Batch:
        """On the device."""
        images = torch.from_numpy(np.stack([d.image for d in drawn])).permute(0, 3, 1, 2)
        depths = torch.from_numpy(np.stack([d.log_depth for d in drawn]))
        taught = torch.tensor([d.taught for d in drawn])
        return Batch(images.to(self.device), depths.to(self.device), taught.to(self.device))


def _window(rng: np.random.Generator, view: View, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    (h, w), (height, width) = shape, view.image.shape[:2]
    scale = min(width / w, height / h) * rng.uniform(SMALLEST_WINDOW, 1.0)
    cw, ch = max(8, int(w * scale)), max(8, int(h * scale))
    x, y = rng.integers(width - cw + 1), rng.integers(height - ch + 1)
    image = resized(view.image[y : y + ch, x : x + cw], shape)
    window = view.log_depth[y : y + ch, x : x + cw].astype(np.float32)
    log = cv2.resize(window, (w, h), interpolation=cv2.INTER_NEAREST_EXACT) - np.log(view.f_px * w / cw / CANONICAL_F_PX)
    if rng.random() < 0.5:
        image, log = image[:, ::-1], log[:, ::-1]
    return _jitter(rng, image), np.ascontiguousarray(log.astype(np.float32))


def resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Averaged, as live frames are; interpolated where it becomes larger."""
    averaged = image.shape[0] >= shape[0] and image.shape[1] >= shape[1]
    return np.asarray(cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_AREA if averaged else cv2.INTER_LINEAR))


def view_shape(height: int, width: int, shrink: int = 1) -> tuple[int, int]:
    """(h, w) of the network's input for a view of this height to width; about ``shrink`` times smaller than in use."""
    return replace(INPUT, pixels=tuple(pixels // shrink for pixels in INPUT.pixels)).of(height, width)


def _jitter(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Gain, gamma, white balance, saturation, noise and blur: cameras differ more than our sensor model says."""
    out = image.astype(np.float32) / 255
    gain = np.exp(rng.normal(0, 0.25) + rng.normal(0, 0.08, 3)).astype(np.float32)
    out = np.clip(out * gain, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.2)))
    gray = out.mean(2, keepdims=True)
    out = gray + (out - gray) * np.float32(rng.uniform(0, 1.4))
    if rng.random() < 0.2:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < 0.4:
        out = out + rng.standard_normal(out.shape, np.float32) * np.float32(rng.uniform(0, 0.04))
    return np.clip(out, 0, 1)
