"""What the true depth at an uncertain pixel can be: one of the surfaces that the coarse map shows nearby, extended to that pixel.

An upsampled coarse map is wrong at an edge because it mixes two surfaces. So the refiner *chooses* between surfaces rather than
inventing a depth: each candidate is the coarse inverse depth some coarse pixels away, carried back along that surface's own slope.
Inverse depth is affine in image coordinates on a plane, so the extension is exact there. Everything is relative to the coarse depth
at the pixel itself, which makes the refiner invariant to the scale of depth. Surfaces that no cell shows by itself are those of
``mixtures``, after these.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from depth_retrofit_ros.refinement.pixels.mixtures import COUNT as MIXTURES

# Offsets (dy, dx) in coarse pixels: near enough to be the surfaces that meet here, far enough to be clear of the blur between them.
OFFSETS = tuple((r * dy, r * dx) for r in (2, 3, 5) for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)))
OFFSETS += tuple((sy * r, sx * r) for r in (2, 4) for sy in (-1, 1) for sx in (-1, 1))
SURFACES = 2 + len(OFFSETS)  # stay; the offsets; the coarse depth as plain interpolation gives it
COUNT = SURFACES + MIXTURES
MARGIN = max(max(abs(dy), abs(dx)) for dy, dx in OFFSETS)
MAX_LOG_RATIO = 2.5


def candidate_maps(depth: torch.Tensor) -> torch.Tensor:
    """ln(candidate / depth) on the coarse grid: depth ``float32 [h, w]`` > 0 → ``float32 [h, w, SURFACES]``.

    The first and the last are 0: they differ only once the grid is sampled for the pixels of a frame.
    """
    h, w = depth.shape
    margin = MARGIN + 1
    inverse = F.pad(depth.reciprocal()[None, None], (margin,) * 4, mode="replicate")[0, 0]
    slope_y, slope_x = _limited_slope(inverse, 0), _limited_slope(inverse, 1)
    center = inverse[margin : margin + h, margin : margin + w]
    maps = [torch.zeros_like(center)]
    for dy, dx in OFFSETS:
        window = (slice(margin + dy, margin + dy + h), slice(margin + dx, margin + dx + w))
        value = inverse[window]
        extended = value - dy * slope_y[window] - dx * slope_x[window]
        # A slope measured on noise must not carry a surface through the camera or to infinity.
        extended = torch.minimum(torch.maximum(extended, 0.5 * value), 2 * value)
        maps.append((center / extended).log().clamp_(-MAX_LOG_RATIO, MAX_LOG_RATIO))
    return torch.stack([*maps, maps[0]], -1)


def candidate_colors(image: torch.Tensor) -> torch.Tensor:
    """Mean colour of the coarse pixel that each candidate comes from: image ``float32 [h, w, 3]`` → ``[h, w, 3, SURFACES]``.

    The surfaces mostly lie outside the selected band, where a sparse network sees nothing; this is how it knows their look.
    """
    h, w = image.shape[:2]
    padded = F.pad(image.permute(2, 0, 1)[None], (MARGIN,) * 4, mode="replicate")[0].permute(1, 2, 0)
    shifts = ((0, 0), *OFFSETS, (0, 0))
    return torch.stack([padded[MARGIN + dy : MARGIN + dy + h, MARGIN + dx : MARGIN + dx + w] for dy, dx in shifts], 3)


def _limited_slope(values: torch.Tensor, axis: int) -> torch.Tensor:
    """The smaller one-sided difference, zero where the two differ in sign (minmod): the slope of the side without the edge."""
    step = values.diff(dim=axis)
    zero = torch.zeros_like(values.narrow(axis, 0, 1))
    forward, backward = torch.cat([step, zero], axis), torch.cat([zero, step], axis)
    smaller = torch.where(forward.abs() < backward.abs(), forward, backward)
    same_sign = forward.sign() == backward.sign()  # not their product, which underflows for a depth in small units
    return torch.where(same_sign, smaller, 0.0)
