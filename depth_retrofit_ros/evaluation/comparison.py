"""What refinement gains over stretching the same coarse map: figures where a reference is known, and a picture in any case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.upsample import Mode, upsample
from depth_retrofit_ros.evaluation.edges import edge_band
from depth_retrofit_ros.evaluation.metrics import abs_rel, median_scale
from depth_retrofit_ros.export import side_by_side
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.preview import colourise, depth_range

BASELINES: tuple[Mode, ...] = ("nearest", "bilinear")


@dataclass(frozen=True, slots=True)
class Score:
    """Errors of one method, as means over ``frames`` images.

    abs_rel: unscaled, NaN for relative depth. abs_rel_scaled: after median scaling per image; edge_abs_rel_scaled: the same scale,
    only in the band around the reference's depth edges.
    """

    method: str
    frames: int
    abs_rel: float
    abs_rel_scaled: float
    edge_abs_rel_scaled: float


def stretched(model: CoarseModel, frame: Frame) -> dict[str, np.ndarray]:
    """The frame's coarse depth, brought to its full size ``float32 [H, W]`` by each of ``BASELINES``."""
    height, width = frame.image.shape[:2]
    with torch.inference_mode():
        image = torch.from_numpy(np.require(frame.image, requirements=["C", "W"])).to(model.device)
        coarse = model.predict(image, frame.camera)
        return {mode: upsample(coarse.depth, (height, width), mode=mode).cpu().numpy() for mode in BASELINES}


def errors(depth: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
    """The three errors of ``Score`` for one image, both maps [H, W]; NaN where no pixel is known to both."""
    scaled = depth * np.float32(median_scale(depth, reference))
    return abs_rel(depth, reference), abs_rel(scaled, reference), abs_rel(scaled, reference, edge_band(reference))


def mean_score(method: str, rows: Sequence[tuple[float, float, float]], metric: bool) -> Score:
    """The mean of ``errors``; images without a pixel known to both do not count."""
    table = np.array([row for row in rows if np.isfinite(row[0])]).reshape(-1, 3)

    def mean(column: int) -> float:
        values = table[np.isfinite(table[:, column]), column]
        return float(values.mean()) if values.size else float("nan")

    return Score(method, len(table), mean(0) if metric else float("nan"), mean(1), mean(2))


def picture(image: np.ndarray, maps: dict[str, np.ndarray], reference: np.ndarray | None, panel_width: int) -> np.ndarray:
    """RGB: input, nearest, refined and, where known, the reference; below, magnified, the place where refinement changed most.

    maps: ``nearest``, ``bilinear`` (as a smooth measure of that change) and ``refined`` depth, [H, W] each. Colours span the depths
    of the row that they are in; the reference is scaled to the median of the refined depth.
    """
    bilinear, refined = maps["bilinear"], maps["refined"]
    maps = {"coarse, nearest": maps["nearest"], "refined": refined}
    if reference is not None:
        maps["reference, median-scaled"] = reference / np.float32(median_scale(refined, reference))
    above = side_by_side(_panels(image, maps), panel_width)
    window = most_changed(bilinear, refined)
    crops = _panels(image[window], {name: depth[window] for name, depth in maps.items()})
    width = (above.shape[1] - 4 * (len(crops) - 1)) // len(crops)
    height = max(1, round(width * crops[0][1].shape[0] / crops[0][1].shape[1]))
    enlarged = [("", cv2.resize(crop, (width, height), interpolation=cv2.INTER_NEAREST)) for _, crop in crops]
    gap = np.full((4, above.shape[1], 3), 255, np.uint8)
    return np.concatenate((above, gap, side_by_side(enlarged, width)), axis=0)


def _panels(image: np.ndarray, maps: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """The image and the depth maps in one range of colours: that of the last one, the best."""
    near_far = depth_range(list(maps.values())[-1])
    return [("input", image), *((name, colourise(depth, near_far)) for name, depth in maps.items())]


def most_changed(coarse: np.ndarray, refined: np.ndarray, share: float = 0.16) -> tuple[slice, slice]:
    """Rows and columns of the window, ``share`` of each side, in which ``refined`` differs most often from ``coarse`` (> 5 %)."""
    height, width = refined.shape
    window = max(1, round(share * height)), max(1, round(share * width))
    with np.errstate(invalid="ignore", divide="ignore"):
        changed = (np.abs(np.log(refined / coarse)) > 0.05).astype(np.float32)
    density = cv2.boxFilter(changed, -1, (window[1], window[0]), normalize=False, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    inside = density[: height - window[0] + 1, : width - window[1] + 1]
    top, left = np.unravel_index(int(np.argmax(inside)), inside.shape)
    return slice(int(top), int(top) + window[0]), slice(int(left), int(left) + window[1])
