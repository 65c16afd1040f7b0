"""The depth node's process with a camera of this machine in it: `depth-retrofit run --camera`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from depth_retrofit_ros.ros.node.main import run_nodes

if TYPE_CHECKING:
    from depth_retrofit_ros.io.camera_capture import CameraSource
    from depth_retrofit_ros.ros.node.camera_driver import InfoOf
    from depth_retrofit_ros.ros.node.node import DepthNode
    from depth_retrofit_ros.ros.node.parameters import Value


def run_with_camera(
    source: CameraSource, calibration: Path | float | None, overrides: Mapping[str, Value], ros_args: Sequence[str] = ()
) -> int:
    """As ``main.run_node``, with the images of ``source``. A camera that is not there, or cannot have that calibration, is one line
    and ``MISCONFIGURED``; one that goes away later is waited for. calibration: see ``info_of``."""

    def make() -> list[DepthNode]:
        from rclpy.parameter import Parameter

        from depth_retrofit_ros.ros.node.camera_driver import DepthNodeOfCamera

        parameters = [Parameter(name, value=value) for name, value in overrides.items()]
        return [DepthNodeOfCamera(source, info_of(calibration), parameter_overrides=parameters)]

    return run_nodes(make, ros_args)


def info_of(calibration: Path | float | None) -> InfoOf:
    """calibration: a file, see ``read_calibration``, the horizontal field of view [deg] of a camera without distortion, or None:
    then camera_info says that nothing is known. Raises CameraError."""
    from sensor_msgs.msg import CameraInfo

    from depth_retrofit_ros.camera import Camera
    from depth_retrofit_ros.ros.messages.calibration import camera_from_info
    from depth_retrofit_ros.ros.messages.calibration_file import info_of_camera, read_calibration

    if calibration is None:
        return lambda width, height: CameraInfo(width=width, height=height)
    if isinstance(calibration, Path):
        read = read_calibration(calibration)

        def of_file(width: int, height: int) -> CameraInfo:
            camera_from_info(read, width, height)
            return read

        return of_file

    def of_view(width: int, height: int) -> CameraInfo:
        camera = Camera.from_hfov(width, height, calibration)
        camera.require_plausible()
        return info_of_camera(camera)

    return of_view
