"""What is published of an answer, made by kernels where the answer lies, and copied out through pinned memory, all at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import numpy as np
import torch

from depth_retrofit_ros.confidence.estimate import confidence_of, cut_below, to_8bit
from depth_retrofit_ros.device.cuda_streams import Download, Fetched, Upload
from depth_retrofit_ros.device.resident import Resident
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.io.color_map import SHARES, UNKNOWN, UNKNOWN_RGB, colorize, palette, sample_step
from depth_retrofit_ros.lens import RayTable
from depth_retrofit_ros.pointcloud.filters import EVERYTHING, CloudFilter
from depth_retrofit_ros.pointcloud.normals import surface_normals
from depth_retrofit_ros.pointcloud.ray_slopes import RaySlopes
from depth_retrofit_ros.pointcloud.ray_table import cloud_along
from depth_retrofit_ros.pointcloud.surfaces import surface_depth
from depth_retrofit_ros.runtime.derived_outputs import DEFAULTS, DerivedSettings, device_takes
from depth_retrofit_ros.runtime.filtered_cloud import DeviceCloud, failing
from depth_retrofit_ros.runtime.host_outputs import Fill

Take = Callable[[], np.ndarray]
"""Waits for an output, which has the shape of what it is written into."""


class DeviceOutputs:
    """As ``HostOutputs``, for an answer on a device that has Triton. Work is enqueued on the current stream, to which the answer
    belongs; a frame's outputs are filled before those of the next frame are begun."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._downloads: dict[str, Download] = {}
        self._rays, self._slopes = RaySlopes(device), Resident(device)
        self._cloud = DeviceCloud(device)
        self._palette = Upload(device)(palette())
        self._unknown = Upload(device)(np.array(UNKNOWN_RGB, np.uint8))

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
        """Enqueue these outputs and their copies, one after the other, and wait for none of them. See ``HostOutputs.begin``."""
        normals = cache(lambda: surface_normals(result, self._rays).permute(1, 2, 0))
        confidence = cache(lambda: confidence_of(result))
        shown = cache(lambda: cut_below(result, min_confidence, confidence()) if min_confidence > 0 else result)
        depth = cache(lambda: self._fetch("depth", shown().depth))
        millimeters = cache(lambda: self._millimeters(shown().depth))
        preview = cache(lambda: self._preview(shown().depth, depth))
        surfaces = cache(lambda: surface_depth(shown()))
        of_cloud = (lambda: shown().depth) if cloud.keep_sky else surfaces

        def fetch(name: str, tensor: torch.Tensor) -> Take:
            return self._fetch(name, tensor).values

        makers: dict[str, Callable[[], Take]] = {
            "depth": lambda: depth().values,
            "depth_mm": millimeters,
            "points": lambda: self._points(result, of_cloud(), frame, stride),
            "preview": preview,
            "selection": lambda: self._selection(result),
            "normals": lambda: self._fetch("normals", normals()).values,
            "normals_preview": lambda: self._normals_preview(normals()),
            "confidence": lambda: self._fetch("confidence", confidence()).values,
            "confidence_8bit": lambda: self._fetch("confidence_8bit", to_8bit(confidence())).values,
            **device_takes(shown, frame.camera, derived, fetch, millimeters, preview, surfaces),
        }
        fills: dict[str, Fill] = {}
        for name in names:
            with self._stage(name):
                is_filtered = name == "points" and not cloud.plain
                fills[name] = self._filtered(result, of_cloud, frame, stride, cloud) if is_filtered else _fill(makers[name])
        return fills

    def _stage(self, name: str) -> AbstractContextManager[None]:
        """Around the work of an output; an audit has its own."""
        return nullcontext()

    def _fetch(self, name: str, tensor: torch.Tensor) -> Fetched:
        """The copy of an output to the host; an audit has its own."""
        if name not in self._downloads:
            self._downloads[name] = Download(self._device)
        return self._downloads[name](tensor)

    def _millimeters(self, depth: torch.Tensor) -> Take:
        from depth_retrofit_ros.io.raw_depth_triton import millimeters

        fetched = self._fetch("depth_mm", millimeters(depth))
        return lambda: fetched.values().view(np.uint16)

    def _filtered(
        self, result: DepthFrame, of_cloud: Callable[[], torch.Tensor], frame: Frame, stride: int, cloud: CloudFilter
    ) -> Fill:
        assert result.image is not None
        try:
            return self._cloud.begin(of_cloud(), result.image, frame, stride, cloud)
        except Exception as error:
            return failing(error)

    def _points(self, result: DepthFrame, depth: torch.Tensor, frame: Frame, stride: int) -> Take:
        from depth_retrofit_ros.pointcloud.organized_triton import make_cloud_on_device

        assert frame.camera is not None and result.image is not None
        if isinstance(frame.optics, RayTable):
            slopes = self._slopes(frame.optics.slopes)
            assert slopes is not None
            return self._fetch("points", cloud_along(depth, result.image, slopes, stride)).values
        cloud = make_cloud_on_device(depth, result.image, self._rays(frame.camera), stride)
        return self._fetch("points", cloud).values

    def _preview(self, depth: torch.Tensor, fetch_depth: Callable[[], Fetched]) -> Take:
        from depth_retrofit_ros.io import color_map_triton

        made, scale = color_map_triton.colorize(depth, self._palette, sample_step(*depth.shape), SHARES, UNKNOWN)
        picture, scale_there = self._fetch("preview", made), self._fetch("preview's range", scale)

        def take() -> np.ndarray:
            colors = picture.values()
            if scale_there.values()[2] > 0:
                return colors
            return colorize(fetch_depth().values())  # not one sample is known: the range is that of the few other pixels

        return take

    def _selection(self, result: DepthFrame) -> Take:
        from depth_retrofit_ros.selection.mask_triton import picture

        return self._fetch("selection", picture(result.selection.index_image)).values

    def _normals_preview(self, normals: torch.Tensor) -> Take:
        from depth_retrofit_ros.io import color_map_triton

        return self._fetch("normals_preview", color_map_triton.colorize_normals(normals, self._unknown)).values


def _fill(make: Callable[[], Take]) -> Fill:
    """Begin now; where that fails, the output is missing alone, and says why when it is to be filled."""
    try:
        take = make()
    except Exception as error:
        failure = error

        def fail(out: np.ndarray) -> None:
            raise failure

        return fail
    return lambda out: np.copyto(out, take())
