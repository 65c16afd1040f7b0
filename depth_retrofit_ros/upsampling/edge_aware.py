"""From the coarse grid to the frame's grid, along the frame's own edges where the coarse map has steps.

Where the coarse map is smooth, bilinear interpolation of inverse depth is as good as it gets (exact on planes). Where it steps, the
step is smeared over a whole coarse pixel, and colour tells better where it belongs: ln depth is fitted locally as an affine
function of colour (the fast guided filter; He & Sun, arXiv 1505.00996), within the depths that the coarse map has nearby, so that
no texture makes a depth that is not there. The refiner starts from this map, and the pixels beyond its budget end with it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from depth_retrofit_ros.device.launches import has_kernels
from depth_retrofit_ros.upsampling import edge_aware_cpu
from depth_retrofit_ros.upsampling.area_average import downsample
from depth_retrofit_ros.upsampling.interpolation import bilinear

RIDGE = 1e-4  # of the fit, for colours in 0…1
# Spread of ln depth in the 3×3 coarse pixels around: up to the first colour counts nothing, from the second on it counts fully.
STEPS = (0.08, 0.15)
# A slanted plane spreads as well, but is straight: colour counts nothing up to a kink (second difference of inverse depth, as a
# share of it) of 2 % or of five times the frame's usual one, which is the map's noise; and fully from twice that on.
KINK, NOISE = 0.02, 5.0
INVERSE, WEIGHT, LOWEST, HIGHEST, RED, GREEN, BLUE, OFFSET = range(8)
CHANNELS = 8
LAYOUT = INVERSE, WEIGHT, LOWEST, HIGHEST, RED, OFFSET  # as the compiled twin is told


def guided_upsample(depth: torch.Tensor, image: torch.Tensor, small: torch.Tensor) -> torch.Tensor:
    """depth ``float32 [h, w]`` > 0, image ``uint8 [H, W, 3]``, small ``float32 [h, w, 3]`` 0…1 (the image averaged to the coarse
    grid) → ``float32 [H, W]``. Scaling the depth scales the result."""
    if has_kernels(image.device):
        return _upsample_on_device(depth, image, small)
    maps = guided_maps(depth, small, usual_kink(depth))
    if image.device.type == "cpu":
        return edge_aware_cpu.upsample(maps, image, LAYOUT)
    return upsample_by_torch(maps, image)


def _upsample_on_device(depth: torch.Tensor, image: torch.Tensor, small: torch.Tensor) -> torch.Tensor:
    from depth_retrofit_ros.upsampling import edge_aware_triton as kernels

    depth = depth.contiguous()
    bent = kernels.kinks(depth)
    maps = kernels.guided_maps(
        depth, small, bent, bent.nanmedian(), LAYOUT, CHANNELS, ridge=RIDGE, steps=STEPS, kink=KINK, noise=NOISE
    )
    return kernels.upsample(maps, image, LAYOUT)


def upsample_by_torch(maps: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """The plain specification of the compiled pass, and what runs on CUDA without Triton."""
    sampled = bilinear(maps.permute(2, 0, 1), (image.shape[0], image.shape[1]))
    return guided_depth(sampled.movedim(0, -1), image)


def thumbnail(image: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
    """image ``uint8 [H, W, 3]`` averaged to the grid of ``coarse [h, w]``: ``float32 [h, w, 3]`` 0…1."""
    return downsample(image, (coarse.shape[0], coarse.shape[1]))[0].permute(1, 2, 0)


def usual_kink(depth: torch.Tensor) -> torch.Tensor:
    """The median kink of a whole frame's coarse depth ``[h, w]``, as a share of inverse depth, ``[]``: the noise of the map.

    A statistic of the frame: whoever computes the maps of a part of a frame must pass the frame's.
    """
    return _kinks(depth.reciprocal()).nanmedian()


def guided_maps(depth: torch.Tensor, small: torch.Tensor, usual: torch.Tensor) -> torch.Tensor:
    """All that is to be interpolated bilinearly, ``float32 [h, w, CHANNELS]``: inverse depth, the weight of the fit, the bounds of
    its ln depth, and the fit itself (a slope per colour, an offset).

    depth, small: as in ``guided_upsample``, of a frame or of a window of it; usual: ``usual_kink`` of the whole frame. Values more
    than three cells inside a window are those of the frame.
    """
    log = depth.log()
    around = F.pad(log[None, None], (1, 1, 1, 1), mode="replicate")
    highest, lowest = F.max_pool2d(around, 3, 1)[0, 0], -F.max_pool2d(-around, 3, 1)[0, 0]
    inverse = depth.reciprocal()
    spread = highest - lowest
    weight = _ramp(spread, STEPS) * _kinked(inverse, usual)
    fit = _mean_fit(small, log)
    maps = torch.cat([torch.stack([inverse, weight, lowest, highest], -1), fit], -1)
    # A broken coarse pixel spoils the fits around it. In their place stands the depth itself, so that what is interpolated between
    # a sound pixel and a spoilt one stays near; the hole itself the plain interpolation shows as it is.
    sound = torch.isfinite(maps).all(-1, keepdim=True)
    level = torch.where(torch.isfinite(log), log, 0.0)[..., None]
    plain = torch.cat([torch.zeros_like(level), level, level, torch.zeros_like(fit[..., :3]), level], -1)
    maps[..., WEIGHT:] = torch.where(sound, maps[..., WEIGHT:], plain)
    # Beside a broken pixel there is no level to stand in: nothing may be interpolated towards it.
    broken = F.max_pool2d((~torch.isfinite(log))[None, None].float(), 3, 1, 1)[0, 0] > 0
    maps[..., WEIGHT].masked_fill_(broken, 0.0)
    return maps


def guided_depth(sampled: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
    """Depth ``[…]`` from ``guided_maps`` sampled at pixels ``[…, CHANNELS]`` and the pixels' colour ``uint8 […, 3]``."""
    smooth = sampled[..., INVERSE].reciprocal()
    fitted = (sampled[..., RED:OFFSET] * (rgb / 255)).sum(-1) + sampled[..., OFFSET]
    bounded = torch.minimum(torch.maximum(fitted, sampled[..., LOWEST]), sampled[..., HIGHEST])
    mixed = smooth * torch.exp(sampled[..., WEIGHT] * (bounded - smooth.log()))
    return torch.where(sampled[..., WEIGHT] > 0, mixed, smooth)


