"""MoGe-2 (arXiv 2507.02546) as a coarse model: metric depth, surface normals and a sky of its own, of any camera.

The weights are read from the public ``model.pt``, which carries its network's configuration; nothing in it is executed.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.engines.precision import in_precision
from depth_retrofit_ros.coarse.holes import filled
from depth_retrofit_ros.coarse.imagenet import usual_precision
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.coarse.networks.moge import MoGe, MoGeMaps, config_of
from depth_retrofit_ros.coarse.networks.view_plane import recover_shift, turned_to_camera, view_plane
from depth_retrofit_ros.errors import WeightsError
from depth_retrofit_ros.io.checkpoints import load_configured, load_strict
from depth_retrofit_ros.upsampling.area_average import downsample

NEAREST_M, FARTHEST_M = 1e-3, 1e5
SKY_M = 1e3  # at least; how far it may be, ``far_limit`` says
LARGEST_LOG = 20.0  # of z before its scale, which float32 can still square


class MoGe2:
    """``CoarseModel``. Input, depth and features keep the frame's aspect; the maps have 16 cells for each 14 px of the input.

    net: the network; size: of its input; dtype: None for float16 on CUDA and float32 elsewhere. Depth and normals are float32.
    """

    def __init__(
        self,
        net: MoGe,
        name: str,
        claim: ScaleClaim,
        device: torch.device,
        size: InputSize,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.name, self.claim, self.device, self.size = name, claim, device, size
        self._dtype = dtype or usual_precision(device)
        self.network = in_precision(net.to(device), self._dtype).eval()

    @torch.no_grad()
    def predict(self, image: Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel``. Without a camera its focal length is found from the points. features: those the points come of.
        unknown: surfaces that come to lie behind the camera, or right at it."""
        height, width = image.shape[:2]
        aspect = width / height
        planes = downsample(image, self.size.of(height, width)).to(self._dtype)
        maps = MoGeMaps.of(self.network(planes, torch.full((1,), aspect, device=self.device)))  # filled there: no copy to wait for
        focal = None if camera is None else 2 * camera.fx / math.hypot(width, height)
        depth, known, f = metric_depth(maps, aspect, focal)
        sky = maps.mask <= 0
        known &= depth >= NEAREST_M
        depth = torch.where(known, depth.clamp_max(FARTHEST_M), SKY_M)
        far = depth.amax().clamp_min(SKY_M)
        unknown = ~(known | sky)
        depth = filled(depth, ~known)
        rays = view_plane(depth.shape[0], depth.shape[1], aspect, self.device) / f
        normals = turned_to_camera(F.normalize(maps.normals, dim=0), torch.cat((rays, torch.ones_like(rays[:1]))))
        return CoarsePrediction(torch.where(sky, far, depth), maps.features, sky, normals, unknown)


def metric_depth(maps: MoGeMaps, aspect: float, focal: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """Depth [m] ``[h, w]``, where it is one (``bool [h, w]``: finite, not behind the camera), and the focal length ``[]``.

    aspect: of the frame; focal: its camera's focal length [half diagonals of the image] where it is known.
    """
    z = maps.points[2].clamp_max(LARGEST_LOG).exp()
    points = torch.cat((maps.points[:2] * z, z[None]))
    finite = maps.mask > 0
    shift, f = recover_shift(points, finite, aspect, focal)
    moved = z + shift
    return moved * maps.log_scale.exp(), finite & (moved > 0), f


def load(weights: Path, device: torch.device, claim: ScaleClaim, size: InputSize, name: str) -> MoGe2:
    """weights: the public ``model.pt`` of a variant with normals. Raises WeightsError in one line."""
    tensors, config = load_configured(weights, "model", "model_config")
    try:
        net = MoGe(config_of(config))
    except (ValueError, TypeError, KeyError) as error:
        reason = str(error) if type(error) is ValueError else "its configuration is incomplete"
        raise WeightsError(f"checkpoint {weights} is no MoGe-2 with normals ({reason}): fetch {name}'s") from None
    load_strict(net, tensors, weights)
    return MoGe2(net, name, claim, device, size)
