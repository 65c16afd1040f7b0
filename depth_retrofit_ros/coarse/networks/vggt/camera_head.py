"""VGGT's camera head: pose and field of view of each view from its camera token, improved over a few rounds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_retrofit_ros.coarse.networks.dinov2 import Block
from depth_retrofit_ros.coarse.networks.vggt.aggregator import EPS

ENCODED = 9  # translation (3), quaternion x y z w (4), vertical and horizontal field of view [rad]
ROUNDS = 4


class CameraHead(nn.Module):
    """width: of the tokens, twice the aggregator's; layers, heads: of its transformer across the views."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*[Block(width, heads, eps=EPS) for _ in range(layers)])
        self.token_norm = nn.LayerNorm(width, eps=EPS)
        self.trunk_norm = nn.LayerNorm(width, eps=EPS)
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, ENCODED))
        self.embed_pose = nn.Linear(ENCODED, width)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))
        self.pose_branch = PoseBranch(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens ``[S, T, C]`` of the last layer → pose encoding ``[S, 9]``, camera from world, see ``decode_poses``."""
        camera = self.token_norm(tokens[None, :, 0])  # [1, S, C]
        encoding = self.empty_pose_tokens.expand(1, camera.shape[1], -1)
        total: Tensor | None = None
        for _ in range(ROUNDS):
            shift, scale, gate = self.poseLN_modulation(self.embed_pose(encoding)).chunk(3, -1)
            normed = F.layer_norm(camera, camera.shape[-1:], eps=1e-6)
            change = self.pose_branch(self.trunk_norm(self.trunk(camera + gate * (normed * (1 + scale) + shift))))
            encoding = total = change if total is None else total + change
        assert total is not None
        return torch.cat((total[0, :, :7], total[0, :, 7:].relu()), -1)


class PoseBranch(nn.Module):
    """``[…, C]`` → the change of a pose encoding ``[…, 9]``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, width // 2)
        self.fc2 = nn.Linear(width // 2, ENCODED)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y


def decode_poses(encoding: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Encoding ``[S, 9]`` → camera from world ``[S, 3, 4]`` and focal lengths fx, fy ``[S, 2]`` [px].

    Axes: x right, y down, z forward. The focal lengths are those of an image of that size; the principal point is its center.
    """
    x, y, z, w = F.normalize(encoding[:, 3:7], dim=-1).unbind(-1)
    rotation = torch.stack(
        (
            *(1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
            *(2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
            *(2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
        ),
        -1,
    ).unflatten(-1, (3, 3))
    half_fov = encoding[:, 7:] / 2
    focal = torch.stack((0.5 * width / half_fov[:, 1].tan(), 0.5 * height / half_fov[:, 0].tan()), -1)
    return torch.cat((rotation, encoding[:, :3, None]), -1), focal
