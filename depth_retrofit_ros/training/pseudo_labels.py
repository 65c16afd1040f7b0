"""Photographs without depth, labelled by a teacher on the kind of scenes that it was trained on: METER, indoors and driving.

METER does not see a focal length, and its metres are those of its own training camera: only the shape of its depth is of use.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.registry import load_coarse
from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.io.photos import read_photo
from depth_retrofit_ros.training.views import KEPT_SIDE, View, resized

AGREEMENT = 0.25  # of ln depth between a window and its mirror image, above which the teacher is not believed


@dataclass(frozen=True, slots=True)
class Teacher:
    """model: its name; aspect: width to height of the frames that it was trained on; rows: where windows of a taller photograph
    lie, as shares of the rows that they leave over, 0 at the top, 1 at the bottom."""

    model: str
    aspect: float
    rows: tuple[float, float]


TEACHERS = {
    "indoor": Teacher("meter-nyu", 640 / 480, rows=(0.0, 1.0)),
    # Above is sky alone, which it takes for a wall, and below the bonnet.
    "driving": Teacher("meter-kitti", 636 / 192, rows=(0.5, 0.75)),
}


def label_photos(folder: Path, weights: Path | None, device: torch.device) -> list[View]:
    """folder: subfolders ``indoor`` and ``driving`` of photographs. The largest windows of the teacher's aspect are labelled, two
    of a photograph that has room for them. Raises ImageError if there are none, ModelError or WeightsError for the teacher."""
    views: list[View] = []
    for kind, teacher in TEACHERS.items():
        paths = sorted(path for path in (folder / kind).glob("*") if path.is_file())
        if paths:
            model = load_coarse(teacher.model, weights=weights, device=str(device))
            views += [_label(window, model, teacher) for path in paths for window in _windows(read_photo(path).image, teacher)]
    if not views:
        raise ImageError(f"no photographs in {folder}: it needs subfolders named {' or '.join(TEACHERS)} with some")
    return views


def _windows(image: np.ndarray, teacher: Teacher) -> list[np.ndarray]:
    height, width = image.shape[:2]
    w, h = min(width, round(height * teacher.aspect)), min(height, round(width / teacher.aspect))
    starts = [((height - h) // 2, (width - w) // 2)]
    if width > 1.25 * w:
        starts = [((height - h) // 2, 0), ((height - h) // 2, width - w)]
    elif height > 1.25 * h:
        starts = [(round(share * (height - h)), (width - w) // 2) for share in teacher.rows]
    return [image[y : y + h, x : x + w] for y, x in starts]


def _label(image: np.ndarray, model: CoarseModel, teacher: Teacher) -> View:
    small = resized(image, (round(KEPT_SIDE / teacher.aspect), KEPT_SIDE))
    straight, mirrored = (
        model.predict(torch.from_numpy(np.ascontiguousarray(frame)).to(model.device), None).depth.log().cpu().numpy()
        for frame in (small, small[:, ::-1])
    )
    mirrored = mirrored[:, ::-1]
    log = np.where(np.abs(straight - mirrored) < AGREEMENT, (straight + mirrored) / 2, np.nan).astype(np.float32)
    log_depth = np.asarray(cv2.resize(log, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_LINEAR), np.float16)
    return View(small, log_depth, KEPT_SIDE, taught=True)
