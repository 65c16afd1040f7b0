"""A camera that moves through a scene: video with exact depth, as the demo's camera and for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.training.scenes.layout import SceneAndPose, random_scene
from depth_retrofit_ros.training.scenes.render import Renderer, to_uint8
from depth_retrofit_ros.training.scenes.scene import Pose, rotation_ypr
from depth_retrofit_ros.training.scenes.textures import TextureStack, build_textures

CLEARANCE_M = 0.35


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """image ``uint8 [H, W, 3]`` RGB; depth ``float32 [H, W]`` m, inf where the sky is; camera: its intrinsics."""

    image: np.ndarray
    depth: np.ndarray
    camera: Camera


def scene_video(seed: int, width: int, height: int, frames: int, hfov_deg: float = 70.0) -> Iterator[VideoFrame]:
    """``frames`` views along a smooth path through one procedural scene. Deterministic in the arguments."""
    rng = np.random.default_rng((seed, 77))
    textures = build_textures(seed)
    camera = Camera.from_hfov(width, height, hfov_deg)
    renderer, placed = clear_scene(rng, textures, camera, torch.device("cpu"))
    renderer.expose(camera, placed.pose)
    sway, turn = rng.uniform(0.1, 0.3), rng.uniform(-0.15, 0.15)
    for i in range(frames):
        s = i / max(1, frames - 1)
        offset = np.array([sway * np.sin(2 * np.pi * s), 0.04 * np.sin(4 * np.pi * s), 0.25 * s])
        rotation = placed.pose.rotation @ rotation_ypr(turn * np.sin(np.pi * s), 0.02 * np.sin(3 * s), 0.01 * np.sin(5 * s))
        view = renderer.render(camera, Pose(rotation, placed.pose.position + placed.pose.rotation @ offset))
        yield VideoFrame(to_uint8(view.image), view.depth.numpy(), camera)


def clear_scene(
    rng: np.random.Generator, textures: TextureStack, camera: Camera, device: torch.device
) -> tuple[Renderer, SceneAndPose]:
    """A room or street seen from free space: nothing nearer than 0.35 m, some depth contrast, little sky."""
    while True:
        placed = random_scene(rng, textures)
        if placed.kind == "clutter":
            continue
        renderer = Renderer(placed.scene.to(device), textures)
        depth = renderer.render(camera.resized(96, max(1, round(96 * camera.height / camera.width))), placed.pose).depth
        known = depth[torch.isfinite(depth)]
        if (
            known.numel() > 0.6 * depth.numel()
            and known.amin() > CLEARANCE_M + 0.25
            and known.quantile(0.9) > 2.5 * known.quantile(0.1)
        ):
            return renderer, placed
