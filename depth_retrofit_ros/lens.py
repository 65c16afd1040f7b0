"""Lenses that bend rays, and the pinhole image that is made of theirs: the maps of OpenCV, and what the lens does not see.

A ray is (x, y) = (X/Z, Y/Z) in the optical frame. Coefficients are those of ``sensor_msgs/CameraInfo`` and of OpenCV.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.device.buffers import BufferPool
from depth_retrofit_ros.errors import CameraError

POLYNOMIALS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14)}
"""Lens model → numbers of coefficients: k1 k2 p1 p2 [k3], and k4 k5 k6 [s1 s2 s3 s4 [tau_x tau_y]] after these."""
EQUIDISTANT = "equidistant"
"""Fisheye: k1 k2 k3 k4 of the angle to the axis (Kannala and Brandt; OpenCV's ``fisheye``)."""
MODELS = {**POLYNOMIALS, EQUIDISTANT: (4,)}

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_LONGEST_PX = 32_766  # cv2.remap counts pixels with 16 bits
_EDGE_PX = 1 / 64  # what fixed-point maps round by: as near to the edge as this is on it
_OUTSIDE_PX = -2.0  # of a map's entry where there is no ray: neither of its two pixels is in the image
_SOLVED = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)
_MET_PX = 5e-4  # as near to its pixel a ray is projected; one that is not found so exactly is none
_ANGLES = 100_000  # entries of the table
_WIDEST = math.radians(89.0)  # depth along the axis says nothing of a ray that is nearly at a right angle to it
POOL = BufferPool()
_REAL = 1e-9  # imaginary part, relative, of a root that is a real one


