"""From an ideal rendering to what a camera delivers: lens blur, exposure, white balance, photon and read noise, JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True, slots=True)
class Sensor:
    """blur_px: sigma of the point spread; gain: exposure factor; balance: per-channel factor [3]; noise: standard deviation at mid
    grey (0…1 scale); jpeg: quality 1…100, 0 = none."""

    blur_px: float
    gain: float
    balance: np.ndarray
    noise: float
    jpeg: int

    @classmethod
    def random(cls, rng: np.random.Generator) -> Sensor:
        """A camera drawn at random, from a good one to a bad one."""
        return cls(
            blur_px=float(rng.uniform(0.35, 1.1)),
            gain=float(np.exp(rng.normal(0, 0.18))),
            balance=np.exp(rng.normal(0, 0.04, 3)).astype(np.float32),
            noise=float(rng.exponential(0.012)),
            jpeg=int(rng.integers(60, 98)) if rng.random() < 0.6 else 0,
        )

    def shoot(self, image: np.ndarray, rng: np.random.Generator, pixel_scale: float = 1.0) -> np.ndarray:
        """image: float32 [h, w, 3] in 0…1 → uint8. pixel_scale: this image's pixels per sensor pixel (< 1: already averaged)."""
        blur = self.blur_px * pixel_scale
        out = cv2.GaussianBlur(image, (0, 0), blur) if blur > 0.2 else image
        out = out * (self.gain * self.balance)
        deviation = self.noise * pixel_scale * np.sqrt(0.25 + 1.5 * np.clip(out, 0, 1))
        out = out + deviation * rng.standard_normal(out.shape, dtype=np.float32)
        pixels = (np.clip(out, 0, 1) * 255 + 0.5).astype(np.uint8)
        if self.jpeg and pixel_scale == 1.0:
            data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, self.jpeg])[1]
            pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)  # encoded and decoded in the same channel order
        return np.ascontiguousarray(pixels)
