"""From what falls on the sensor to what a camera delivers: point spread, exposure, white balance, photon and read noise, and what
image processors do: noise reduction, tone curve, saturation, sharpening, JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True, slots=True)
class Sensor:
    """blur_px: sigma of the point spread; gain: exposure factor; balance: per-channel factor [3]; noise: standard deviation at mid
    grey (0…1 scale); jpeg: quality 1…100, 0 = none; and of the image processor, each 0 or 1 for none: grain_px: sigma over which
    noise is correlated; denoise: range [0…1 scale] of an edge-preserving filter; gamma; tone: strength of an S-curve; saturation;
    sharpen: strength of an unsharp mask of sigma sharpen_px; full_chroma: no subsampling of the colours in the JPEG."""

    blur_px: float
    gain: float
    balance: np.ndarray
    noise: float
    jpeg: int
    grain_px: float = 0.0
    denoise: float = 0.0
    gamma: float = 1.0
    tone: float = 0.0
    saturation: float = 1.0
    sharpen: float = 0.0
    sharpen_px: float = 1.0
    full_chroma: bool = False

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

    @classmethod
    def varied(cls, rng: np.random.Generator) -> Sensor:
        """A camera and its image processor: in the median a good one, now and then a dark, noisy, over-sharpened or hard-compressed
        picture."""
        dark = rng.random() < 0.07
        quality = int(rng.integers(72, 98) if rng.random() < 0.85 else rng.integers(25, 72))
        return cls(
            blur_px=float(rng.uniform(0.3, 0.9) if rng.random() < 0.9 else rng.uniform(0.9, 1.8)),
            gain=float(np.exp(rng.normal(0, 0.15))),
            balance=np.exp(rng.normal(0, 0.05, 3)).astype(np.float32),
            noise=float(rng.uniform(0.03, 0.11) if dark else rng.exponential(0.008)),
            jpeg=quality if rng.random() < 0.6 else 0,
            grain_px=float(rng.uniform(0.4, 1.2)) if rng.random() < 0.4 else 0.0,
            denoise=float(rng.uniform(0.02, 0.15)) if rng.random() < (0.6 if dark else 0.15) else 0.0,
            gamma=float(np.exp(rng.normal(0, 0.1))),
            tone=float(np.clip(rng.normal(0.1, 0.25), -0.6, 0.9)),
            saturation=float(np.exp(rng.normal(0, 0.15))),
            sharpen=float(rng.uniform(0.2, 1.3)) if rng.random() < 0.35 else 0.0,
            sharpen_px=float(rng.uniform(0.7, 2.0)),
            full_chroma=bool(rng.random() < 0.3),
        )

    def shoot(self, image: np.ndarray, rng: np.random.Generator, pixel_scale: float = 1.0) -> np.ndarray:
        """image: float32 [h, w, 3] in 0…1 → uint8. pixel_scale: this image's pixels per sensor pixel (< 1: already averaged)."""
        blur = self.blur_px * pixel_scale
        out = cv2.GaussianBlur(image, (0, 0), blur) if blur > 0.2 else image
        out = out * (self.gain * self.balance)
        deviation = self.noise * pixel_scale * np.sqrt(0.25 + 1.5 * np.clip(out, 0, 1))
        grain = rng.standard_normal(out.shape, dtype=np.float32)
        if self.grain_px * pixel_scale > 0.2:
            sigma = self.grain_px * pixel_scale
            grain = cv2.GaussianBlur(grain, (0, 0), sigma) * np.float32(np.sqrt(1 + 4 * np.pi * sigma**2))
        out = self._processed(out + deviation * grain, pixel_scale)
        pixels = (np.clip(out, 0, 1) * 255 + 0.5).astype(np.uint8)
        if self.jpeg and pixel_scale == 1.0:
            options = [cv2.IMWRITE_JPEG_QUALITY, self.jpeg]
            if self.full_chroma:
                options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
            data = cv2.imencode(".jpg", pixels, options)[1]
            pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)  # encoded and decoded in the same channel order
        return np.ascontiguousarray(pixels)

    def _processed(self, image: np.ndarray, pixel_scale: float) -> np.ndarray:
        """What the image processor does; what it does to single pixels, only at the full resolution."""
        out = image
        if self.denoise and pixel_scale == 1.0:
            out = cv2.bilateralFilter(np.ascontiguousarray(out, np.float32), 5, self.denoise, 1.5)
        if self.gamma != 1.0 or self.tone:
            x = np.clip(out, 0, 1) ** np.float32(self.gamma)
            out = x + np.float32(self.tone) * x * (1 - x) * (2 * x - 1)
        if self.saturation != 1.0:
            gray = out.mean(2, keepdims=True)
            out = gray + np.float32(self.saturation) * (out - gray)
        if self.sharpen and self.sharpen_px * pixel_scale > 0.5:
            out = out + np.float32(self.sharpen) * (out - cv2.GaussianBlur(out, (0, 0), self.sharpen_px * pixel_scale))
        return np.asarray(out)
