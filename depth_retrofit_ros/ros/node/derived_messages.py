"""Messages of the outputs that are made of depth for others, ``runtime.derived_outputs``; compressed where that is their form."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg

from depth_retrofit_ros.io import compressed_depth
from depth_retrofit_ros.io.disparity_image import disparity_range
from depth_retrofit_ros.ros.messages.compressed import CompressedMessage
from depth_retrofit_ros.ros.messages.disparity import DisparityMessage
from depth_retrofit_ros.ros.messages.scan import ScanMessage, scan_frame
from depth_retrofit_ros.runtime.derived_outputs import DerivedSettings, Fill
from depth_retrofit_ros.runtime.laser_scan import ScanAngles, ScanSettings

if TYPE_CHECKING:
    from std_msgs.msg import Header

    from depth_retrofit_ros.camera import Camera
    from depth_retrofit_ros.ros.node.parameters import Settings

# Output → encoding of the image that is compressed.
_ENCODINGS = {"depth_compressed": "32FC1", "depth_mm_compressed": "16UC1"}
_JPEG_FORMAT = "rgb8; jpeg compressed bgr8"


def derived_settings(settings: Settings) -> DerivedSettings:
    """What the parameters say of these outputs."""
    return DerivedSettings(
        settings.compressed_depth_max,
        settings.compressed_depth_quantization,
        settings.disparity_baseline,
        ScanSettings(settings.scan_row, settings.scan_height, settings.scan_range_min, settings.scan_range_max),
    )


class DerivedMessages:
    """The serialized message of each output, in memory that is allocated once per size."""

    def __init__(self) -> None:
        self._compressed = cache(lambda name: CompressedMessage())
        self._rooms: dict[str, np.ndarray] = {}
        self._disparity, self._scan = DisparityMessage(), ScanMessage()

    def filled(
        self, name: str, fill: Fill, size: tuple[int, int], camera: Camera | None, header: Header, settings: Settings
    ) -> np.ndarray:
        """name: of ``derived_outputs.DERIVED``; size: the frame's ``(H, W)``. Raises what keeps the output from being made."""
        if name in _ENCODINGS:
            return self._depth(name, fill, size, header, settings)
        if name == "preview_compressed":
            return self._preview(fill, size, header, settings.preview_jpeg_quality)
        assert camera is not None
        if name == "disparity":
            values = self._disparity.prepare(*size, header)
            fill(values)
            return self._disparity.finish(camera.fx, settings.disparity_baseline, disparity_range(values))
        frame, limits = scan_frame(settings.scan_frame, header.frame_id), (settings.scan_range_min, settings.scan_range_max)
        fill(self._scan.prepare(size[1], header, frame, ScanAngles.of(camera), *limits))
        return self._scan.serialized

    def _depth(self, name: str, fill: Fill, size: tuple[int, int], header: Header, settings: Settings) -> np.ndarray:
        values = self._room(name, size, np.uint16)
        fill(values)
        codec, encoding = settings.compressed_depth_format, _ENCODINGS[name]
        if encoding == "16UC1":
            compressed_depth.cut_off(values, settings.compressed_depth_max)
        message = self._compressed(name)
        data = message.prepare(compressed_depth.capacity(*size, codec), header, f"{encoding}; compressedDepth {codec}")
        form = derived_settings(settings).inverse_depth if encoding == "32FC1" else None
        return message.finish(compressed_depth.encode(values, form, codec, data))

    def _preview(self, fill: Fill, size: tuple[int, int], header: Header, quality: int) -> np.ndarray:
        """JPEG knows no order of channels: what a subscriber decodes as BGR was RGB here."""
        picture = self._room("preview_compressed", (*size, 3), np.uint8)
        fill(picture)
        jpeg = np.frombuffer(simplejpeg.encode_jpeg(picture, quality, "RGB", "420"), np.uint8)
        message = self._compressed("preview_compressed")
        message.prepare(jpeg.size, header, _JPEG_FORMAT)[:] = jpeg
        return message.finish(jpeg.size)

    def _room(self, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
        room = self._rooms.get(name)
        if room is None or room.shape != shape:
            room = self._rooms[name] = np.empty(shape, dtype)
        return room
