"""Point maps that are known up to a shift along the optical axis, and up to the camera: the two are found from the rays.

Lengths on the view plane are in half diagonals of the image, whose center is the principal point.
"""

from __future__ import annotations

import torch
from torch import Tensor

SAMPLES = 64  # rows and columns of the cells that the shift is found from
ITERATIONS = 16
NEVER_BEHIND = 1e30  # z of a cell that does not count
CAUTION, FIRST_CAUTION = (0.2, 5.0), 1e-3  # factor of the damping after a step that helped, and after one that did not


def view_plane(rows: int, columns: int, aspect: float | Tensor, device: torch.device) -> Tensor:
    """The centers of the cells on the view plane, ``float32 [2, rows, columns]`` (right, down).

    aspect: width / height, a number or ``float32 [1]`` on the device.
    """
    diagonal = (1 + aspect**2) ** 0.5
    x, y = aspect / diagonal * ((columns - 1) / columns), 1 / diagonal * ((rows - 1) / rows)
    u, v = torch.linspace(-1, 1, columns, device=device) * x, torch.linspace(-1, 1, rows, device=device) * y
    return torch.stack((u.expand(rows, -1), v[:, None].expand(-1, columns)))


def recover_shift(points: Tensor, mask: Tensor, aspect: float, focal: float | None) -> tuple[Tensor, Tensor]:
    """What to add to z so that points lie on the rays of a camera, and that camera's focal length [half diagonals], both ``[]``.

    points: ``float32 [3, h, w]``, z > 0; mask: ``bool [h, w]``, the cells that count; aspect: of the image; focal: if it is known.
    The shift s minimises Σ |f · (x, y) / (z + s) − (u, v)|² over 64 x 64 cells, where an unknown f takes its best value
    for each s. It is one number, so damped Gauss-Newton steps (Levenberg-Marquardt) from s = 0 in a fixed count find it without
    the host's waiting for the device: a step is kept where it lowers the sum and no counting point comes to lie behind the
    camera. Without two cells that count, s = 0 and an unknown f = 1.
    """
    rows, columns = _nearest(points.shape[1], points.device), _nearest(points.shape[2], points.device)
    plane = view_plane(points.shape[1], points.shape[2], aspect, points.device)
    counts = mask[rows][:, columns]
    enough = counts.sum() >= 2
    sampled = points[:, rows][:, :, columns].double()
    z = torch.where(counts, sampled[2], NEVER_BEHIND)
    xy, uv = (torch.where(counts, part, 0.0) for part in (sampled[:2], plane[:, rows][:, :, columns].double()))

    shift = torch.zeros((), dtype=torch.float64, device=points.device)
    damping = torch.full_like(shift, FIRST_CAUTION)
    known = None if focal is None else torch.ones_like(shift) * focal  # a graph's is a number that lies on the device
    residual, slope, f = _residual(xy, z, uv, shift, known)
    for _ in range(ITERATIONS):
        curvature = (slope * slope).sum()
        step = -(slope * residual).sum() / (curvature * (1 + damping)).clamp_min(1e-300)
        tried = shift + step
        new_residual, new_slope, new_f = _residual(xy, z, uv, tried, known)
        better = ((new_residual**2).sum() < (residual**2).sum()) & ((z + tried) > 0).all()
        shift, f = torch.where(better, tried, shift), torch.where(better, new_f, f)
        residual, slope = torch.where(better, new_residual, residual), torch.where(better, new_slope, slope)
        damping = damping * torch.where(better, CAUTION[0], CAUTION[1])
    return torch.where(enough, shift, 0.0).float(), torch.where(enough, f, 1.0 if known is None else known).float()


def turned_to_camera(normals: Tensor, rays: Tensor) -> Tensor:
    """Unit normals ``[3, h, w]``; those of surfaces that would be seen from behind, until they are seen edge on.

    rays: ``[3, h, w]``, through the cells, of any length.
    """
    ray = rays / rays.norm(dim=0)
    away = (normals * ray).sum(0).clamp_min(0.0)
    turned = normals - away * ray
    return turned / turned.norm(dim=0).clamp_min(torch.finfo(torch.float32).tiny)


def _residual(xy: Tensor, z: Tensor, uv: Tensor, shift: Tensor, focal: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Of each cell ``[2, n, n]``, its derivative by the shift, and the focal length."""
    seen = xy / (z + shift)
    change = -seen / (z + shift)
    if focal is not None:
        return focal * seen - uv, focal * change, focal
    fit, square = (seen * uv).sum(), (seen * seen).sum().clamp_min(1e-300)
    f = fit / square
    f_change = ((change * uv).sum() - 2 * f * (change * seen).sum()) / square
    return f * seen - uv, f_change * seen + f * change, f


def _nearest(size: int, device: torch.device) -> Tensor:
    """The ``SAMPLES`` cells that stand for a side."""
    return (torch.arange(SAMPLES, device=device) * size).div(SAMPLES, rounding_mode="floor")
