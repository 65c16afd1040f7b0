"""The files of a reconstruction: of each view its depth, of all of them the cloud and the cameras."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from depth_retrofit_ros.io.color_map import colorize, depth_range
from depth_retrofit_ros.io.depth_files import side_by_side, write_depth_npz, write_depth_png, write_image, write_text, writing
from depth_retrofit_ros.pointcloud.files import write_ply_parts
from depth_retrofit_ros.reconstruction.cloud import cloud_points
from depth_retrofit_ros.reconstruction.reconstruct import Reconstruction
from depth_retrofit_ros.reconstruction.refined_view import RefinedView
from depth_retrofit_ros.upsampling.interpolation import upsample

PANEL_WIDTH = 1280
WORLD = "the first view's camera; x right, y down, z forward"


def write_reconstruction(
    folder: Path,
    names: Sequence[str],
    reconstruction: Reconstruction,
    stride: int,
    point_maps: bool = False,
    done: Callable[[str, RefinedView], None] = lambda name, view: None,
) -> int:
    """Refine and write view by view; returns the number of points in ``cloud.ply`` (``cloud_relative.ply`` where not in metres).

    names: of the views' files, without suffix; stride: every ``stride``-th row and column of each image is in the cloud;
    point_maps: whether each view's points are stored, too; done: called after each view. Raises OutputError.
    """
    entries: list[dict[str, Any]] = []

    def parts() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for name, view in zip(names, reconstruction.views, strict=True):
            entries.append(_write_view(folder, name, view, point_maps))
            done(name, view)
            yield cloud_points(view, reconstruction.limit, stride)

    path = folder / ("cloud.ply" if reconstruction.metric else "cloud_relative.ply")
    with writing(path):
        count = write_ply_parts(path, parts(), reconstruction.metric)
    about = {
        "world": WORLD,
        "metric": reconstruction.metric,
        "confidence_limit": reconstruction.limit,
        "cloud": path.name,
        "points": count,
    }
    write_text(folder / "cameras.json", json.dumps({**about, "views": entries}, indent=2) + "\n")
    return count


def _write_view(folder: Path, name: str, view: RefinedView, point_maps: bool) -> dict[str, Any]:
    """Depth as numbers and as a picture; returns the view's entry in ``cameras.json``."""
    depth, metric = view.frame.depth.cpu().numpy(), view.frame.metric
    kind = "depth" if metric else "relative"
    names = {"npz": f"{name}_{kind}.npz", "png": f"{name}_{kind}.png", "preview": f"{name}_preview.png"}
    more = {"camera_from_world": view.camera_from_world}
    if view.confidence is not None:
        more["confidence"] = view.confidence
    if point_maps:
        more["points"] = view.points
    write_depth_npz(folder / names["npz"], depth, 0, metric, view.camera, **more)
    png = write_depth_png(folder / names["png"], depth, metric)
    near_far = depth_range(depth)
    coarse = upsample(view.frame.coarse, depth.shape, "bilinear").cpu().numpy()
    panels = [("input", view.image), ("coarse", colorize(coarse, near_far)), ("refined", colorize(depth, near_far))]
    write_image(folder / names["preview"], side_by_side(panels, PANEL_WIDTH))
    camera = view.camera
    return {
        "name": name,
        **{"width": camera.width, "height": camera.height},
        **{"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy},
        "camera_from_world": np.round(view.camera_from_world, 9).tolist(),
        "refined_pixels": view.frame.refined_pixels,
        "files": names,
        "png_unit": png.unit,
        "png_beyond": png.beyond,
    }