def _ramp(values: torch.Tensor, span: tuple[float, float]) -> torch.Tensor:
    """0 up to the first value of ``span``, 1 from the second on."""
    return ((values - span[0]) / (span[1] - span[0])).clamp(0, 1)


def _kinks(inverse: torch.Tensor) -> torch.Tensor:
    """``[h, w]``: the second difference of inverse depth along rows or columns, the larger, as a share of it."""
    padded = F.pad(inverse[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    across = padded[1:-1].diff(n=2, dim=1)
    down = padded[:, 1:-1].diff(n=2, dim=0)
    # At the frame's border the replicated pixel would make a kink of every slope.
    for ends in (across[:, :1], across[:, -1:], down[:1], down[-1:]):
        ends.zero_()
    return torch.maximum(across.abs(), down.abs()) / inverse


def _kinked(inverse: torch.Tensor, usual: torch.Tensor) -> torch.Tensor:
    """``[h, w]``, 0…1: whether inverse depth has a kink within 3×3 pixels that stands out from the frame's usual one."""
    least = (NOISE * usual).clamp_min(KINK)
    return _ramp(F.max_pool2d((_kinks(inverse) / least)[None, None], 3, 1, 1)[0, 0], (1.0, 2.0))


def _mean_fit(guide: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """guide ``[h, w, 3]``, values ``[h, w]`` → ``[h, w, 4]``: slopes and offset of the affine fits of all 3×3 windows (He, Sun &
    Tang, "Guided image filtering", TPAMI 2013, equations 19 and 20), averaged over the windows that contain each pixel."""
    # Differences of squares beside so small a ridge need double precision. The grid is small.
    c, v = guide.double().permute(2, 0, 1), values.double()[None]
    products = torch.cat([c, v, c * v, _pairs(c)])
    means = _window_mean(products)
    mu, nu = means[:3], means[3]
    cross = (means[4:7] - mu * nu).permute(1, 2, 0)
    rr, rg, rb, gg, gb, bb = means[7:] - _pairs(mu)
    rr, gg, bb = rr + RIDGE, gg + RIDGE, bb + RIDGE
    # The symmetric 3×3 system by its adjugate.
    aa, ab, ac = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    sides = torch.stack([aa, ab, ac, ab, rr * bb - rb * rb, rb * rg - rr * gb, ac, rb * rg - rr * gb, rr * gg - rg * rg], -1)
    determinant = rr * aa + rg * ab + rb * ac
    slope = (sides.view(*sides.shape[:2], 3, 3) @ cross[..., None])[..., 0] / determinant[..., None]
    offset = nu - (slope * mu.permute(1, 2, 0)).sum(-1)
    return _window_mean(torch.cat([slope, offset[..., None]], -1).permute(2, 0, 1)).permute(1, 2, 0).float()


def _pairs(rgb: torch.Tensor) -> torch.Tensor:
    """The products of two colours each, ``[3, h, w]`` → ``[6, h, w]``: rr, rg, rb, gg, gb, bb."""
    r, g, b = rgb.unbind()
    return torch.stack([r * r, r * g, r * b, g * g, g * b, b * b])


def _window_mean(values: torch.Tensor) -> torch.Tensor:
    """``[C, h, w]`` → the mean over the 3×3 window, of the pixels that lie inside the frame."""
    return F.avg_pool2d(values[None], 3, 1, 1, count_include_pad=False)[0]
