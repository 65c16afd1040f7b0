"""What of a frame's depth is a surface: the sky has depth too, but no points and no normals."""

from __future__ import annotations

import torch

from depth_retrofit_ros.frame import DepthFrame
from depth_retrofit_ros.upsampling.interpolation import upsample_mask

AT_LIMIT = 0.9  # of the far limit, at which the sky lies: a refined pixel that came out nearer is something before the sky


def surface_depth(result: DepthFrame) -> torch.Tensor:
    """The frame's depth ``float32 [H, W]``, NaN in its sky, see ``sky_pixels``."""
    return result.depth if result.sky is None else result.depth.masked_fill(sky_pixels(result), torch.nan)


def sky_pixels(result: DepthFrame) -> torch.Tensor:
    """``bool [H, W]``: where the coarse model itself says that there is sky, of an answer of one that says so.

    Its word counts for the pixels whose centers lie in its cells; but not for those that refinement brought nearer.
    """
    assert result.sky is not None
    sky = upsample_mask(result.sky, (result.depth.shape[0], result.depth.shape[1]))
    chosen = result.selection.indices.long()
    at_limit = result.sky & result.coarse.isfinite()  # a stored map's hole may lie within its sky
    limit = AT_LIMIT * torch.where(at_limit, result.coarse, -torch.inf).amax()
    kept = result.depth.flatten()[chosen] >= limit
    sky.view(-1)[chosen] &= kept
    return sky
