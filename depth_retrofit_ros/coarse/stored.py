"""Coarse maps from files: the stored output of any model, retrofitted offline."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim, stored_claim
from depth_retrofit_ros.coarse.map_detail import Grid, averaged, grid_for
from depth_retrofit_ros.coarse.map_kinds import KINDS, Kind, to_depth
from depth_retrofit_ros.errors import DatasetError
from depth_retrofit_ros.io.map_files import SUFFIXES, read_map

NAME = "files"
OTHER_ASPECT = 1.05  # times: a map that is stretched by more than that is told of


class StoredCoarse:
    """``CoarseModel`` that answers every frame with one stored prediction: make one per frame.

    prediction: at the size that it is stored in. has_features: whether the file had any; without them only the depth's own edges
    tell which pixels are uncertain, if no second model does. claim: what its depth is. grid: the one that is refined, see
    ``map_detail.grid_for``. remarks: what was made of the map; ``predict`` adds what it did to it.
    """

    name = NAME

    def __init__(
        self,
        prediction: CoarsePrediction,
        has_features: bool,
        claim: ScaleClaim,
        grid: Grid = "native",
        remarks: tuple[str, ...] = (),
    ) -> None:
        self.prediction = prediction
        self.has_features = has_features
        self.claim = claim
        self.grid = grid
        self.remarks = list(remarks)
        self.device = prediction.depth.device
        self._fitted: dict[tuple[int, int], CoarsePrediction] = {}

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel.predict``. Raises DatasetError where the map is turned."""
        frame = (image.shape[0], image.shape[1])
        if frame not in self._fitted:
            self._fitted[frame] = self._fit(frame)
        return self._fitted[frame]

    def told(self, second: str | None) -> tuple[str, ...]:
        """The remarks, with what the file lacks; second: the name of the model whose disagreement selects pixels, if one does."""
        by = self.selected_by(second)
        return (*([] if by is None else [f"its file has no features, so pixels are selected {by}"]), *self.remarks)

    def selected_by(self, second: str | None) -> str | None:
        """How pixels are selected though the file has no features; None where it has some. second: see ``told``."""
        if self.has_features:
            return None
        return f"by the disagreement with {second} alone" if second else "by depth edges alone"

    def _fit(self, frame: tuple[int, int]) -> CoarsePrediction:
        depth, sky = self.prediction.depth, self.prediction.sky
        inverse = depth.reciprocal() if sky is None else torch.where(sky, 0.0, depth.reciprocal())
        unknown = self.prediction.unknown
        cells = (inverse if unknown is None else torch.where(unknown, torch.nan, inverse)).cpu().numpy()
        (h, w), size = cells.shape, grid_for(cells, frame, self.grid)
        stretch = (w / h) / (frame[1] / frame[0])
        if max(stretch, 1 / stretch) > OTHER_ASPECT and min(h, w) > 1:
            self.remarks.append(f"it is {w}x{h} and the image {frame[1]}x{frame[0]}: taken for the whole view, stretched")
        if size == (h, w):
            return self.prediction
        self.remarks.append(f"it is {w}x{h} and is refined at {size[1]}x{size[0]}")
        with np.errstate(divide="ignore"):
            return prediction_of(1 / averaged(cells, size), self.prediction.features)


def prediction_of(depth: np.ndarray, features: torch.Tensor) -> CoarsePrediction:
    """Of depth ``float32 [h, w]``, inf where there is sky, NaN where it is unknown; on the features' device."""

    def mask(where: np.ndarray) -> torch.Tensor | None:
        return torch.from_numpy(where).to(features.device) if where.any() else None

    unknown = np.isnan(depth)
    filled = _filled(depth, unknown)
    sky = np.isposinf(filled)
    finite = np.where(sky, filled[~sky].max(initial=0.0) or np.float32(1), filled)
    return CoarsePrediction(torch.from_numpy(finite).to(features.device), features, mask(sky), unknown=mask(unknown))


def _filled(depth: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Every unknown cell with the depth of the nearest known one, so that a hole makes no edge."""
    if not unknown.any() or unknown.all():
        return depth
    _, nearest = cv2.distanceTransformWithLabels(
        unknown.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    depths = np.empty(int(nearest.max()) + 1, np.float32)
    depths[nearest[~unknown]] = depth[~unknown]
    return depths[nearest]


def stored_path(folder: Path, name: str) -> Path:
    """Where the coarse map of image ``name`` (without suffix) lies: the first of NAME.npz, .npy, .pfm, .png that is there.

    Raises DatasetError where none is.
    """
    paths = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
    for path in paths:
        if path.is_file():
            return path
    raise DatasetError(f"{paths[0]} is missing, and so is {name}{', '.join(SUFFIXES[1:])}: put the coarse map there")


def read_stored(path: Path, device: torch.device, kind: Kind | None = None, grid: Grid = None) -> StoredCoarse:
    """A map of the frame's whole view, in a file of ``io.map_files``.

    kind: what its values are, see ``map_kinds.to_depth``; None for what the file itself says, which only an ``.npz`` does.
    grid: see ``StoredCoarse``. Raises DatasetError, one line that names the file.
    """
    file = read_map(path)
    if file.values.size < 2:
        raise DatasetError(f"{path} holds one value, which is no map")
    meant = kind or file.said
    if meant is None:
        raise DatasetError(f"{path} does not say what its values are: give --coarse-kind {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    try:
        found = to_depth(file.values, meant, file.whole)
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from None
    # Nobody vouches for a file's bare "depth": no more than disparity is taken for granted.
    claim = found.claim if kind is not None or meant == "metric" else stored_claim(metric=False)
    # One channel has entropy 0 everywhere: it adds nothing to the edges.
    given = np.zeros((1, *file.values.shape), np.float32) if file.features is None else file.features
    prediction = prediction_of(found.depth, torch.from_numpy(given).to(device))
    return StoredCoarse(prediction, file.features is not None, claim, grid, found.remarks)
