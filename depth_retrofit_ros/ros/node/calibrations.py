"""What camera_info says of each image: its intrinsics, and how it is rectified."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import CameraError
from depth_retrofit_ros.ros.health.monitor import no_info
from depth_retrofit_ros.ros.messages.calibration import camera_from_info
from depth_retrofit_ros.ros.messages.rectification import NOTHING, Rectified, Rectifier
from depth_retrofit_ros.ros.node.camera_infos import CameraInfos, MatchedInfo

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo
    from std_msgs.msg import Header

    from depth_retrofit_ros.ros.health.diagnostics import Health


class Calibrations:
    """Takes camera_info in from the executor's thread (``forget``, ``offer``), and answers the worker's (``matched``, ``of``)."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._infos = CameraInfos()
        self._rectifier = Rectifier()

    @property
    def newest(self) -> CameraInfo | None:
        """The last that came."""
        return self._infos.newest

    @property
    def is_busy(self) -> bool:
        """See ``Rectifier``."""
        return self._rectifier.is_busy

    def forget(self) -> None:
        """What came so far. Maps that were made stay."""
        self._infos = CameraInfos()

    def offer(self, info: CameraInfo) -> None:
        """Remember a camera_info."""
        self._infos.offer(info)

    def matched(self, header: Header) -> MatchedInfo:
        """That of the image with this header; see ``CameraInfos.of``."""
        return self._infos.of(header)

    def of(self, info: CameraInfo | None, width: int, height: int) -> tuple[Camera | None, str | None, Rectified]:
        """The intrinsics of an image of this size, or why there are none; and how it is rectified."""
        camera, problem = _camera(info, width, height, self._health.info_topic)
        if info is None or camera is None:
            return camera, problem, NOTHING
        try:
            rectified = self._rectifier.of(info, width, height, self._health.settings.rectify, self._health.image_topic)
        except CameraError as error:
            return None, str(error), NOTHING
        return rectified.camera or camera, problem, rectified


def _camera(info: CameraInfo | None, width: int, height: int, topic: str) -> tuple[Camera | None, str | None]:
    """The intrinsics of an image of this size, or why there are none."""
    if info is None:
        return None, no_info(topic)
    try:
        camera = camera_from_info(info, width, height)
    except CameraError as error:
        return None, str(error)
    return (camera, None) if camera else (None, f"camera_info on {topic} is all zeros (not calibrated)")
