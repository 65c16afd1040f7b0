"""Pictures like those of a camera, the same at each call, for checks and first frames: noise is too far from what networks know."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from depth_retrofit_ros.errors import ModelError

FOLDER = Path(__file__).resolve().parents[2] / "film"
VIEWS = (1, 3)  # of the bundled film


def natural_image(height: int, width: int, view: int = VIEWS[0]) -> Tensor:
    """A view of the bundled film as a frame ``uint8 [H, W, 3]``; of another aspect, its middle. Raises ModelError where it is
    missing."""
    whole = _view(view)
    zoom = min(whole.shape[0] / height, whole.shape[1] / width)
    cut_h, cut_w = (max(1, min(there, round(side * zoom))) for there, side in zip(whole.shape, (height, width), strict=False))
    top, left = (whole.shape[0] - cut_h) // 2, (whole.shape[1] - cut_w) // 2
    cut = whole[top : top + cut_h, left : left + cut_w]
    method = cv2.INTER_AREA if cut_h >= height else cv2.INTER_LINEAR
    return torch.from_numpy(np.ascontiguousarray(cv2.resize(cut, (width, height), interpolation=method)))


@lru_cache(maxsize=1)
def _view(number: int) -> np.ndarray:
    path = FOLDER / f"view_{number}.jpg"
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ModelError(f"{path} is missing or damaged: install the package again")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
