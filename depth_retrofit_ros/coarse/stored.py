"""Coarse maps from files: the stored output of any model, retrofitted offline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import stored_claim
from depth_retrofit_ros.errors import DatasetError
from depth_retrofit_ros.io.npz import open_npz

NAME = "files"


class StoredCoarse:
    """``CoarseModel`` that answers every frame with one stored prediction: make one per frame.

    has_features: whether the file had any; without them only the depth's own edges tell which pixels are uncertain. metric: whether
    the file says that its depth is in metres.
    """

    name = NAME

    def __init__(self, prediction: CoarsePrediction, has_features: bool, metric: bool) -> None:
        self.prediction = prediction
        self.has_features = has_features
        self.claim = stored_claim(metric)
        self.device = prediction.depth.device

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel.predict``. Raises DatasetError where the stored map is larger than the frame."""
        height, width = image.shape[:2]
        h, w = self.prediction.depth.shape
        if h > height or w > width:
            raise DatasetError(f"the coarse map is {w}x{h}, larger than its image ({width}x{height}): give the one of this image")
        return self.prediction


def stored_path(folder: Path, name: str) -> Path:
    """Where the coarse map of image ``name`` (without suffix) lies."""
    return folder / f"{name}.npz"


def read_stored(path: Path, device: torch.device) -> StoredCoarse:
    """An ``.npz`` with ``depth`` [h, w], the frame's whole view at any lower size, all finite and > 0.

    Optional: ``features`` [C, h', w'], whose softmax entropy over C tells uncertainty; ``metric`` (default false): whether the
    depth is in metres. Raises DatasetError, one line that names the file.
    """
    with open_npz(path) as arrays:
        depth = arrays.array("depth", 2)
        features = arrays.array("features", 3) if "features" in arrays else None
        metric = bool(arrays.number("metric")) if "metric" in arrays else False
    if not (np.isfinite(depth) & (depth > 0)).all():
        raise DatasetError(
            f"{path}: depth must be finite and above 0 everywhere: fill its unknown values, and turn disparity into depth"
        )
    if features is not None and not np.isfinite(features).all():
        raise DatasetError(f"{path}: features must be finite: save the ones of the model's last layer before its projection")
    # One channel has entropy 0 everywhere: it adds nothing to the edges.
    given = np.zeros((1, *depth.shape), np.float32) if features is None else features
    prediction = CoarsePrediction(torch.from_numpy(depth).to(device), torch.from_numpy(given).to(device))
    return StoredCoarse(prediction, features is not None, metric)
