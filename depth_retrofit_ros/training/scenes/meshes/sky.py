"""The sky that is seen where no ray ends: a gradient, clouds, a halo around the sun, the haze of the horizon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Sky:
    """zenith, horizon: linear RGB; clouds: float32 [n, n] cover 0…1 of a plane that repeats; cloud: their linear RGB;
    to_sun: unit; sun: its irradiance, 0 where it is not seen; glow: linear RGB of the halo around it."""

    zenith: np.ndarray
    horizon: np.ndarray
    clouds: np.ndarray
    cloud: np.ndarray
    to_sun: np.ndarray
    sun: np.ndarray
    glow: np.ndarray

    def seen(self, ray: np.ndarray) -> np.ndarray:
        """Linear RGB [N, 3] along directions [N, 3] of any length, y down."""
        unit = ray / np.maximum(np.linalg.norm(ray, axis=1, keepdims=True), 1e-9)
        up = np.clip(-unit[:, 1:2], 0, 1)
        color = self.horizon + (self.zenith - self.horizon) * up**0.45
        size = len(self.clouds)
        plane = (unit[:, [0, 2]] / (up + 0.12) * 0.11 * size).astype(np.float32)
        cover = _repeated(self.clouds, plane)[:, None] * np.clip(up * 8, 0, 1)
        color = color * (1 - cover) + self.cloud * (0.75 + 0.25 * cover) * cover
        near = np.clip((unit * self.to_sun).sum(1, keepdims=True), 0, 1)
        return np.asarray(color + self.glow * (0.15 * near**12 + near**400), np.float32)


def _repeated(image: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Bilinear values [N] of an image [n, n] that repeats, n a power of two, at positions [N, 2] in its pixels."""
    low = np.floor(at).astype(np.int64)
    f = at - low
    last = len(image) - 1
    x0, y0, x1, y1 = low[:, 0] & last, low[:, 1] & last, (low[:, 0] + 1) & last, (low[:, 1] + 1) & last
    top = image[y0, x0] * (1 - f[:, 0]) + image[y0, x1] * f[:, 0]
    bottom = image[y1, x0] * (1 - f[:, 0]) + image[y1, x1] * f[:, 0]
    return np.asarray(top * (1 - f[:, 1]) + bottom * f[:, 1])


def cloud_cover(rng: np.random.Generator, amount: float, size: int = 512) -> np.ndarray:
    """Cover of fractal clouds that repeats; amount: 0 clear … 1 overcast."""
    f = np.fft.fftfreq(size) * size
    radius = np.maximum(np.hypot(f[:, None], f[None, :]), 1)
    noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal((size, size))) * radius**-1.7).real
    noise = (noise - noise.mean()) / noise.std()
    return np.asarray(np.clip((noise + 3.2 * amount - 1.6) * 0.8, 0, 1), np.float32)


def random_sky(rng: np.random.Generator, night: bool) -> Sky:
    """A day's sky from clear to overcast, or a night's."""
    to_sun = rng.normal(size=3)
    to_sun[1] = -abs(to_sun[1]) * 0.8 - 0.25
    to_sun /= np.linalg.norm(to_sun)
    amount = float(rng.choice([0.15, 0.5, 1.0], p=[0.4, 0.35, 0.25]))
    clear = amount < 0.9
    warmth = float(np.clip((0.55 + to_sun[1]) / 0.3, 0, 1)) if clear else 0.0  # of a low sun
    zenith = np.array([0.16, 0.33, 0.75]) * rng.uniform(0.7, 1.3) if clear else np.full(3, rng.uniform(0.5, 0.9))
    horizon = np.array([0.75, 0.85, 1.0]) * (1 - warmth) + np.array([1.0, 0.72, 0.45]) * warmth if clear else zenith * 0.9
    sun = np.array([1.0, 0.95, 0.88]) * (1 - warmth) + np.array([1.0, 0.7, 0.4]) * warmth
    strength = float(rng.uniform(1.5, 3.5)) if clear else 0.0
    scale = float(rng.uniform(0.001, 0.02)) if night else 1.0
    return Sky(
        zenith=zenith * scale,
        horizon=horizon * scale,
        clouds=cloud_cover(rng, amount),
        cloud=np.full(3, rng.uniform(0.8, 1.3)) * scale,
        to_sun=to_sun,
        sun=sun * strength * (0.0 if night else 1.0),
        glow=sun * strength * (0.0 if night else 1.0),
    )
