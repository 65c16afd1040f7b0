"""What a lens and the hand that holds it do to a picture: defocus by depth, motion blur, vignetting. In linear light."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

LONG_SIDE = 2560  # of the frame for which the distributions of ``Lens.random`` are stated [px]
LARGEST_PX = 12.0  # radius of a circle of confusion, at most
LAYERS = 8  # of depth, each blurred on its own
GAMMA = 2.2
SHARP_PX = 0.4  # a circle of confusion of this radius is not seen


@dataclass(frozen=True, slots=True)
class Lens:
    """focus_m: distance in focus; aperture_px: radius of the circle of confusion of what is infinitely far, 0 for none; shake:
    path of the picture during the exposure [N, 2] px; vignette: share of the light that the corners lose.

    Pixels are those of the full frame.
    """

    focus_m: float = 1.0
    aperture_px: float = 0.0
    shake: np.ndarray = field(default_factory=lambda: np.zeros((1, 2)))
    vignette: float = 0.0

    @classmethod
    def random(cls, rng: np.random.Generator, depth: np.ndarray, long_side: int) -> Lens:
        """A lens before a scene of which ``depth [h, w]`` m is a small view; mostly sharp everywhere, as small cameras are."""
        scale = long_side / LONG_SIDE
        seen = depth[np.isfinite(depth)]
        aperture = float(np.exp(rng.uniform(np.log(0.6), np.log(7)))) * scale if rng.random() < 0.22 else 0.0
        shake = np.zeros((1, 2))
        if rng.random() < 0.12:
            length, angle = float(np.exp(rng.uniform(np.log(1), np.log(9)))) * scale, rng.uniform(0, 2 * np.pi)
            t = np.linspace(-0.5, 0.5, 24)
            along, across = length * t, length * rng.normal(0, 0.25) * (t**2 - 1 / 12)
            c, s = np.cos(angle), np.sin(angle)
            shake = np.stack([c * along - s * across, s * along + c * across], 1)
        return cls(
            focus_m=float(rng.choice(seen)) if seen.size else 1.0,
            aperture_px=aperture,
            shake=shake,
            vignette=float(rng.uniform(0, 0.4)) if rng.random() < 0.4 else 0.0,
        )

    @property
    def margin_px(self) -> int:
        """How far light is spread: a window must be rendered with this margin."""
        spread = min(LARGEST_PX, self.aperture_px * 6) if self.aperture_px else 0.0
        return int(np.ceil(spread + np.abs(self.shake).max()))

    def radius_px(self, depth: np.ndarray) -> np.ndarray:
        """Signed radius of the circle of confusion at ``depth`` [m]: negative before the focus; inf is a depth too."""
        with np.errstate(divide="ignore"):
            return np.clip(self.aperture_px * (1 - self.focus_m / np.maximum(depth, 1e-3)), -LARGEST_PX, LARGEST_PX)

    def image(
        self, image: np.ndarray, depth: np.ndarray, at: tuple[float, float], size: tuple[int, int], scale: float
    ) -> np.ndarray:
        """image: float32 [h, w, 3] in 0…1, display-referred; depth [h, w] m; at: (x0, y0) of its corner in the full frame of
        ``size`` (width, height) [px]; scale: its pixels per pixel of the full frame. Returns what falls on the sensor, likewise."""
        if not (self.aperture_px or len(self.shake) > 1 or self.vignette):
            return image
        linear: np.ndarray = image**GAMMA
        if self.aperture_px * scale > 0.2:
            linear = defocused(linear, self.radius_px(depth) * scale)
        if len(self.shake) > 1:
            linear = cv2.filter2D(linear, -1, path_kernel(self.shake * scale), borderType=cv2.BORDER_REFLECT)
        if self.vignette:
            h, w = depth.shape
            x = (at[0] + (np.arange(w) + 0.5) / scale) / size[0] - 0.5
            y = (at[1] + (np.arange(h) + 0.5) / scale) / size[1] - 0.5
            linear = linear * (1 - self.vignette * 2 * (x[None, :, None] ** 2 + y[:, None, None] ** 2)).astype(np.float32)
        return np.asarray(np.clip(linear, 0, 1) ** np.float32(1 / GAMMA), np.float32)


def defocused(linear: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Layers from far to near, each spread by its circle of confusion over what is behind; what no ray saw behind a spread edge is
    taken from beside it. linear: float32 [h, w, 3]; radius [h, w] px, growing with the distance."""
    low, high = float(radius.min()), float(radius.max())
    count = int(np.clip(np.ceil((high - low) / 0.5), 1, LAYERS))
    layer = np.minimum(((high - radius) * (count / max(high - low, 1e-6))).astype(np.int32), count - 1)  # 0 is the farthest
    color, weight = np.zeros_like(linear), np.zeros(radius.shape, np.float32)
    for k in range(count):
        own = (layer == k).astype(np.float32)
        if not own.any():
            continue
        spread, share = linear * own[..., None], own
        r = abs(float(radius[layer == k].mean()))
        if r > SHARP_PX:
            kernel = disc_kernel(r)
            spread = cv2.filter2D(spread, -1, kernel, borderType=cv2.BORDER_REFLECT)
            share = cv2.filter2D(share, -1, kernel, borderType=cv2.BORDER_REFLECT)
        color = color * (1 - share[..., None]) + spread
        weight = weight * (1 - share) + share
    return np.asarray(color / np.maximum(weight, 1e-4)[..., None])


def disc_kernel(radius: float) -> np.ndarray:
    """A disc of this radius [px], its border shared among pixels; sums to 1."""
    n = int(np.ceil(radius + 0.5))
    x = np.arange(-n, n + 1)
    kernel = np.clip(radius + 0.5 - np.hypot(x[:, None], x[None]), 0, 1)
    return np.asarray(kernel / kernel.sum(), np.float32)


def path_kernel(path: np.ndarray) -> np.ndarray:
    """The picture of a point that moves along path [N, 2] px, each point shared among four pixels; sums to 1."""
    n = int(np.ceil(np.abs(path).max())) + 1
    kernel = np.zeros((2 * n + 1, 2 * n + 1), np.float32)
    x, y = (np.floor(path[:, i]).astype(int) for i in (0, 1))
    fx, fy = path[:, 0] - x, path[:, 1] - y
    for dx, dy, share in ((0, 0, (1 - fx) * (1 - fy)), (1, 0, fx * (1 - fy)), (0, 1, (1 - fx) * fy), (1, 1, fx * fy)):
        np.add.at(kernel, (y + dy + n, x + dx + n), share)
    return np.asarray(kernel[::-1, ::-1] / kernel.sum(), np.float32)  # filter2D correlates
