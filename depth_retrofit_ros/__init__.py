"""Dense, sharp depth at camera resolution from one camera, live on ROS 2 (after "2K Retrofit", arXiv 2603.19964).

In Python, without ROS: ``load`` makes a ``Retrofit``, which turns a ``Frame`` into a ``DepthFrame``. What ``__all__`` lists is the
public interface; it is imported when it is first asked for, so that ``import depth_retrofit_ros`` stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from depth_retrofit_ros.lazy import lazy_names

if TYPE_CHECKING:
    from depth_retrofit_ros.camera import Camera
    from depth_retrofit_ros.errors import (
        CameraError,
        DepthRetrofitError,
        ImageError,
        ModelError,
        WeightsError,
    )
    from depth_retrofit_ros.frame import DepthFrame, Frame
    from depth_retrofit_ros.loading import load
    from depth_retrofit_ros.pointcloud.normals import surface_normals
    from depth_retrofit_ros.retrofit import Retrofit

__version__ = "0.3.4"

__all__ = [
    "Camera",
    "CameraError",
    "DepthFrame",
    "DepthRetrofitError",
    "Frame",
    "ImageError",
    "ModelError",
    "Retrofit",
    "WeightsError",
    "__version__",
    "load",
    "surface_normals",
]

_HOMES = {
    "Camera": "camera",
    "DepthFrame": "frame",
    "Frame": "frame",
    "Retrofit": "retrofit",
    "load": "loading",
    "surface_normals": "pointcloud.normals",
}


if not TYPE_CHECKING:  # a type checker shall see the names above, and no others
    __getattr__ = lazy_names(__name__, __all__, _HOMES, "errors")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
