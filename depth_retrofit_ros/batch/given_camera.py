"""Intrinsics that a user gives by hand, of images of any size."""

from __future__ import annotations

from dataclasses import dataclass

from depth_retrofit_ros.camera import NARROWEST_DEG, WIDEST_DEG, Camera
from depth_retrofit_ros.errors import CameraError


@dataclass(frozen=True, slots=True)
class GivenCamera:
    """All four intrinsics [px] of the image at its full size, or the horizontal field of view [deg], or nothing."""

    fx: float | None = None
    fy: float | None = None
    cx: float | None = None
    cy: float | None = None
    hfov: float | None = None

    def check(self) -> None:
        """What can be told before the image is known. Raises CameraError."""
        values = [self.fx, self.fy, self.cx, self.cy]
        given = sum(value is not None for value in values)
        if given and self.hfov is not None:
            raise CameraError("give either --hfov or --fx --fy --cx --cy, not both")
        if given not in (0, 4):
            raise CameraError("give all of --fx --fy --cx --cy, or --hfov alone")
        if self.hfov is not None and not 0.0 < self.hfov <= WIDEST_DEG:  # a narrow one may be a tall picture's
            raise _hfov_refusal(self.hfov)
        self._camera(1, 1)

    def of(self, width: int, height: int) -> Camera | None:
        """Of images of this size [px]; None where nothing was given.

        Raises CameraError, in the user's own numbers, also where no real camera is like that.
        """
        if self.hfov is not None:
            try:
                camera = Camera.from_hfov(width, height, self.hfov)
                camera.require_plausible()
            except CameraError:
                raise _hfov_refusal(self.hfov, (width, height)) from None
            return camera
        found = self._camera(width, height)
        if found is not None:
            found.require_plausible()  # whoever types intrinsics may take normalised ones, or millimetres
        return found

    def _camera(self, width: int, height: int) -> Camera | None:
        if self.hfov is not None:
            return Camera.from_hfov(width, height, self.hfov)
        if self.fx is None or self.fy is None or self.cx is None or self.cy is None:
            return None
        return Camera(width, height, self.fx, self.fy, self.cx, self.cy)


def _hfov_refusal(hfov_deg: float, size: tuple[int, int] | None = None) -> CameraError:
    span = f"outside {NARROWEST_DEG:g} to {WIDEST_DEG:g} deg"
    if size is None or not NARROWEST_DEG <= hfov_deg <= WIDEST_DEG:
        return CameraError(f"--hfov {hfov_deg:g} is {span}")
    vfov_deg = Camera.from_hfov(*size, hfov_deg).vfov_deg
    return CameraError(f"--hfov {hfov_deg:g} means {vfov_deg:.1f} deg from top to bottom of {size[0]}x{size[1]}, {span}")