@dataclass(frozen=True, slots=True)
class Lens:
    """An image as the sensor takes it.

    model: one of ``MODELS``; coefficients: as many as it takes; camera: K of that image at its size: a ray (x, y), bent to
    (x', y'), meets the pixel (fx x' + cx, fy y' + cy). Raises CameraError for what is no such lens.
    """

    model: str
    coefficients: tuple[float, ...]
    camera: Camera

    def __post_init__(self) -> None:
        counts = MODELS.get(self.model)
        if counts is None:
            raise CameraError(f"distortion model {self.model[:40]!r} is not known: calibrate with one of {', '.join(MODELS)}")
        if len(self.coefficients) not in counts:
            raise CameraError(
                f"{self.model} takes {' or '.join(map(str, counts))} coefficients, not {len(self.coefficients)}: "
                "publish D as the calibration gave it"
            )
        if not all(map(math.isfinite, self.coefficients)):
            raise CameraError(f"coefficients of {self.model} are not finite: calibrate the camera")
        if max(self.camera.width, self.camera.height) > _LONGEST_PX:
            raise CameraError(f"images longer than {_LONGEST_PX} px cannot be rectified: crop or scale them first")

    @property
    def is_fisheye(self) -> bool:
        """Whether its model is one of the angle."""
        return self.model == EQUIDISTANT

    @property
    def matrix(self) -> np.ndarray:
        """K, ``float64 [3, 3]``."""
        return matrix_of(self.camera)

    @property
    def reach(self) -> float:
        """Up to which x² + y² (squared) the model tells rays apart: beyond, the radius on the image falls again, so that it would
        show for a second time what is nearer to the axis. Infinite where it never does within 90 degrees.

        Of the radial part alone: tangential terms, thin prism and tilt of a real lens are small beside it.
        """
        k = self.coefficients
        if self.is_fisheye:
            angle = math.sqrt(_first_root(np.array([1, 3 * k[0], 5 * k[1], 7 * k[2], 9 * k[3]])))  # d(angle')/d(angle), of angle²
            return math.tan(angle) ** 2 if angle < math.pi / 2 else math.inf
        over = np.polynomial.Polynomial([1, k[0], k[1], k[4] if len(k) > 4 else 0])
        under = np.polynomial.Polynomial([1, *(k[5:8] if len(k) > 5 else (0, 0, 0))])
        square = np.polynomial.Polynomial([0, 1])  # r²
        slope = over * under + 2 * square * (over.deriv() * under - over * under.deriv())  # d(r over/under)/dr, times under²
        return min(_first_root(slope.coef), _first_root(under.coef))

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels ``float64 [N, 2]`` of points ``[N, 3]`` [m] in the optical frame; NaN where the lens does not see them."""
        points = np.ascontiguousarray(points, np.float64).reshape(-1, 1, 3)
        x, y, z = points[:, 0].T
        with np.errstate(all="ignore"):
            seen = (z > 0) & (x * x + y * y <= self.reach * z * z)
        pixels = np.full((len(points), 2), np.nan)
        if seen.any():
            project = cv2.fisheye.projectPoints if self.is_fisheye else cv2.projectPoints
            none, coefficients = np.zeros(3), np.array(self.coefficients)
            pixels[seen] = project(points[seen], none, none, self.matrix, coefficients)[0][:, 0]
        return pixels

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Rays ``float64 [N, 2]`` of pixels ``[N, 2]``, NaN where no ray within 89 degrees meets one."""
        if self.is_fisheye:
            return self._fisheye_rays(np.asarray(pixels, np.float64).reshape(-1, 2))
        pixels = np.ascontiguousarray(pixels, np.float64).reshape(-1, 1, 2)
        rays = _undistort_points(pixels, self.matrix, np.array(self.coefficients), _SOLVED)[:, 0]
        with np.errstate(all="ignore"):  # OpenCV does not mark what it cannot solve
            back = self.project(np.column_stack((rays, np.ones(len(rays)))))
            rays[~(np.abs(back - pixels[:, 0]).max(1) < _MET_PX)] = np.nan
        return rays

    def _fisheye_rays(self, pixels: np.ndarray) -> np.ndarray:
        """The angle of a radius, which grows with it up to ``reach``, is looked up in a table that is fine enough for 1e-9 rad."""
        camera, k = self.camera, np.array(self.coefficients)
        angles = np.linspace(0.0, math.atan(math.sqrt(self.reach)), _ANGLES)
        squares = angles * angles
        radii = angles * (1 + squares * (k[0] + squares * (k[1] + squares * (k[2] + squares * k[3]))))
        bent = (pixels - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
        radius = np.hypot(bent[:, 0], bent[:, 1])
        angle = np.interp(radius, radii, angles, right=np.nan)
        angle[angle >= _WIDEST] = np.nan
        stretch = np.divide(np.tan(angle), radius, out=np.ones_like(angle), where=radius > 0)
        return np.asarray(bent * stretch[:, None])


class Rectification:
    """The pinhole image of a lens: its map is made once, and applied to each image.

    camera: of the rectified image, at the size of the lens's. rotation: R, row by row, from the lens's optical frame to that of the
    rectified image. Raises CameraError where that is no rotation, and where the rectified image would show nothing.
    """

    def __init__(self, lens: Lens, camera: Camera, rotation: tuple[float, ...] = IDENTITY) -> None:
        self.lens, self.camera = lens, camera
        self.rotation = np.array(rotation, np.float64).reshape(3, 3)
        if not np.abs(self.rotation @ self.rotation.T - np.eye(3)).max() < 1e-3 or np.linalg.det(self.rotation) < 0:
            raise CameraError("R of camera_info is no rotation: publish the one that the calibration gave, or the identity")
        map_x, map_y = self.maps()
        width, height = lens.camera.width, lens.camera.height
        inside = (map_x >= -_EDGE_PX) & (map_x <= width - 1 + _EDGE_PX) & (map_y >= -_EDGE_PX) & (map_y <= height - 1 + _EDGE_PX)
        unseen = ~inside
        if unseen.all():
            raise CameraError("the rectified image would show nothing of the raw one: check D, R and P of camera_info")
        self.unseen: np.ndarray | None = unseen if unseen.any() else None
        """``bool [H, W]``, the rectified image's pixels that the lens does not see; None where there are none."""
        self._map = cv2.convertMaps(map_x, map_y, cv2.CV_16SC2)

    def maps(self) -> tuple[np.ndarray, np.ndarray]:
        """Where in the lens's image each rectified pixel is, x and y ``float32 [H, W]``; outside of it where there is no ray."""
        lens, size = self.lens, (self.camera.width, self.camera.height)
        make = cv2.fisheye.initUndistortRectifyMap if lens.is_fisheye else cv2.initUndistortRectifyMap
        coefficients = np.array(lens.coefficients)
        map_x, map_y = make(lens.matrix, coefficients, self.rotation, matrix_of(self.camera), size, cv2.CV_32FC1)
        beyond = ~self._told_apart()
        map_x[beyond] = map_y[beyond] = _OUTSIDE_PX
        return map_x, map_y

    def image(self, image: np.ndarray) -> np.ndarray:
        """Rectified, of an image ``uint8 [H, W, C]`` of the lens: bilinear to 1/32 px, black where it sees nothing."""
        POOL.sweep()
        rectified = POOL.empty((self.camera.height, self.camera.width, image.shape[2]), torch.uint8).numpy()
        cv2.remap(image, *self._map, cv2.INTER_LINEAR, dst=rectified, borderMode=cv2.BORDER_CONSTANT)
        return rectified

    def depth(self, depth: np.ndarray) -> np.ndarray:
        """A depth image ``float32 [h, w]`` of the lens's view, at any size, as the rectified image ``float32 [H, W]``: the nearest
        value, NaN where the lens sees nothing. Along the rectified image's axis, which another R turns."""
        camera = self.lens.camera
        height, width = depth.shape
        map_x, map_y = self.maps()
        columns, rows = ((place + 0.5) * (count / whole) - 0.5 for place, count, whole in (
            (map_x, width, camera.width), (map_y, height, camera.height)
        ))  # fmt: skip
        found = cv2.remap(depth.astype(np.float32), columns, rows, cv2.INTER_NEAREST, borderValue=math.nan)
        if self.unseen is not None:
            found[self.unseen] = np.nan
        if not self.turns:
            return np.asarray(found)
        with np.errstate(all="ignore"):
            return np.asarray(found / self._toward()[2].astype(np.float32))

    @property
    def turns(self) -> bool:
        """Whether the rectified image looks in another direction than the lens."""
        return not np.array_equal(self.rotation, np.eye(3))

    def pixels(self, pixels: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lens's pixels ``float64 [N, 2]`` with their depth ``[N]`` as the rectified image's; NaN where there is no ray."""
        points = np.column_stack((self.lens.rays(pixels), np.ones(len(pixels)))) * depth[:, None]
        x, y, z = (points @ self.rotation.T).T
        with np.errstate(all="ignore"):
            z = np.where(z > 0, z, np.nan)
            return np.column_stack((self.camera.fx * x / z + self.camera.cx, self.camera.fy * y / z + self.camera.cy)), z

    def _toward(self) -> list[np.ndarray]:
        """Each rectified pixel's ray (x, y, 1) in the lens's optical frame: X, Y and Z, ``float64 [H, W]`` each."""
        x = (np.arange(self.camera.width) - self.camera.cx) / self.camera.fx
        y = (np.arange(self.camera.height) - self.camera.cy) / self.camera.fy
        return [x * turn[0] + y[:, None] * turn[1] + turn[2] for turn in self.rotation.T]  # R's inverse is its transpose

    def _told_apart(self) -> np.ndarray:
        """``bool [H, W]``, the rectified pixels whose ray goes forward and within the lens's ``reach``."""
        x, y, z = self._toward()
        within = x * x + y * y <= self.lens.reach * z * z if math.isfinite(self.lens.reach) else True
        return np.asarray((z > 0) & within)


class RayTable:
    """The rays of an image that stays as the lens takes it.

    camera: K, as if there were no distortion: right near the axis, and what models are told. Made in seconds; raises CameraError
    where no pixel has a ray.
    """

    def __init__(self, lens: Lens) -> None:
        self.lens, self.camera = lens, lens.camera
        height, width = self.camera.height, self.camera.width
        columns, rows = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        rays = lens.rays(np.column_stack((columns.ravel(), rows.ravel())))
        self.slopes = rays.astype(np.float32).reshape(height, width, 2)
        """``x/z`` and ``y/z`` of each pixel's ray, ``float32 [H, W, 2]``; NaN where the lens has no ray within 89 degrees."""
        unseen = np.isnan(self.slopes[..., 0])
        if unseen.all():
            raise CameraError("no pixel of the image has a ray: check D and K of camera_info")
        self.unseen: np.ndarray | None = unseen if unseen.any() else None
        """``bool [H, W]``, the pixels without a ray; None where each has one."""


Optics = Rectification | RayTable
"""What was made of an image that a lens had bent."""


def at_cells(mask: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A mask ``bool [H, W]`` at the centers of the cells of a coarser grid, ``bool [h, w]``."""
    rows, columns = ((2 * np.arange(cells) + 1) * pixels // (2 * cells) for cells, pixels in zip(size, mask.shape, strict=True))
    return np.asarray(mask[rows[:, None], columns])


def matrix_of(camera: Camera) -> np.ndarray:
    """K, ``float64 [3, 3]``."""
    return np.array([[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]])


def _undistort_points(
    pixels: np.ndarray, matrix: np.ndarray, coefficients: np.ndarray, criteria: tuple[int, int, float]
) -> np.ndarray:
    """OpenCV 4 has another name for the one that iterates until it is solved."""
    if hasattr(cv2, "undistortPointsIter"):
        return np.asarray(cv2.undistortPointsIter(pixels, matrix, coefficients, None, None, criteria))
    return np.asarray(cv2.undistortPoints(pixels, matrix, coefficients, criteria=criteria))


def _first_root(coefficients: np.ndarray) -> float:
    """The smallest positive root of the polynomial, lowest power first; infinite where there is none."""
    roots = np.polynomial.Polynomial(coefficients).trim().roots()
    real = roots.real[(np.abs(roots.imag) <= _REAL * np.maximum(np.abs(roots.real), 1)) & (roots.real > 0)]
    return float(real.min()) if len(real) else math.inf
