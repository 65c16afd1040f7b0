"""Several views' predictions from files: the stored output of any multi-view model, retrofitted offline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.networks.signed_log import log_signed
from depth_retrofit_ros.coarse.stored import NAME, StoredCoarse, read_stored
from depth_retrofit_ros.coarse.views import CoarseView, PointMap
from depth_retrofit_ros.errors import CameraError, DatasetError, ModelError
from depth_retrofit_ros.io.map_files import SUFFIXES
from depth_retrofit_ros.io.npz import NpzReader, open_npz

TURNED = 1.5  # aspects of image and map that differ by more are not of one view
SKEWED = 1e-3  # largest element of RᵀR − 1 with which a rotation still counts as one


class StoredViews:
    """``MultiViewModel`` from ``NAME.npz`` in a folder, one for each image, in the order of ``names``.

    Each file has ``depth`` [h, w] along the optical axis (with ``metric``, in metres; 0 and NaN are unknown, inf is sky), perhaps
    ``features``, see ``read_stored``; ``K`` [3, 3], intrinsics in pixels of that map (the center of the first pixel is 0); and
    ``camera_from_world`` [3, 4]. Optional: ``confidence`` [h, w]; ``points`` [3, h, w] in the world, with ``point_features`` and
    ``point_confidence`` as those of depth. Depth, translation and points are in one unit in all files.
    Raises DatasetError.
    """

    name = NAME

    def __init__(self, folder: Path, names: Sequence[str], device: torch.device) -> None:
        self.device = device
        self._paths = [_view_path(folder, name) for name in names]
        metric = {_read_depth(path, torch.device("cpu")).claim.kind == "metric" for path in self._paths}
        if len(metric) > 1:
            raise DatasetError(f"some files in {folder} are metric and some are not: views of one scene have one unit")
        self.claim = ScaleClaim("metric", "file") if metric == {True} else ScaleClaim("up-to-scale", "never")

    def predict_views(self, images: Iterable[torch.Tensor], point_maps: bool = False) -> list[CoarseView]:
        """See ``MultiViewModel.predict_views``."""
        return [
            _read_view(path, (image.shape[0], image.shape[1]), self.device, point_maps)
            for path, image in zip(self._paths, images, strict=True)
        ]


def _view_path(folder: Path, name: str) -> Path:
    path = folder / f"{name}.npz"
    if path.is_file():
        return path
    for suffix in SUFFIXES:
        if path.with_name(f"{name}{suffix}").is_file():
            raise DatasetError(
                f"{folder / name}{suffix} has no camera: store the view as {name}.npz with depth, K and camera_from_world"
            )
    raise DatasetError(f"{path} is missing: store the view there, with depth, K and camera_from_world")


def _read_depth(path: Path, device: torch.device) -> StoredCoarse:
    """``read_stored`` of what is geometry: a disparity's unknown shift bends it."""
    with open_npz(path) as arrays:
        if "depth" not in arrays and "disparity" in arrays:
            raise DatasetError(
                f"{path} has 'disparity' but views are put together from depth: store 'depth' along the optical axis"
            )
        values = arrays.raw("depth")
        if values.dtype.kind in "fi" and (values < 0).any():
            raise DatasetError(f"{path}: 'depth' is below 0: store depth along the optical axis, NaN or 0 where it is unknown")
    return read_stored(path, device)


def _read_view(path: Path, size: tuple[int, int], device: torch.device, point_maps: bool) -> CoarseView:
    prediction = _read_depth(path, device).prediction
    h, w = prediction.depth.shape
    stretch = (w / h) / (size[1] / size[0])
    if max(stretch, 1 / stretch) > TURNED:
        raise DatasetError(f"{path}: its map is {w}x{h} and the image {size[1]}x{size[0]}: store the map as the image is shown")
    with open_npz(path) as arrays:
        confidence = _map(arrays, "confidence", 2, path, device)
        k, pose = arrays.array("K", 2), arrays.array("camera_from_world", 2).astype(np.float64)
        point_map = _read_points(arrays, path, device) if point_maps else None
    if confidence is not None and confidence.shape != (h, w):
        raise DatasetError(f"{path}: confidence must be {[h, w]} as depth is, not {list(confidence.shape)}")
    if k.shape != (3, 3) or pose.shape != (3, 4):
        raise DatasetError(f"{path}: K must be [3, 3] and camera_from_world [3, 4], not {list(k.shape)} and {list(pose.shape)}")
    if not np.isfinite(pose).all() or np.abs(pose[:, :3].T @ pose[:, :3] - np.eye(3)).max() > SKEWED:
        raise DatasetError(f"{path}: camera_from_world must be a rotation beside a translation: store [R | t]")
    if not (-0.5 < k[0, 2] < w - 0.5 and -0.5 < k[1, 2] < h - 0.5):
        raise DatasetError(
            f"{path}: K's center ({k[0, 2]:g}, {k[1, 2]:g}) lies outside of its {w}x{h} map: K counts that map's pixels"
        )
    try:
        camera = Camera(w, h, float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2])).resized(size[1], size[0])
    except CameraError as error:
        raise DatasetError(f"{path}: {error}") from None
    return CoarseView(prediction, camera, pose, confidence, point_map)


def _read_points(arrays: NpzReader, path: Path, device: torch.device) -> PointMap:
    points = _map(arrays, "points", 3, path, device)
    if points is None:
        raise ModelError(f"{path} has no 'points': store them, or reconstruct from depth")
    if points.shape[0] != 3:
        raise DatasetError(f"{path}: points must be [3, h, w], not {list(points.shape)}")
    features = _map(arrays, "point_features", 3, path, device)
    given = torch.zeros_like(points[:1]) if features is None else features
    return PointMap(log_signed(points), given, _map(arrays, "point_confidence", 2, path, device))


def _map(arrays: NpzReader, name: str, dimensions: int, path: Path, device: torch.device) -> torch.Tensor | None:
    if name not in arrays:
        return None
    values = arrays.array(name, dimensions)
    if not np.isfinite(values).all():
        raise DatasetError(f"{path}: '{name}' must be finite everywhere: fill its unknown values")
    return torch.from_numpy(values).to(device)
