"""VGGT as a coarse model: of one image, and of several views of a scene (arXiv 2503.11651).

1.19 billion parameters without its point tracker. Depth, poses and points have one unknown scale. On CUDA the transformer runs in
half precision as its authors run it, the heads in float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.coarse.networks.vggt.camera_head import decode_poses
from depth_retrofit_ros.coarse.networks.vggt.model import DenseAnswer, Vggt, load_vggt
from depth_retrofit_ros.coarse.views import CoarseView, NewestView, PointMap
from depth_retrofit_ros.errors import CameraError, ImageError
from depth_retrofit_ros.io.checkpoints import load_tensors
from depth_retrofit_ros.upsampling.area_average import downsample

LARGEST_LOG = 40.0  # of depth, either way: whatever the weights say, depth is > 0 and finite


@dataclass(frozen=True, slots=True)
class _Seen:
    """Views after the transformer. size (h, w): of its input; shapes: of the images; poses: ``float64 [3, 4]`` each; focal: [px] of
    the input, ``[views, 2]``."""

    tokens: list[Tensor]
    size: tuple[int, int]
    shapes: list[tuple[int, int]]
    poses: list[np.ndarray]
    focal: Tensor


class VggtModel:
    """``CoarseModel`` and ``NewestFirstModel``. size: of its input, sides multiples of 14; depth and features have that size."""

    def __init__(self, net: Vggt, name: str, claim: ScaleClaim, device: torch.device, size: InputSize) -> None:
        self.name = name
        self.claim = claim
        self.device = device
        self.size = size
        self._net = net.to(device).eval()
        self._half = torch.float16
        if device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8:
            self._half = torch.bfloat16

    @torch.inference_mode()
    def predict(self, image: Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel``. The camera is not used. features: the 32 channels after the depth head's last ReLU."""
        height, width = self.size.of(image.shape[0], image.shape[1])
        tokens = self._tokens(downsample(image, (height, width)))
        return _prediction(self._net.depth(tokens, height, width), 0)

    @torch.inference_mode()
    def predict_views(self, images: Iterable[Tensor], point_maps: bool = False) -> list[CoarseView]:
        """See ``MultiViewModel``. The world is the first view's camera, as closely as the network's pose of it says.

        Raises ImageError for images of different sizes, CameraError where it finds no field of view.
        """
        seen = self._see(images)
        depth = self._net.depth(seen.tokens, *seen.size)
        points = self._net.points(seen.tokens, *seen.size) if point_maps else None
        return self._views(seen, depth, points)

    @torch.inference_mode()
    def predict_newest(self, images: Iterable[Tensor]) -> NewestView:
        """See ``NewestFirstModel``: the depth head runs on the first view, and on the others at the first call of ``views``."""
        seen = self._see(images)
        first = self._net.depth([layer[:1] for layer in seen.tokens], *seen.size)

        @cache
        @torch.inference_mode()
        def views() -> list[CoarseView]:
            if len(seen.shapes) == 1:
                return self._views(seen, first, None)
            others = self._net.depth([layer[1:] for layer in seen.tokens], *seen.size)
            raw, confidence = torch.cat((first.raw, others.raw)), torch.cat((first.confidence, others.confidence))
            return self._views(seen, DenseAnswer(raw, confidence, torch.cat((first.features, others.features))), None)

        return NewestView(_prediction(first, 0), tuple(seen.poses), views)

    def _see(self, images: Iterable[Tensor]) -> _Seen:
        planes, shapes = [], []
        for image in images:
            shapes.append((image.shape[0], image.shape[1]))
            if shapes[-1] != shapes[0]:
                (first_h, first_w), (h, w) = shapes[0], shapes[-1]
                raise ImageError(
                    f"view {len(shapes)} is {w}x{h} but the first is {first_w}x{first_h}: {self.name} takes views of one size"
                )
            planes.append(downsample(image, self.size.of(*shapes[0])))
        if not planes:
            raise ImageError(f"{self.name} was given no views: give at least one image")
        views = torch.cat(planes)
        size = views.shape[-2], views.shape[-1]
        tokens = self._tokens(views)
        poses, focal = decode_poses(self._net.poses(tokens), *size)
        return _Seen(tokens, size, shapes, [np.asarray(pose.double().cpu()) for pose in poses], focal)

    def _views(self, seen: _Seen, depth: DenseAnswer, points: DenseAnswer | None) -> list[CoarseView]:
        return [
            CoarseView(
                _prediction(depth, i),
                self._camera(seen.focal[i].tolist(), seen.size, shape, i),
                seen.poses[i],
                depth.confidence[i],
                None if points is None else PointMap(points.raw[i], points.features[i], points.confidence[i]),
            )
            for i, shape in enumerate(seen.shapes)
        ]

    def _tokens(self, views: Tensor) -> list[Tensor]:
        with torch.autocast(self.device.type, self._half, enabled=self.device.type == "cuda"):
            tokens: list[Tensor] = self._net(views)
        return tokens

    def _camera(self, focal: list[float], size: tuple[int, int], shape: tuple[int, int], view: int) -> Camera:
        height, width = size
        try:
            return Camera(width, height, focal[0], focal[1], (width - 1) / 2, (height - 1) / 2).resized(shape[1], shape[0])
        except CameraError:
            raise CameraError(f"{self.name} finds no field of view for view {view + 1}: leave that view out") from None


def _prediction(answer: DenseAnswer, view: int) -> CoarsePrediction:
    return CoarsePrediction(answer.raw[view, 0].clamp(-LARGEST_LOG, LARGEST_LOG).exp(), answer.features[view])


def load(weights: Path, device: torch.device, claim: ScaleClaim, size: InputSize, name: str) -> VggtModel:
    """weights: a public checkpoint, safetensors or PyTorch's, with or without its tracker. Raises WeightsError."""
    return VggtModel(load_vggt(load_tensors(weights)[0], weights), name, claim, device, size)
