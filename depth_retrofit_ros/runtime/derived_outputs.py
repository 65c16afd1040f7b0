"""What is made of depth for transports and consumers of another form: compressed depth and preview, disparity, a laser scan.

The outputs are here as they are before they are encoded, which a CPU does in any case (``ros.node.derived_messages``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.frame import DepthFrame
from depth_retrofit_ros.io.compressed_depth import InverseDepth, compile_inverse_depth, fill_inverse_depth, inverse_depth
from depth_retrofit_ros.io.disparity_image import compile_disparity, disparity, fill_disparity
from depth_retrofit_ros.io.rvl import compile_rvl
from depth_retrofit_ros.runtime.laser_scan import ScanSettings, compile_scan, fill_scan

DERIVED = ("depth_compressed", "depth_mm_compressed", "preview_compressed", "disparity", "scan")
OF_METRIC_DEPTH = ("depth_compressed", "depth_mm_compressed", "disparity", "scan")
OF_A_CAMERA = ("disparity", "scan")

Fill = Callable[[np.ndarray], object]
Take = Callable[[], np.ndarray]


@dataclass(frozen=True, slots=True)
class DerivedSettings:
    """depth_max, depth_quantization: [m], see ``InverseDepth``; baseline: of the disparity [m]; scan: which rows, how far."""

    depth_max: float = 100.0
    depth_quantization: float = 100.0
    baseline: float = 0.1
    scan: ScanSettings = field(default_factory=ScanSettings)

    @property
    def inverse_depth(self) -> InverseDepth:
        return InverseDepth.of(self.depth_max, self.depth_quantization)

    def disparity_constant(self, camera: Camera) -> float:
        """Focal length · baseline [px m]."""
        return camera.fx * self.baseline


DEFAULTS = DerivedSettings()


def host_fills(
    result: DepthFrame,
    camera: Camera | None,
    settings: DerivedSettings,
    depth: Take,
    surfaces: Take,
    millimeters: Fill,
    preview: Fill,
) -> dict[str, Fill]:
    """Output → how to fill it on the host.

    depth_compressed, depth_mm_compressed: ``uint16 [H, W]``; preview_compressed: ``uint8 [H, W, 3]``; disparity: ``float32 [H, W]``
    px; scan: ``float32 [W]`` m. depth, surfaces: ``float32 [H, W]``, the latter NaN in the sky; millimeters, preview: fill these.
    """

    def fill_disparities(out: np.ndarray) -> None:
        assert camera is not None
        fill_disparity(surfaces(), settings.disparity_constant(camera), out)

    def fill_ranges(out: np.ndarray) -> None:
        assert camera is not None
        rows = settings.scan.rows(camera)
        band = depth()[rows]
        if result.sky is not None:
            band = np.where(np.isnan(surfaces()[rows]) & ~np.isnan(band), np.float32(np.inf), band)
        fill_scan(band, camera, settings.scan, out)

    return {
        "depth_compressed": lambda out: fill_inverse_depth(depth(), settings.inverse_depth, out),
        "depth_mm_compressed": millimeters,
        "preview_compressed": preview,
        "disparity": fill_disparities,
        "scan": fill_ranges,
    }


def device_takes(
    shown: Callable[[], DepthFrame],
    camera: Camera | None,
    settings: DerivedSettings,
    fetch: Callable[[str, torch.Tensor], Take],
    millimeters: Callable[[], Take],
    preview: Callable[[], Take],
    surfaces: Callable[[], torch.Tensor],
) -> dict[str, Callable[[], Take]]:
    """As ``host_fills``, where the answer lies: output → what enqueues it and returns how to wait for its values.

    shown: the answer, with the depth that is shown; fetch: enqueues the copy of a named tensor; millimeters, preview: enqueue these
    outputs; surfaces: ``surface_depth``. None of it waits for the device.
    """

    def inverse() -> Take:
        take = fetch("depth_compressed", inverse_depth(shown().depth, settings.inverse_depth))
        return lambda: take().view(np.uint16)

    def disparities() -> Take:
        assert camera is not None
        return fetch("disparity", disparity(surfaces(), settings.disparity_constant(camera)))

    def scan() -> Take:
        """The band alone is copied; its nearest points are the host's to find."""
        assert camera is not None
        rows, result = settings.scan.rows(camera), shown()
        band = result.depth[rows]
        if result.sky is not None:
            band = torch.where(surfaces()[rows].isnan() & ~band.isnan(), torch.inf, band)
        take = fetch("scan", band)

        def ranges() -> np.ndarray:
            found = np.empty(camera.width, np.float32)
            fill_scan(take(), camera, settings.scan, found)
            return found

        return ranges

    return {
        "depth_compressed": inverse,
        "depth_mm_compressed": millimeters,
        "preview_compressed": preview,
        "disparity": disparities,
        "scan": scan,
    }


def compile_derived(names: Collection[str]) -> None:
    """Compile the kernels of these outputs now instead of with the first image."""
    for output, compile_kernel in (
        ("depth_compressed", compile_inverse_depth),
        ("depth_compressed", compile_rvl),
        ("depth_mm_compressed", compile_rvl),
        ("disparity", compile_disparity),
        ("scan", compile_scan),
    ):
        if output in names:
            compile_kernel()
