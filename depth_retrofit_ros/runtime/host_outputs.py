"""What is published of an answer, made on the host: of an answer of a CPU, and of a device without Triton."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import TypeAlias

import cv2
import numpy as np
import torch

from depth_retrofit_ros.confidence.estimate import confidence_of, cut_below, to_8bit
from depth_retrofit_ros.device.cuda_streams import Download
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.io.color_map import colorize, colorize_normals
from depth_retrofit_ros.io.raw_depth import fill_millimeters
from depth_retrofit_ros.pointcloud.normals import surface_normals
from depth_retrofit_ros.pointcloud.organized import fill_cloud
from depth_retrofit_ros.pointcloud.surfaces import surface_depth

Fill: TypeAlias = Callable[[np.ndarray], object]
"""Writes an output into the memory that it is given; raises what keeps it from being made.

depth: ``float32 [H, W]``; depth_mm: ``uint16 [H, W]``; points: ``float32 [h, w, 4]``, see ``fill_cloud``; preview, normals_preview:
``uint8 [H, W, 3]``; selection: ``uint8 [H, W]``; normals: ``float32 [H, W, 3]``; confidence: ``float32 [H, W]``;
confidence_8bit: ``uint8 [H, W]``.
"""


class HostOutputs:
    """One at a time, each when it is filled; what several need is fetched and made once."""

    def __init__(self, device: torch.device) -> None:
        self._depth, self._surfaces, self._normals, self._mask = (Download(device) for _ in range(4))
        self._confidence, self._gray = Download(device), Download(device)

    def begin(
        self, result: DepthFrame, frame: Frame, names: Collection[str], stride: int, min_confidence: float = 0.0
    ) -> Mapping[str, Fill]:
        """How to fill these outputs, names of ``parameters.OUTPUTS``. stride: of the cloud; min_confidence: below it depth, cloud
        and preview know nothing; 0: no confidence is computed for them."""
        confidence = cache(lambda: confidence_of(result))
        shown = cache(lambda: cut_below(result, min_confidence, confidence()) if min_confidence > 0 else result)
        depth = cache(lambda: self._depth(shown().depth).values())
        surfaces = cache(lambda: depth() if result.sky is None else self._surfaces(surface_depth(shown())).values())
        normals = cache(lambda: self._normals(surface_normals(result)).values())

        def fill_points(out: np.ndarray) -> None:
            assert frame.camera is not None
            fill_cloud(surfaces(), frame.image, frame.camera, out, stride)

        def fill_selection(out: np.ndarray) -> None:
            np.multiply(self._mask(result.selection.mask()).values(), np.uint8(255), out=out)

        made: dict[str, Fill] = {
            "depth": lambda out: np.copyto(out, depth()),
            "depth_mm": lambda out: fill_millimeters(depth(), out),
            "points": fill_points,
            "preview": lambda out: colorize(depth(), out=out),
            "selection": fill_selection,
            "normals": lambda out: cv2.merge(list(normals()), dst=out),
            "normals_preview": lambda out: colorize_normals(normals(), out=out),
            "confidence": lambda out: np.copyto(out, self._confidence(confidence()).values()),
            "confidence_8bit": lambda out: np.copyto(out, self._gray(to_8bit(confidence())).values()),
        }
        return {name: made[name] for name in names}
