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
from depth_retrofit_ros.lens import RayTable
from depth_retrofit_ros.pointcloud.filters import EVERYTHING, CloudFilter
from depth_retrofit_ros.pointcloud.normals import surface_normals
from depth_retrofit_ros.pointcloud.organized import fill_cloud
from depth_retrofit_ros.pointcloud.ray_table import fill_cloud_along
from depth_retrofit_ros.pointcloud.surfaces import surface_depth
from depth_retrofit_ros.runtime.derived_outputs import DEFAULTS, DerivedSettings, host_fills
from depth_retrofit_ros.runtime.filtered_cloud import HostCloud

Fill: TypeAlias = Callable[[np.ndarray], object]
"""Writes an output into the memory that it is given, which nobody else writes before the next frame; raises what keeps it
from being made.

depth: ``float32 [H, W]``; depth_mm: ``uint16 [H, W]``; points: ``float32 [h, w, 4]``, see ``fill_cloud``; preview, normals_preview:
``uint8 [H, W, 3]``; selection: ``uint8 [H, W]``; normals: ``float32 [H, W, 3]``; confidence: ``float32 [H, W]``;
confidence_8bit: ``uint8 [H, W]``; for the others see ``derived_outputs.host_fills``.
"""


class HostOutputs:
    """One at a time, each when it is filled; what several need is fetched and made once."""

    def __init__(self, device: torch.device) -> None:
        self._depth, self._surfaces, self._normals, self._mask = (Download(device) for _ in range(4))
        self._confidence, self._gray = Download(device), Download(device)
        self._cloud = HostCloud()

    def begin(
        self,
        result: DepthFrame,
        frame: Frame,
        names: Collection[str],
        stride: int,
        derived: DerivedSettings = DEFAULTS,
        cloud: CloudFilter = EVERYTHING,
        min_confidence: float = 0.0,
    ) -> Mapping[str, Fill]:
        """How to fill these outputs, names of ``parameters.OUTPUTS``. stride, cloud: of the cloud, whose fill is a ``CloudFill``
        where it is filtered; derived: of what is made of depth for others; min_confidence: below it depth is unknown to all of
        them but the normals; 0: no confidence is computed for that."""
        confidence = cache(lambda: confidence_of(result))
        shown = cache(lambda: cut_below(result, min_confidence, confidence()) if min_confidence > 0 else result)
        depth = cache(lambda: self._depth(shown().depth).values())
        surfaces = cache(lambda: depth() if result.sky is None else self._surfaces(surface_depth(shown())).values())
        of_cloud = depth if cloud.keep_sky else surfaces
        normals = cache(lambda: self._normals(surface_normals(result)).values())

        def fill_points(out: np.ndarray) -> None:
            assert frame.camera is not None
            if isinstance(frame.optics, RayTable):
                return fill_cloud_along(of_cloud(), frame.image, frame.optics.slopes, out, stride)
            fill_cloud(of_cloud(), frame.image, frame.camera, out, stride)

        def fill_selection(out: np.ndarray) -> None:
            np.multiply(self._mask(result.selection.mask()).values(), np.uint8(255), out=out)

        painted: list[np.ndarray] = []  # the memory of the first of the two previews, which is its own until the next frame

        def fill_preview(out: np.ndarray) -> None:
            if painted:
                return np.copyto(out, painted[0])
            colorize(depth(), out=out)
            painted.append(out)

        def millimeters(out: np.ndarray) -> None:
            fill_millimeters(depth(), out)

        made: dict[str, Fill] = {
            "depth": lambda out: np.copyto(out, depth()),
            "depth_mm": millimeters,
            "points": fill_points,
            "preview": fill_preview,
            "selection": fill_selection,
            "normals": lambda out: cv2.merge(list(normals()), dst=out),
            "normals_preview": lambda out: colorize_normals(normals(), out=out),
            "confidence": lambda out: np.copyto(out, self._confidence(confidence()).values()),
            "confidence_8bit": lambda out: np.copyto(out, self._gray(to_8bit(confidence())).values()),
            **host_fills(result, frame.camera, derived, depth, surfaces, millimeters, fill_preview),
        }
        if "points" in names and not cloud.plain:
            made["points"] = self._cloud.begin(of_cloud, frame, stride, cloud)
        return {name: made[name] for name in names}
