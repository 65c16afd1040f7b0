"""camera_info from what a user knows of a camera: a calibration file, or how wide it sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import CameraError
from depth_retrofit_ros.ros.messages.calibration import camera_from_info

_MATRICES = (("camera_matrix", "k", 9), ("rectification_matrix", "r", 9), ("projection_matrix", "p", 12))


def info_of_camera(camera: Camera) -> CameraInfo:
    """Of a pinhole without distortion."""
    info = CameraInfo(width=camera.width, height=camera.height, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
    info.r = np.eye(3).ravel()
    info.p = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def read_calibration(path: Path) -> CameraInfo:
    """A YAML file as ROS's camera_calibration writes it and camera drivers read it. Raises CameraError, one line."""
    content = _loaded(path)
    try:
        info = CameraInfo(width=int(content["image_width"]), height=int(content["image_height"]))
        info.distortion_model = str(content.get("distortion_model", "plumb_bob"))
        info.d = [float(value) for value in content.get("distortion_coefficients", {}).get("data", [])]
        for key, name, count in _MATRICES:
            given = content["camera_matrix"] if key == "camera_matrix" else content.get(key)
            if given is not None:
                numbers = [float(value) for value in given["data"]]
                if len(numbers) != count:
                    raise CameraError(f"{path}: {key} has {len(numbers)} numbers and not {count}: calibrate the camera anew")
                setattr(info, name, numbers)
        camera = camera_from_info(info, info.width, info.height)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, AssertionError) as error:
        wanted = "image_width, image_height, camera_matrix, distortion_model, distortion_coefficients"
        raise CameraError(
            f"{path} is no camera calibration ({error}): it needs {wanted}, as camera_calibration writes them"
        ) from None
    except CameraError as error:
        raise CameraError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
    if camera is None:
        raise CameraError(f"{path} has no focal length: calibrate the camera")
    return info


def _loaded(path: Path) -> dict[str, Any]:
    import yaml  # comes with rclpy

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise CameraError(f"{path} cannot be read: {reason}") from error
    except yaml.YAMLError as error:
        raise CameraError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise CameraError(f"{path} is no camera calibration: give what camera_calibration writes")
    return content
